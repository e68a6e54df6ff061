"""Draws a plant: several machines over weeks, with the faults and the benign changes of plant life, all seeded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from appliance.recordings import Recording
from appliance.simulate.conditions import DAY_SECS, HOUR_SECS, SHIFT_HOURS, Benign, at_work
from appliance.simulate.faults import SENSOR_FAULTS, Fault, Shape, SimulationError
from appliance.simulate.machine import Machine
from appliance.simulate.simulator import DEFAULT_START, machine_of, simulate_machine

DEMO_KINDS = ("pump", "pump", "fan", "fan", "compressor", "conveyor")
DEMO_DAYS = 20
DEMO_PERIOD_SECS = 60.0
"""Six machines, twenty days, a message a minute: 172,800 messages."""
DEMO_MACHINE_FAULTS = 10
DEMO_SENSOR_FAULTS = 3
LEARNING_DAYS = 7
"""A whole week, so that shifts, nights and the weekend have all been seen."""

CALM_DAYS = 2
"""From one fault or benign change of a machine to its next: time to repair, and to see the machine well again."""
FAULT_HOURS = {"day_and_night": (5.0, 24.0), "in_shift": (4.0, 11.0)}
SENSOR_FAULT_HOURS = (3.0, 12.0)
FILTER_DAYS = 5
FIRST_FILTER_DAY = 3
STOP_HOURS = (1.5, 3.0)
SET_POINT_CHANGE = 0.05

SEVERITY: Mapping[str, tuple[float, float]] = {
    "bearing_wear": (0.35, 0.7),
    "imbalance": (0.3, 0.65),
    "blockage": (0.35, 0.7),
    "leak": (0.45, 0.8),
    "overheating": (0.45, 0.75),
    "belt_slip": (0.35, 0.7),
    "valve_failure": (0.35, 0.7),
    "stuck": (1.0, 1.0),
    "dropout": (0.6, 1.0),
    "drift": (0.6, 1.0),
    "noise": (0.4, 0.8),
}
"""Clear in a plot to an engineer who looks, and well below a trip."""


class Slot(NamedTuple):
    """A day of one machine on which something may happen."""

    machine: str
    day: int


def demo_plant(seed: int) -> list[Recording]:
    """Simulate the plant of the demo: six machines, a fault-free week, then 13 days with 10 + 3 faults."""
    return simulate_plant(
        DEMO_KINDS,
        days=DEMO_DAYS,
        period_secs=DEMO_PERIOD_SECS,
        seed=seed,
        learning_days=LEARNING_DAYS,
        machine_faults=DEMO_MACHINE_FAULTS,
        sensor_faults=DEMO_SENSOR_FAULTS,
    )


def simulate_plant(
    kinds: Sequence[str],
    *,
    days: int,
    period_secs: float = DEMO_PERIOD_SECS,
    seed: int = 0,
    learning_days: int = LEARNING_DAYS,
    machine_faults: int = 0,
    sensor_faults: int = 0,
    faults: Mapping[str, Sequence[Fault]] | None = None,
    start: float = DEFAULT_START,
) -> list[Recording]:
    """Simulate a machine of each of ``kinds``, named ``pump-1``, ``pump-2``, ``fan-1`` and so on.

    Parameters
    ----------
    machine_faults, sensor_faults
        How many to draw over the plant, after ``learning_days`` and spread over machines, kinds and days.
    faults
        Machine name → faults to inject instead of drawn ones.

    Raises
    ------
    SimulationError
        If a kind, fault or machine name is unknown, or so many faults do not fit.
    """
    machines = _named(kinds)
    if unknown := set(faults or ()) - set(machines):
        raise SimulationError(f"no machine is called {', '.join(sorted(unknown))}: use one of {', '.join(machines)}")
    rng = np.random.default_rng([seed, len(machines)])
    injected: dict[str, list[Fault]] = {name: list((faults or {}).get(name, ())) for name in machines}
    busy = {
        Slot(name, int(moment // DAY_SECS))
        for name, given in injected.items()
        for fault in given
        for moment in np.arange(fault.start_secs, fault.start_secs + fault.duration_secs, DAY_SECS)
    }
    wanted_faults: dict[Literal["machine", "sensor"], int] = {"machine": machine_faults, "sensor": sensor_faults}
    for kind_of_fault, wanted in wanted_faults.items():
        used: list[str] = []
        for _ in range(wanted):
            slot = _free_slot(machines, injected, busy, range(learning_days, days), start, rng)
            if slot is None:
                raise SimulationError(
                    f"{machine_faults} machine and {sensor_faults} sensor faults do not fit into"
                    f" {len(machines)} machines and {days - learning_days} days after learning:"
                    " ask for fewer, or for more days"
                )
            drawn = _draw_fault(machines[slot.machine], kind_of_fault, slot, used, injected[slot.machine], rng)
            injected[slot.machine].append(drawn)
            busy.add(slot)
            used.append(drawn.kind)
    return [
        simulate_machine(
            machine.kind,
            name,
            hours=days * 24,
            period_secs=period_secs,
            seed=seed,
            start=start,
            learning_hours=learning_days * 24,
            faults=sorted(injected[name], key=lambda fault: fault.start_secs),
            benign=list(_draw_benign(name, machine, busy, days, learning_days, start, rng)),
        )
        for name, machine in machines.items()
    ]


def _named(kinds: Sequence[str]) -> dict[str, Machine]:
    numbers = {kind: itertools.count(1) for kind in kinds}
    return {f"{kind}-{next(numbers[kind])}": machine_of(kind) for kind in kinds}


def _works_all_day(machine: Machine) -> bool:
    return machine.duty == "continuous"


def _workday(day: int, start: float) -> bool:
    return bool(at_work(np.array([start + day * DAY_SECS + 12 * HOUR_SECS]))[0])


def _filter_day(day: int) -> bool:
    return day % FILTER_DAYS == FIRST_FILTER_DAY


def _calm(slot: Slot, busy: set[Slot]) -> bool:
    return not any(Slot(slot.machine, slot.day + gap) in busy for gap in range(-CALM_DAYS, CALM_DAYS + 1))


def _free_slot(
    machines: Mapping[str, Machine],
    injected: Mapping[str, Sequence[Fault]],
    busy: set[Slot],
    days: range,
    start: float,
    rng: np.random.Generator,
) -> Slot | None:
    """Draw a day on the least troubled machine that has a calm one left; machines on shifts break down at work."""
    by_trouble = sorted(machines, key=lambda name: (len(injected[name]), rng.random()))
    for name in by_trouble:
        free = [
            slot
            for slot in (Slot(name, day) for day in days)
            if _calm(slot, busy)
            and (_works_all_day(machines[name]) or _workday(slot.day, start))
            and not (machines[name].changes_filter and _filter_day(slot.day))
        ]
        if free:
            return free[int(rng.integers(len(free)))]
    return None


def _draw_fault(
    machine: Machine,
    kind_of_fault: Literal["machine", "sensor"],
    slot: Slot,
    used: Sequence[str],
    already: Sequence[Fault],
    rng: np.random.Generator,
) -> Fault:
    """Draw kind, time of day, duration, severity and shape; kinds not had yet come first."""
    kinds = list(machine.blame) if kind_of_fault == "machine" else list(SENSOR_FAULTS)
    had = [fault.kind for fault in already]
    kind = min(kinds, key=lambda kind: (had.count(kind), used.count(kind), rng.random()))
    low, high = FAULT_HOURS["day_and_night" if _works_all_day(machine) else "in_shift"]
    if kind_of_fault == "sensor":
        low, high = SENSOR_FAULT_HOURS
    hours = rng.uniform(low, high)
    if _works_all_day(machine):
        hour = rng.uniform(0, 24 - hours)
    else:
        hour = rng.uniform(SHIFT_HOURS[0] + 0.5, SHIFT_HOURS[1] - hours)
    shape: Shape = "ramp" if kind_of_fault == "machine" and rng.random() < 0.4 else "step"
    channel = None
    if kind_of_fault == "sensor":
        channel = machine.channel_names[int(rng.integers(len(machine.channels)))]
    return Fault(
        kind=kind,
        start_secs=slot.day * DAY_SECS + hour * HOUR_SECS,
        duration_secs=hours * HOUR_SECS,
        severity=round(float(rng.uniform(*SEVERITY[kind])), 2),
        shape=shape,
        channel=channel,
    )


def _draw_benign(
    name: str, machine: Machine, busy: set[Slot], days: int, learning_days: int, start: float, rng: np.random.Generator
) -> Iterator[Benign]:
    """Draw a stop a week and a day of another set-point; a fan's filter is changed every few days.

    Each kind of change also falls into the learning week: a detector is to know it, not to guess it.
    """
    for first in range(0, days, LEARNING_DAYS):
        week = range(first, min(first + LEARNING_DAYS, days))
        calm = [day for day in week if _calm(Slot(name, day), busy) and _workday(day, start)]
        if not calm:
            continue
        stop_day = int(rng.choice(calm))
        hour, hours = rng.uniform(8, 15), rng.uniform(*STOP_HOURS)
        yield Benign("stop", stop_day * DAY_SECS + hour * HOUR_SECS, hours * HOUR_SECS)
        others = [day for day in calm if day != stop_day]
        if others:
            change = SET_POINT_CHANGE * (1 if rng.random() < 0.5 else -1)
            yield Benign("set_point", int(rng.choice(others)) * DAY_SECS, DAY_SECS, change)
    if machine.changes_filter:
        for day in filter(_filter_day, range(days)):
            yield Benign("filter_change", day * DAY_SECS + 7 * HOUR_SECS, 0.5 * HOUR_SECS)
