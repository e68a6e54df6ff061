"""Strangeness → score, -log10 of how often normal windows raise an alarm at that level: precedents → here → verdict."""

from __future__ import annotations

import copy
import math
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.detect.pareto import Tail, tail_start
from appliance.detect.state import Fitted
from appliance.records import Floats

_BLOCKS = 512
"""Block maxima kept: the sample in which alarms are counted."""
_CAP_SHARE = 0.1
"""A learned window counts as no stranger than one block in ten: a growing fault raises its own threshold slowly."""
_SCALE_FLOOR = 1e-3
"""In strangeness; a warm-up in which nothing ever happened must not make every change infinitely rare."""
_STEP = 0.5
"""In scores, that an alert raises the threshold: it makes further ones three times as rare. Much more, and an alert
would close itself: it is quiet below four fifths of the threshold."""
_HIGHEST, _LOWEST = 1.5, -1.0
"""In scores, that the correction goes up or down: a machine whose normal is another for good may need alerts thirty
times as rare as its warm-up has it; a calm one is not made to raise them more than ten times as often."""
_LEAST_BLOCK = 8
"""Windows in a block at least."""


def block_windows(length: int, hop: int) -> int:
    """Return how many windows a block holds: what two windows' worth of time brings, so that blocks share few cells."""
    return max(_LEAST_BLOCK, 2 * -(-length // hop))


class Threshold(NamedTuple):
    """The score from which a window counts as strange."""

    score: float
    needs_windows: int
    """More windows of normal operation until as many were seen as the budget allows one alarm in."""

    @property
    def extrapolated(self) -> bool:
        """Whether the budget's rate is lower than what was seen can show, so that the threshold rests on the tail."""
        return self.needs_windows > 0


class Calibrator(Fitted):
    """Block maxima of the warm-up for the score; recent ones, and the alerts raised, for the threshold.

    Consecutive windows overlap and strange ones come in runs, so alarms are counted per block of windows and not per
    window: of each block only the largest level at which it would have raised an alarm is kept (an alarm needs
    ``confirm`` of ``of`` consecutive windows). With p the share of the warm-up's blocks that reach a level, an alarm
    at that level starts in one of ``block / p`` windows, and the score is -log10 of that rate.

    The score of a level never changes, so scores can be compared over the life of the fit. What follows the machine
    is the threshold. It is the score of the level at which the warm-up's blocks would spend the budget, raised as far
    as the tail of *recent* blocks begins above theirs, and a correction by what was really spent.

    The correction is adaptive conformal inference (Gibbs & Candès 2021, eq. 2) on the scale of the score: every alert
    raises the threshold by `_STEP`, and normal operation lowers it by as much in the time in which the budget allows
    one alert; while one is open it stays. So in the long run alerts number as many as the budget allows, whatever the
    windows' distribution and however they bunch: between its bounds, the correction *is* `_STEP` times the alerts
    raised beyond the budget. An alert may also be right: what an operator has called a fault is given back. A lasting
    fault is one alert and moves the threshold by one step; the bounds keep faults that recur from becoming invisible,
    and a calm machine from alarms about nothing.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("block", "confirm", "of", "warm_up")
    LIVE: ClassVar[tuple[str, ...]] = ("maxima", "recent", "filled", "highest", "seen", "correction")
    _tail: Tail
    _rise: float

    def __init__(self, strangeness: Floats, block: int, confirm: int, of: int) -> None:
        """Start from the warm-up's held-out strangeness [n], in time order."""
        self.block, self.confirm, self.of = block, confirm, of
        self.maxima: NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self.recent: list[float] = []
        self.filled, self.highest = 0, -math.inf
        self.seen = 0
        """Blocks of normal operation, the warm-up's included."""
        self.correction = 0.0
        """Of the threshold, in scores."""
        for value in strangeness.tolist():
            self._collect(value)
        if not self.maxima.size:
            self._close_block()
        self.warm_up = self.maxima.copy()
        self._prepare()

    def again(self, warm_up: Floats, since: Floats) -> Calibrator:
        """Return a calibrator by the same rule for what another head makes of the same windows.

        How much normal operation was seen, and what was spent of the budget, stays.

        Parameters
        ----------
        warm_up, since
            [n] strangeness of the warm-up's windows, held out, and [m] of normal windows since, each in time order.
        """
        other = Calibrator(warm_up, self.block, self.confirm, self.of)
        for value in since[-_BLOCKS * self.block :].tolist():
            other.learn(value)
        other.seen, other.correction = max(self.seen, other.seen), self.correction
        return other

    def score(self, strangeness: float) -> tuple[float, bool]:
        """Return the score and whether it is extrapolated."""
        return self._rate(self._tail.log_share(strangeness)), strangeness > self._tail.highest

    def threshold(self, alarms_per_window: float) -> Threshold:
        """Return the score at which normal windows raise alarms at the given rate."""
        log_share = math.log(-math.expm1(self.block * math.log1p(-min(alarms_per_window, 0.5))))
        level = self._tail.level(log_share) + self._rise
        missing = math.ceil(math.exp(-log_share) - 1e-6) - 1 - self.seen
        score = self.score(level)[0]
        corrected = max(score + self.correction, score / 2)  # a generous budget must not make every window strange
        return Threshold(corrected, max(missing * self.block - self.filled, 0))

    def learn(self, strangeness: float) -> None:
        """Take in one normal window's strangeness."""
        if self._collect(min(strangeness, self._cap + self._rise)):
            self._follow()

    def spend(self, alerted: bool, alarms_per_window: float) -> float:
        """Hold one window against the budget: whether an alert opened with it, and the rate that is allowed.

        Returns
        -------
        spent
            Scores by which the threshold was raised, for `give_back`.
        """
        return -self.give_back(_STEP * (alarms_per_window - alerted))

    def give_back(self, spent: float) -> float:
        """Take off what was spent on alerts that turned out to be right, or with a minus put it back on: in scores.

        Returns
        -------
        given
            How much of it: the bounds may hold the rest.
        """
        before = self.correction
        self.correction = min(max(before - spent, _LOWEST), _HIGHEST)
        return before - self.correction

    def lowered(self) -> Calibrator | None:
        """Return the same with a threshold a little lower; None where that is as low as it gets."""
        other = self._moved(_STEP / 2)
        return other if other.correction < self.correction else None

    def raised(self, highest: float) -> Calibrator | None:
        """Return the same with a threshold a little higher; None where the correction is ``highest`` already."""
        other = self._moved(-min(_STEP / 2, highest - self.correction))
        return other if other.correction > self.correction else None

    def _moved(self, down: float) -> Calibrator:
        other = copy.copy(self)  # what `learn` changes it replaces
        other.give_back(down)
        return other

    @property
    def overspent(self) -> bool:
        """Whether the correction raises the threshold by more than half an alert's worth."""
        return self.correction > _STEP / 2

    def _prepare(self) -> None:
        self._tail = Tail(self.warm_up, _SCALE_FLOOR)
        self._cap = self._tail.level(math.log(_CAP_SHARE))
        self._follow()

    def _follow(self) -> None:
        """Note how far the tail of recent blocks begins above that of the warm-up's; it never counts as below."""
        self._rise = max(_begin(self.maxima) - _begin(self.warm_up), 0.0)

    def _rate(self, log_share: float) -> float:
        """Share of blocks → score. For rare levels this is -log10(share / block)."""
        share = math.exp(log_share)
        if share < 1e-9:
            return (math.log(self.block) - log_share) / math.log(10)
        return -math.log10(-math.expm1(math.log1p(-min(share, 1 - 1e-12)) / self.block))

    def _collect(self, strangeness: float) -> bool:
        """Add a window to the block; whether that completed it."""
        self.recent = [*self.recent, strangeness][-self.of :]
        if len(self.recent) >= self.confirm:
            self.highest = max(self.highest, sorted(self.recent)[-self.confirm])
        self.filled += 1
        if self.filled < self.block:
            return False
        self._close_block()
        return True

    def _close_block(self) -> None:
        self.seen += 1
        self.maxima = np.append(self.maxima[1 - _BLOCKS :], np.float32(max(self.highest, 0.0)))
        self.filled, self.highest = 0, -math.inf


def _begin(maxima: NDArray[np.float32]) -> float:
    start = tail_start(len(maxima))
    return float(np.partition(maxima, start)[start])
