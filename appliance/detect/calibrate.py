"""Strangeness → score, -log10 of how often normal windows raise an alarm at that level: combine → here → incidents."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import ClassVar, NamedTuple, Self

import numpy as np

from appliance.detect.state import Fitted, State
from appliance.records import Floats

_BLOCKS = 512
"""Block maxima kept: the sample that the score is counted in."""
_TAIL_SHARE = 0.3
"""The share of the block maxima from which the tail beyond them is fitted."""
_CENSORED_SHARE = 0.05
"""The highest block maxima count as "at least this": strange events in the sample do not stretch the tail."""
_LIGHTNESS = 0.7
"""Scale of the tail beyond, against the scale inside the sample: strangeness is a mean of logarithms of evidence, whose
tail falls faster than an exponential. Set on simulated plants and server machines so that the budget is about spent."""
_CAP_SHARE = 0.02
"""A learned window counts as no stranger than one block in fifty: a growing fault raises its own threshold slowly."""
_SCALE_FLOOR = 1e-3
"""In strangeness; a warm-up in which nothing ever happened must not make every change infinitely rare."""


class Threshold(NamedTuple):
    """The score from which a window counts as strange."""

    score: float
    extrapolated: bool
    """Whether it lies beyond what the calibration sample can show, so that it rests on the fitted tail."""


class Calibrator(Fitted):
    """Rolling block maxima with an exponential tail.

    Consecutive windows overlap and strange ones come in runs, so alarms are counted per block of windows and not per
    window: of each block only the largest level at which it would have raised an alarm is kept (an alarm needs
    ``confirm`` of ``of`` consecutive windows). With p the share of recent blocks that reach a level, an alarm at that
    level starts in one of ``block / p`` windows, and the score is -log10 of that rate. Beyond the sample the
    exceedances are taken to be exponential (peaks over threshold, shape 0: Coles 2001, ch. 4).
    """

    FITTED: ClassVar[tuple[str, ...]] = ("block", "confirm", "of", "least_scale")
    LIVE: ClassVar[tuple[str, ...]] = ("maxima", "recent", "filled", "highest")

    def __init__(self, strangeness: Floats, block: int, confirm: int, of: int) -> None:
        """Start from the warm-up's held-out strangeness [n], in time order."""
        self.block, self.confirm, self.of = block, confirm, of
        self.least_scale = _SCALE_FLOOR
        self.maxima = np.empty(0, dtype=np.float64)
        self.recent: list[float] = []
        self.filled, self.highest = 0, -math.inf
        for value in strangeness.tolist():
            self._collect(value)
        if not self.maxima.size:
            self._close_block()
        self.least_scale = self._fit_tail()

    @classmethod
    def restore(cls, fitted: State, live: State) -> Self:
        """Build the calibrator again; the tail follows from the sample."""
        restored = super().restore(fitted, live)
        restored._fit_tail()
        return restored

    def score(self, strangeness: float) -> tuple[float, bool]:
        """Return the score and whether it is extrapolated."""
        rank = bisect_left(self._sample, strangeness)
        if rank == len(self._sample):
            log_share = self._log_shares[-1] - (strangeness - self._sample[-1]) / self._scale
            return self._rate(log_share), strangeness > self._highest_seen
        above, below = self._sample[rank], self._sample[rank - 1] if rank else 0.0
        low = self._log_shares[rank - 1] if rank else 0.0
        part = (strangeness - below) / (above - below) if above > below else 1.0
        return self._rate(low + part * (self._log_shares[rank] - low)), False

    def threshold(self, alarms_per_window: float) -> Threshold:
        """Return the score at which normal windows raise alarms at the given rate."""
        return Threshold(-math.log10(alarms_per_window), alarms_per_window * self.block * (len(self.maxima) + 1) < 1)

    def learn(self, strangeness: float) -> None:
        """Take in one normal window's strangeness."""
        if self._collect(min(strangeness, self._cap)):
            self._fit_tail()

    def _rate(self, log_share: float) -> float:
        """Share of blocks → score. For rare levels this is -log10(share / block)."""
        share = math.exp(log_share)
        if share < 1e-9:
            return (math.log(self.block) - log_share) / math.log(10)
        return -math.log10(-math.expm1(math.log1p(-min(share, 1 - 1e-12)) / self.block))

    def _collect(self, strangeness: float) -> bool:
        self.recent = [*self.recent[1 - self.of :], strangeness] if self.of > 1 else [strangeness]
        if len(self.recent) >= self.confirm:
            self.highest = max(self.highest, sorted(self.recent)[-self.confirm])
        self.filled += 1
        if self.filled < self.block:
            return False
        self._close_block()
        return True

    def _close_block(self) -> None:
        self.maxima = np.append(self.maxima[1 - _BLOCKS :], max(self.highest, 0.0))
        self.filled, self.highest = 0, -math.inf

    def _fit_tail(self) -> float:
        """Fit and return the scale inside the sample.

        It never falls below the warm-up's: what raised an alarm is not learned, so the sample loses its own tail.
        """
        ordered = np.sort(self.maxima)
        n = len(ordered)
        start, end = int(n * (1 - _TAIL_SHARE)), max(int(n * (1 - _CENSORED_SHARE)), 1)
        shares = np.log(np.arange(n, 0, -1) / (n + 1))
        self._sample: list[float] = ordered[: start + 1].tolist()
        self._log_shares: list[float] = shares[: start + 1].tolist()
        tail = np.minimum(ordered[start:], ordered[end - 1])
        inside = max(float((tail - tail[0]).sum()) / max(end - start, 1), self.least_scale)
        self._scale = _LIGHTNESS * inside
        self._cap = self._sample[-1] + inside * (self._log_shares[-1] - math.log(_CAP_SHARE))
        self._highest_seen = float(ordered[-1])
        return inside
