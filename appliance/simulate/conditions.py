"""What happens to a simulated machine from outside: shifts, demand, weather, and the benign changes of plant life."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from appliance.records import Floats
from appliance.simulate.signals import first_order, wander

HOUR_SECS = 3600.0
DAY_SECS = 86_400.0
YEAR_SECS = 365.25 * DAY_SECS

EPOCH_WEEKDAY = 3
"""1 January 1970 was a Thursday; Monday is 0."""
SHIFT_HOURS = (6.0, 22.0)
"""Two shifts; times of day are UTC."""
BATCH_SECS = 2 * HOUR_SECS
"""How long one product runs before the load changes."""

Duty = Literal["continuous", "shift_demand", "two_shift"]
"""Runs always with a mild daily demand; runs always for a plant that works in shifts; stops outside the shifts."""


@dataclass(frozen=True, slots=True)
class Benign:
    """A change that is no fault: nobody wants an alert for it.

    ``set_point`` shifts the demanded load by ``size`` (0.05 is five per cent); ``stop`` halts the machine, for
    maintenance; ``filter_change`` halts it and makes its filter new again.
    """

    kind: Literal["set_point", "stop", "filter_change"]
    start_secs: float
    duration_secs: float
    size: float = 0.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """One machine's surroundings, sample by sample."""

    period_secs: float
    ambient_c: Floats
    """[T]"""
    running: Floats
    """[T] 1 while the machine is meant to turn, else 0."""
    load: Floats
    """[T] demanded output as a share of the rated one."""
    filter_age_days: Floats
    """[T] since the filter was last new."""

    def wander(self, rng: np.random.Generator, tau_secs: float) -> Floats:
        """Draw a disturbance [T] of deviation 1 on this machine's grid."""
        return wander(rng, len(self.load), tau_secs, self.period_secs)

    def follow(self, target: Floats, tau_secs: float) -> Floats:
        """Follow ``target`` [T] with a first-order lag on this machine's grid."""
        return first_order(target, tau_secs, self.period_secs)


def conditions(
    times: Floats, period_secs: float, duty: Duty, benign: Sequence[Benign], rng: np.random.Generator
) -> Conditions:
    """Draw a machine's surroundings for ``times`` [T], Unix seconds."""
    elapsed = times - times[0]
    working = at_work(times)
    running = working.astype(np.float64) if duty == "two_shift" else np.ones(len(times))
    load = _load(times, period_secs, duty, working, rng)
    filter_age_days = elapsed / DAY_SECS + rng.uniform(0.0, 2.0)
    for change in sorted(benign, key=lambda change: change.start_secs):
        during = (elapsed >= change.start_secs) & (elapsed < change.start_secs + change.duration_secs)
        if change.kind == "set_point":
            load = np.where(during, load * (1 + change.size), load)
        else:
            running = np.where(during, 0.0, running)
        if change.kind == "filter_change":
            since = (elapsed - change.start_secs - change.duration_secs) / DAY_SECS
            filter_age_days = np.where(since >= 0, since, filter_age_days)
    return Conditions(period_secs, _ambient_c(times, period_secs, rng), running, load, filter_age_days)


def at_work(times: Floats) -> NDArray[np.bool_]:
    """Whether the plant's shifts are on [T]: six to ten in the evening, Monday to Friday, UTC."""
    hour = times % DAY_SECS / HOUR_SECS
    weekday = (times // DAY_SECS + EPOCH_WEEKDAY) % 7
    on: NDArray[np.bool_] = (weekday < 5) & (hour >= SHIFT_HOURS[0]) & (hour < SHIFT_HOURS[1])
    return on


def _load(
    times: Floats, period_secs: float, duty: Duty, working: NDArray[np.bool_], rng: np.random.Generator
) -> Floats:
    """Demand [T]: the pattern of the day, the products of the shift, and what nobody can foresee."""
    block = ((times - times[0]) // BATCH_SECS).astype(int)
    batches = first_order(rng.uniform(0.72, 1.0, int(block[-1]) + 1)[block], 300.0, period_secs)
    restless = 0.03 * wander(rng, len(times), 1800.0, period_secs)
    if duty == "two_shift":
        return batches + restless
    if duty == "shift_demand":
        return first_order(np.where(working, batches, 0.38), 900.0, period_secs) + restless
    afternoon_peak = np.cos(2 * np.pi * (times / DAY_SECS - 15 / 24))
    return 0.84 + 0.10 * afternoon_peak + restless


def _ambient_c(times: Floats, period_secs: float, rng: np.random.Generator) -> Floats:
    """Hall temperature [T]: season (warmest in late July), day (warmest at 16:00) and passing weather."""
    season = 5.0 * np.cos(2 * np.pi * (times / YEAR_SECS - 205 / 365.25))
    day = 2.5 * np.cos(2 * np.pi * (times / DAY_SECS - 16 / 24))
    weather = 1.2 * wander(rng, len(times), 1.5 * DAY_SECS, period_secs)
    ambient: Floats = 21.0 + season + day + weather
    return ambient
