"""Whether a new head goes into service: both heads over the same stored windows → here → promoted, or why not.

The guard is a veto on clear harm, not a chooser: with a handful of events, choosing is noise.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.adapt.support import Indices, Support
from appliance.detect.calibrate import Calibrator
from appliance.detect.head import Head
from appliance.incidents import AlertRules
from appliance.records import Floats

Flags = NDArray[np.bool_]
WEEK_SECS = 7 * 86_400.0
_CHANCE = 1
"""Alerts beyond what is allowed that are no evidence of harm."""
_GOOD_PART = 0.25
"""Of an alert's time that must lie in an event for the alert to be about it, where it did not open with it."""
_LATEST = 256
"""Normal windows that say whether an alert closes now: the machine may have changed since the others."""
_LEAST_QUIET = 0.5
"""Of them: with fewer an alert would stand while all is normal."""


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
    settles: bool = True
    """Whether most of the latest such windows are quiet enough for an alert to close."""

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


class Rehearsal:
    """One head on the warm-up and the past: what it would have done, by the calibration that it is given.

    Parameters
    ----------
    ends
        [n] Unix seconds: of the windows of ``support.past``.
    """

    def __init__(self, head: Head, support: Support, ends: Floats, *, rules: AlertRules, budget: Budget) -> None:
        self._support, self._rules, self._budget = support, rules, budget
        self.warm_up = head.rescore(support.warm_up)
        """[m] strangeness."""
        self.past = head.rescore(support.past)
        """[n]."""
        strangeness = np.concatenate([self.warm_up, self.past])
        before = (
            ends[0] - rules.cooldown_secs - WEEK_SECS / budget.windows_per_week * np.arange(len(self.warm_up), 0, -1)
        )
        self._known = np.flatnonzero(~np.isnan(strangeness))
        self._ends = np.concatenate([before, ends])[self._known]
        self._strangeness = strangeness[self._known]
        self._sorted = np.sort(self._strangeness)
        self._normal = np.concatenate([np.ones(len(self.warm_up), dtype=bool), np.zeros(len(self.past), dtype=bool)])
        self._normal[len(self.warm_up) + support.normal] = True
        usual = np.sort(strangeness[self._normal & ~np.isnan(strangeness)])
        self._beaten = tuple(self._beaten_by(usual, event) for event in support.events)

    def _beaten_by(self, usual: Floats, event: Indices) -> float:
        level = np.sort(self.past[event])[-self._rules.open_windows :][0]
        return 1.0 - float(np.searchsorted(usual, level)) / len(usual)

    def show(self, calibrator: Calibrator) -> Showing:
        """Return what would have come of it with a calibration of the strangeness that the head gives."""
        threshold = calibrator.threshold(self._budget.per_window).score
        alarm, quiet = (
            self._level(calibrator, threshold),
            self._level(calibrator, self._rules.close_ratio * threshold),
        )
        warm_up = len(self.warm_up)
        found = [
            each._replace(first=int(self._known[each.first]) - warm_up, last=int(self._known[each.last]) - warm_up)
            for each in stretches(self._strangeness >= alarm, self._strangeness < quiet, self._ends, self._rules)
        ]
        about = [[_is_about(each, event, self._rules) for event in self._support.events] for each in found]
        caught = tuple(any(column) for column in zip(*about, strict=True)) if about else (False,) * self._support.k
        false = sum(
            not (each.again or any(row)) and bool(self._normal[warm_up + each.first])
            for each, row in zip(found, about, strict=True)
        )
        latest = self._strangeness[self._normal[self._known]][-_LATEST:]
        settles = not len(latest) or float(np.mean(latest < quiet)) >= _LEAST_QUIET
        return Showing(caught, self._beaten, false, int(self._normal.sum()) / self._budget.windows_per_week, settles)

    def _level(self, calibrator: Calibrator, score: float) -> float:
        """Return the least of the strangenesses that has the score."""
        at = bisect_left(self._sorted, score, key=lambda value: calibrator.score(float(value))[0])
        return float(self._sorted[at]) if at < len(self._sorted) else math.inf


def take_back(rehearsal: Rehearsal, calibrator: Calibrator, given: float, budget: Budget) -> tuple[Calibrator, Showing]:
    """Return the calibration with as little as possible taken back of what was given back of the budget.

    What right alerts have spent is given back as if it had never been spent. So many of them may bring the threshold
    down to where normal windows hold an alert open for ever, or spend the budget at once.

    Parameters
    ----------
    given
        Scores: no more is taken back.
    """
    highest = calibrator.correction + given
    while True:
        shown = rehearsal.show(calibrator)
        higher = calibrator.raised(highest)
        if higher is None or (shown.settles and shown.alerts <= _allowed(shown, budget) + _CHANCE):
            return calibrator, shown
        calibrator = higher


def gives_way(
    rehearsal: Rehearsal, calibrator: Calibrator, before: Showing, budget: Budget
) -> tuple[Calibrator, Showing]:
    """Return the calibration with the highest threshold at which no fault is lost that the head in service catches.

    A threshold that is lower than what was spent of the budget has it is made good by the next false alert. Where none
    will do, or the rehearsal raises more alerts than are allowed, the calibration stays as it is.
    """
    shown = rehearsal.show(calibrator)
    lower, after = calibrator, shown
    while any(was and not now for was, now in zip(before.caught, after.caught, strict=True)):
        step = lower.lowered()
        if step is None:
            return calibrator, shown
        lower, after = step, rehearsal.show(step)
        if _too_many(before, after, budget) or not after.settles:
            return calibrator, shown
    return lower, after


class Stretch(NamedTuple):
    """For how long an alert stood."""

    first: int
    """Strange window."""
    last: int
    """Strange window."""
    again: bool
    """The same alert as before, opened again."""


def stretches(alarm: Flags, quiet: Flags, ends: Floats, rules: AlertRules) -> list[Stretch]:
    """Return what `IncidentTracker` would make of windows [n]; none is both strange and quiet."""
    found: list[Stretch] = []
    strange = np.flatnonzero(alarm)
    firsts = strange[: max(len(strange) - rules.open_windows + 1, 0)]
    near = np.flatnonzero(strange[rules.open_windows - 1 :] - firsts < rules.of_windows)
    firsts, opens = firsts[near], strange[near + rules.open_windows - 1]  # of what would open an alert
    calm = np.concatenate([[0], np.cumsum(quiet)])
    closes = (
        rules.close_windows
        - 1
        + np.flatnonzero(calm[rules.close_windows :] - calm[: -rules.close_windows] == rules.close_windows)
    )  # windows that end so many quiet ones in a row
    begin, closed_at = 0, -math.inf
    while (at := int(np.searchsorted(firsts, begin))) < len(firsts):
        window = int(opens[at])
        till = int(np.searchsorted(closes, window + rules.close_windows))
        close = int(closes[till]) if till < len(closes) else len(alarm)
        last = int(strange[np.searchsorted(strange, close) - 1])
        found.append(Stretch(int(firsts[at]), last, bool(ends[window] - closed_at <= rules.cooldown_secs)))
        begin, closed_at = close + 1, float(ends[min(close, len(ends) - 1)])
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
    if _too_many(before, after, budget):
        return f"it would raise {after.a_week:.1f} alerts a week, more than now and than the budget allows"
    return None


def _too_many(before: Showing, after: Showing, budget: Budget) -> bool:
    return after.alerts > max(before.alerts, _allowed(after, budget)) + _CHANCE


def _allowed(shown: Showing, budget: Budget) -> int:
    return math.ceil(budget.alerts_per_week * shown.weeks)


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
