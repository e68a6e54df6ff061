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


_GOOD_PART = 0.25


class Showing(NamedTuple):
    """What a head makes of the stored windows."""

    caught: tuple[bool, ...]
    """For each labelled fault whether an alert is about it: one that stands all the time tells nobody anything."""
    beaten: tuple[float, ...]
    """For each the share of normal windows that are as strange as it."""
    alerts: int
    """That open on a window which nobody has labelled a fault."""
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
    found = stretches(alarm[known], quiet[known], times[known], rules)
    normal = np.ones(len(strangeness), dtype=bool)
    normal[warm_up:] = False
    normal[warm_up + support.normal] = True
    found = [
        each._replace(first=int(known[each.first]) - warm_up, last=int(known[each.last]) - warm_up) for each in found
    ]
    about = [[_is_about(each, event, rules) for event in support.events] for each in found]
    caught = tuple(any(column) for column in zip(*about, strict=True)) if about else (False,) * support.k
    false = sum(
        not (each.again or any(row)) and bool(normal[warm_up + each.first])
        for each, row in zip(found, about, strict=True)
    )
    usual = strangeness[normal & ~np.isnan(strangeness)]
    beaten = tuple(
        float(np.mean(usual >= np.sort(strangeness[warm_up + event])[-rules.open_windows :][0]))
        for event in support.events
    )
    return Showing(caught, beaten, false, int(normal.sum()) / budget.windows_per_week)


class Stretch(NamedTuple):
    """For how long an alert stood."""

    first: int
    """Strange window."""
    last: int
    """Strange window."""
    again: bool
    """The same alert as before, opened again."""


def stretches(alarm: Flags, quiet: Flags, ends: Floats, rules: AlertRules) -> list[Stretch]:
    """Return what `IncidentTracker` would make of windows [n]."""
    found: list[Stretch] = []
    recent: deque[int | None] = deque(maxlen=rules.of_windows)
    is_open, still, closed_at = False, 0, -math.inf
    for window, (strange, calm) in enumerate(zip(alarm.tolist(), quiet.tolist(), strict=True)):
        recent.append(window if strange else None)
        if is_open:
            if strange:
                found[-1] = found[-1]._replace(last=window)
            still = still + 1 if calm else 0
            if still >= rules.close_windows:
                is_open, closed_at = False, float(ends[window])
                recent.clear()
            continue
        strange_ones = [each for each in recent if each is not None]
        if not strange or len(strange_ones) < rules.open_windows:
            continue
        is_open, still = True, 0
        found.append(Stretch(strange_ones[0], window, bool(ends[window] - closed_at <= rules.cooldown_secs)))
    return found


def _is_about(stretch: Stretch, event: NDArray[np.intp], rules: AlertRules) -> bool:
    """Whether an alert opens, or opens again, with an event, or is for a good part of it."""
    first, last, _ = stretch
    overlap = min(last, int(event[-1])) - max(first, int(event[0])) + 1
    opens = event[0] - rules.of_windows <= first <= event[-1]
    return bool(opens) or overlap >= _GOOD_PART * (last - first + 1)


def veto(before: Showing, after: Showing, budget: Budget) -> str | None:
    """Say why a candidate must not go into service; None where it may.

    A fault that was caught and no longer is counts as lost, unless it stands out more among the normal windows than it
    did. Then only the threshold is higher, which follows the budget and, of a short past, is mostly a guess.
    """
    lost = sum(
        was and not now and beaten_now >= beaten
        for was, now, beaten, beaten_now in zip(before.caught, after.caught, before.beaten, after.beaten, strict=True)
    )
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
    >>> before = Showing((True, False, False), (0.0, 0.2, 0.1), 9, 4.2)
    >>> in_words(before, Showing((True, True, True), (0.0, 0.0, 0.0), 2, 4.2))
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
