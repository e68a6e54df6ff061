"""What a machine's sensors usually read, and the limits beyond it: warm-up series → here → the sensor check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.detect.flat import Flags
from appliance.detect.state import Fitted
from appliance.detect.windows import cut, hold
from appliance.records import Floats

LARGEST = 1e150
"""Larger numbers count as missing in warm-up, so that differences stay finite."""
FEWEST_ROUGH = 6
"""Readings that show how rough a channel is."""
_MOST_WINDOWS = 4000
"""Warm-up windows looked at: more change no quantile."""
_LEAST_REACH = 8
"""Cells judged at least: fewer show neither roughness nor a missing share."""
_COMMON = 0.05
"""Share of the warm-up at either end of a range that may be strange."""
_END = 0.01
"""Share of the warm-up beyond which a value lies at an end of the range: a control that a fault of the machine drives
to its limit holds that value too, so no channel is called stuck there."""
_RARE = 0.005
"""Share of the warm-up in which a machine has its rough hours."""
_MISSING_MARGIN = 0.3
"""Share of the readings that must be missing beyond what nearly all windows of the warm-up missed."""
_ROUGHER = 3.0
"""A noisy sensor steps this many times further from cell to cell than usual..."""
_ROUGHER_THAN_EVER = 1.5
"""...and this many times further than in the roughest hours."""
_JUMPS = 2
"""Largest steps left out of the roughness: there and back again is one event, not noise."""
_FAR_SPANS = 20.0
"""Spans beyond everything in the warm-up that no machine reaches from one cell to the next."""
_MOVING_SHARE = 0.2
"""A channel moves if it covers this share of what it usually covers."""
_NEAR_SPANS = 0.25
"""Spans around the usual range in which a level has stayed where it was."""


class Look(NamedTuple):
    """What the newest cells of a window show of every channel, [channel] each."""

    counts: NDArray[np.intp]
    """Readings."""
    bottom: Floats
    top: Floats
    rough: Floats
    """Mean step from one reading to the next, without the largest ones."""


class SensorLimits(Fitted):
    """The warm-up's ranges, steps and gaps of every channel, robust to a few per cent of strange warm-up."""

    FITTED: ClassVar[tuple[str, ...]] = (
        "length", "hop", "judged", "least", "low", "high", "most", "inner_low", "inner_high", "step", "missing",
        "rough_usual", "rough_ever", "travel", "trend",
    )  # fmt: skip

    def __init__(self, series: Floats, *, length: int, hop: int, ignored: Sequence[int]) -> None:
        """Fit on a series [channel, time] as received; ``ignored`` channels are never judged."""
        self.length, self.hop = length, hop
        self.judged = ~np.isin(np.arange(len(series)), ignored) & np.isfinite(series).any(axis=1)
        levels = (0.0, _END, _COMMON, 1 - _COMMON, 1 - _END, 1.0)
        self.least, self.inner_low, self.low, self.high, self.inner_high, self.most = quantiles(series, *levels)
        (self.step,) = quantiles(np.abs(np.diff(series)), 1 - _RARE)
        self.pace = hop * max(1, -(-series.shape[1] // (hop * _MOST_WINDOWS)))
        windows = cut(series, length, self.pace)
        looks = [self.look(window) for window in windows]
        self.missing = np.quantile([1.0 - look.counts / self.reach for look in looks], 1 - _COMMON, axis=0)
        rough = np.array([np.where(look.counts >= FEWEST_ROUGH, look.rough, np.nan) for look in looks]).T
        self.rough_usual, self.rough_ever = quantiles(rough, 1 - _COMMON, 1 - _RARE)
        (self.travel,) = quantiles(np.array([look.top - look.bottom for look in looks]).T, 0.5)
        (self.trend,) = quantiles(np.abs(np.array([trend_of(window) for window in windows]).T), 1 - _RARE)
        self._prepare()
        self.moving = np.array([self.others_move(look) for look in looks]).T

    pace: int
    """Cells from one warm-up window to the next; known while fitting only."""
    moving: Flags
    """[channel, warm-up window] whether the others moved; known while fitting only."""

    @property
    def reach(self) -> int:
        """Newest cells of a window that are judged: two hops."""
        return min(self.length, max(2 * self.hop, _LEAST_REACH))

    def look(self, window: Floats) -> Look:
        """Look at the newest cells of a window [channel, time]."""
        recent = window[:, -self.reach :]
        counts = np.full(len(window), self.reach)
        if not np.isfinite(np.add.reduce(recent, axis=None)):
            present = np.isfinite(recent)
            counts = np.add.reduce(present, axis=1)
            recent = hold(recent, present)
        steps = recent[:, 1:] - recent[:, :-1]
        np.abs(steps, out=steps)
        steps.partition(-_JUMPS, axis=1)
        rough = np.add.reduce(steps[:, :-_JUMPS], axis=1) / np.maximum(counts - 1 - _JUMPS, 1)
        return Look(counts, np.minimum.reduce(recent, axis=1), np.maximum.reduce(recent, axis=1), rough)

    def others_move(self, look: Look) -> Flags:
        """[channel] whether at least half of the other channels that ever move do so now."""
        moves = look.top - look.bottom > self._moving_from
        others: Flags = int(np.count_nonzero(moves)) - moves >= self._others_needed
        return others

    def may_be_off(self, look: Look) -> Flags:
        """[channel] whether the readings left their range or became rough: worth a closer look."""
        off: Flags = (look.bottom <= self._suspect_low) | (look.top > self.out_high) | (look.rough > self.rough_limit)
        return off

    def _prepare(self) -> None:
        """Turn what was fitted into the limits that are compared with."""
        self.span = self.high - self.low
        lively = self.judged & (self.travel > 0)
        self._moving_from = np.where(lively, _MOVING_SHARE * self.travel, np.inf)
        self._others_needed = np.maximum((int(lively.sum()) - lively) / 2, 1)
        self.near_low, self.near_high = self.low - _NEAR_SPANS * self.span, self.high + _NEAR_SPANS * self.span
        self.out_low, self.out_high = self.low - self.span, self.high + self.span
        margin = np.where(lively & (self.span > 0), _FAR_SPANS * self.span, np.inf)
        self.far_low, self.far_high = self.least - margin, self.most + margin
        self.never_zero = self.least > 0
        self._suspect_low = np.where(self.never_zero, np.maximum(self.out_low, 0.0), self.out_low)
        self.rough_limit = np.maximum(_ROUGHER * self.rough_usual, _ROUGHER_THAN_EVER * self.rough_ever)
        self.least_counts = (1.0 - self.missing - _MISSING_MARGIN) * self.reach


def quantiles(values: Floats, *levels: float) -> Floats:
    """Quantiles [level, row] of each row [row, n]; NaN is left out, and is what a row without any value has."""
    found = np.full((len(levels), len(values)), np.nan)
    known = np.isfinite(values).any(axis=1)
    if known.any():
        found[:, known] = np.nanquantile(values[known], levels, axis=1)
    return found


def trend_of(window: Floats) -> Floats:
    """Mean of the second half less that of the first [channel], 0 where either is missing."""
    half = window.shape[1] // 2
    present = np.isfinite(window)
    cells = np.where(present, window, 0.0)
    before, after = present[:, :half].sum(axis=1), present[:, half:].sum(axis=1)
    means = cells[:, half:].sum(axis=1) / np.maximum(after, 1) - cells[:, :half].sum(axis=1) / np.maximum(before, 1)
    trend: Floats = np.where((before > 0) & (after > 0), means, 0.0)
    return trend
