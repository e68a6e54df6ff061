"""Whether a new head goes into service: both heads over the same stored windows → here → promoted, or why not.

The guard is a veto on clear harm, not a chooser: with a handful of events, choosing is noise.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.adapt.support import Support
from appliance.detect.calibrate import Calibrator
from appliance.detect.head import Head
from appliance.incidents import AlertRules
from appliance.records import Floats

Flags = NDArray[np.bool_]
WEEK_SECS = 7 * 86_400.0
_CHANCE = 1
"""Alerts beyond what is allowed that are no evidence of harm."""


class Showing(NamedTuple):
    """What a head makes of the stored windows."""

    caught: tuple[bool, ...]
    """For each labelled fault whether an alert falls on it."""
    alerts: int
    """On windows that nobody has labelled a fault."""
    weeks: float
    """Of such windows, the warm-up's included."""

    @property
    def a_week(self) -> float:
        """Alerts in a week."""
        return self.alerts / self.weeks if self.weeks else 0.0


class Budget(NamedTuple):
    """What a machine may cost."""

    alerts_per_week: float
    windows_per_week: float

    @property
    def per_window(self) -> float:
        """The same in alerts per window."""
        return self.alerts_per_week / self.windows_per_week


def show(
    head: Head, calibrator: Calibrator, support: Support, ends: Floats, *, rules: AlertRules, budget: Budget
) -> Showing:
    """Rehearse a head on the warm-up and the past.

    Parameters
    ----------
    calibrator
        Of the strangeness that this head gives.
    ends
        [n] Unix seconds: of the windows of ``support.past``.
    """
    warm_up = len(support.warm_up)
    strangeness = np.concatenate([head.rescore(support.warm_up), head.rescore(support.past)])
    before = ends[0] - rules.cooldown_secs - WEEK_SECS / budget.windows_per_week * np.arange(warm_up, 0, -1)
    times = np.concatenate([before, ends])
    known = np.flatnonzero(~np.isnan(strangeness))
    values = np.sort(strangeness[known])
    threshold = calibrator.threshold(budget.per_window).score

    def level(score: float) -> float:
        """Return the least of the strangenesses that has the score."""
        at = bisect_left(values, score, key=lambda value: calibrator.score(float(value))[0])
        return float(values[at]) if at < len(values) else math.inf

    alarm, quiet = strangeness >= level(threshold), strangeness < level(rules.close_ratio * threshold)
    found = alerts(alarm[known], quiet[known], times[known], rules)
    normal = np.ones(len(strangeness), dtype=bool)
    normal[warm_up:] = False
    normal[warm_up + support.normal] = True
    spans = [(int(known[first]) - warm_up, int(known[last]) - warm_up) for first, last in found]
    caught = tuple(any(first <= event[-1] and last >= event[0] for first, last in spans) for event in support.events)
    false = sum(bool(normal[known[first : last + 1]].all()) for first, last in found)
    return Showing(caught, false, int(normal.sum()) / budget.windows_per_week)


def alerts(alarm: Flags, quiet: Flags, ends: Floats, rules: AlertRules) -> list[tuple[int, int]]:
    """Return what `IncidentTracker` would make of windows [n]: (first strange one, last strange one) of each alert."""
    found: list[tuple[int, int]] = []
    recent: deque[int | None] = deque(maxlen=rules.of_windows)
    is_open, still, closed_at = False, 0, -math.inf
    for window, (strange, calm) in enumerate(zip(alarm.tolist(), quiet.tolist(), strict=True)):
        recent.append(window if strange else None)
        if is_open:
            if strange:
                found[-1] = found[-1][0], window
            still = still + 1 if calm else 0
            if still >= rules.close_windows:
                is_open, closed_at = False, float(ends[window])
                recent.clear()
            continue
        strange_ones = [each for each in recent if each is not None]
        if not strange or len(strange_ones) < rules.open_windows:
            continue
        is_open, still = True, 0
        if ends[window] - closed_at <= rules.cooldown_secs:
            found[-1] = found[-1][0], window
        else:
            found.append((strange_ones[0], window))
    return found


def veto(before: Showing, after: Showing, budget: Budget) -> str | None:
    """Say why a candidate must not go into service; None where it may."""
    lost = sum(was and not now for was, now in zip(before.caught, after.caught, strict=True))
    if lost:
        return f"it would lose {_faults(lost)} caught now"
    allowed = max(before.alerts, math.ceil(budget.alerts_per_week * after.weeks))
    if after.alerts > allowed + _CHANCE:
        return f"it would raise {after.a_week:.1f} alerts a week, more than now and than the budget allows"
    return None


def in_words(before: Showing, after: Showing) -> str:
    """Say what a head changes.

    Examples
    --------
    >>> in_words(Showing((True, False, False), 9, 4.2), Showing((True, True, True), 2, 4.2))
    'catches 3 of 3 labelled faults (before: 1); 0.5 alerts a week over 29 days (before: 2.1)'
    """
    days = 7 * after.weeks
    over = f"{days:.0f} days" if days >= 2 else f"{24 * days:.1f} hours"
    parts = [f"{after.a_week:.1f} alerts a week over {over} (before: {before.a_week:.1f})"]
    if after.caught:
        found = f"{sum(after.caught)} of {_faults(len(after.caught))}"
        parts.insert(0, f"catches {found} (before: {sum(before.caught)})")
    return "; ".join(parts)


def _faults(count: int) -> str:
    return f"{count} labelled fault{'s' if count != 1 else ''}"
