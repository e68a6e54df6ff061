"""Strangeness → score, -log10 of how often normal windows raise an alarm at that level: precedents → here → verdict."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from appliance.detect.state import Fitted, State
from appliance.records import Floats

_BLOCKS = 512
"""Block maxima kept: the sample in which alarms are counted."""
_TAIL_SHARE = 0.3
"""The share of the block maxima from which the tail beyond them is fitted."""
_CENSORED_SHARE = 0.05
"""The highest block maxima count as "at least this": strange events in the sample do not stretch the tail."""
_LIGHTNESS = 0.8
"""Scale of the tail beyond, against the scale inside the sample: strangeness is a mean of logarithms of evidence, whose
tail falls faster than an exponential. Set on four simulated plants so that the budget is about spent: at 0.65 they
raised a third more false alerts than asked for, at 1.05 a third of the faults went unheard."""
_CAP_SHARE = 0.1
"""A learned window counts as no stranger than one block in ten: a growing fault raises its own threshold slowly."""
_SCALE_FLOOR = 1e-3
"""In strangeness; a warm-up in which nothing ever happened must not make every change infinitely rare."""
_LEAST_BLOCK = 8
"""Windows in a block at least."""


def block_windows(length: int, hop: int) -> int:
    """Return how many windows a block holds: what two windows' worth of time brings, so that blocks share few cells."""
    return max(_LEAST_BLOCK, 2 * -(-length // hop))


class Threshold(NamedTuple):
    """The score from which a window counts as strange."""

    score: float
    extrapolated: bool
    """Whether it lies beyond what the calibration sample can show, so that it rests on the fitted tail."""


class Tail:
    """How rare each level of strangeness is among block maxima: counted up to their 70th percentile, fitted beyond.

    Beyond it the exceedances are taken to be exponential (peaks over threshold, shape 0: Coles 2001, ch. 4).
    """

    def __init__(self, maxima: NDArray[np.float32], least_scale: float) -> None:
        ordered = np.sort(maxima.astype(np.float64))
        n = len(ordered)
        start, end = int(n * (1 - _TAIL_SHARE)), max(int(n * (1 - _CENSORED_SHARE)), 1)
        shares = np.log(np.arange(n, 0, -1) / (n + 1))
        self._levels: list[float] = [0.0, *ordered[: start + 1].tolist()]
        self._log_shares: list[float] = [0.0, *shares[: start + 1].tolist()]
        tail = np.minimum(ordered[start:], ordered[end - 1])
        self.scale = max(float((tail - tail[0]).sum()) / max(end - start, 1), least_scale)
        """Mean exceedance inside the sample."""
        self.cap = self._levels[-1] + self.scale * (self._log_shares[-1] - math.log(_CAP_SHARE))
        self.highest = float(ordered[-1])

    def log_share(self, strangeness: float) -> float:
        """Log share of the blocks that reach a level."""
        levels, shares = self._levels, self._log_shares
        above = bisect_left(levels, strangeness)
        if above == len(levels):
            return shares[-1] - (strangeness - levels[-1]) / (_LIGHTNESS * self.scale)
        if above == 0:
            return 0.0
        part = (strangeness - levels[above - 1]) / (levels[above] - levels[above - 1])
        return shares[above - 1] + part * (shares[above] - shares[above - 1])

    def level(self, log_share: float) -> float:
        """Return the level that a share of the blocks reaches: the inverse of `log_share`."""
        levels, shares = self._levels, self._log_shares
        if log_share <= shares[-1]:
            return levels[-1] + (shares[-1] - log_share) * _LIGHTNESS * self.scale
        above = bisect_left(shares, -log_share, key=lambda share: -share)
        if above == 0:
            return 0.0
        part = (log_share - shares[above - 1]) / (shares[above] - shares[above - 1])
        return levels[above - 1] + part * (levels[above] - levels[above - 1])


class Calibrator(Fitted):
    """Block maxima of the warm-up for the score, and of recent windows for the threshold.

    Consecutive windows overlap and strange ones come in runs, so alarms are counted per block of windows and not per
    window: of each block only the largest level at which it would have raised an alarm is kept (an alarm needs
    ``confirm`` of ``of`` consecutive windows). With p the share of the warm-up's blocks that reach a level, an alarm
    at that level starts in one of ``block / p`` windows, and the score is -log10 of that rate.

    The score of a level never changes, so scores can be compared over the life of the fit. What follows the machine
    is the threshold: the score of the level at which *recent* blocks would spend the budget, if that is above the
    warm-up's. It never falls below: what raises an alarm is not learned, so recent blocks look calmer than they are.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("block", "confirm", "of", "warm_up")
    LIVE: ClassVar[tuple[str, ...]] = ("maxima", "recent", "filled", "highest")
    _fitted: Tail
    _latest: Tail

    def __init__(self, strangeness: Floats, block: int, confirm: int, of: int) -> None:
        """Start from the warm-up's held-out strangeness [n], in time order."""
        self.block, self.confirm, self.of = block, confirm, of
        self.maxima: NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self.recent: list[float] = []
        self.filled, self.highest = 0, -math.inf
        for value in strangeness.tolist():
            self._collect(value)
        if not self.maxima.size:
            self._close_block()
        self.warm_up = self.maxima.copy()
        self._prepare()

    @classmethod
    def restore(cls, fitted: State, live: State) -> Self:
        """Build the calibrator again; both tails follow from their samples."""
        restored = super().restore(fitted, live)
        restored._prepare()
        return restored

    def score(self, strangeness: float) -> tuple[float, bool]:
        """Return the score and whether it is extrapolated."""
        return self._rate(self._fitted.log_share(strangeness)), strangeness > self._fitted.highest

    def threshold(self, alarms_per_window: float) -> Threshold:
        """Return the score at which normal windows raise alarms at the given rate."""
        log_share = math.log(-math.expm1(self.block * math.log1p(-min(alarms_per_window, 0.5))))
        level = max(self._fitted.level(log_share), self._latest.level(log_share))
        return Threshold(self.score(level)[0], log_share < -math.log(len(self.maxima) + 1))

    def learn(self, strangeness: float) -> None:
        """Take in one normal window's strangeness."""
        if self._collect(min(strangeness, self._latest.cap)):
            self._latest = Tail(self.maxima, self._fitted.scale)

    def _prepare(self) -> None:
        """Fit both tails, the recent one at least as wide as the warm-up's."""
        self._fitted = Tail(self.warm_up, _SCALE_FLOOR)
        self._latest = Tail(self.maxima, self._fitted.scale)

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
        self.maxima = np.append(self.maxima[1 - _BLOCKS :], np.float32(max(self.highest, 0.0)))
        self.filled, self.highest = 0, -math.inf
