"""Whether a machine runs, stands or has just been started: raw window → here → whether the window is scored at all."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import numpy as np

from appliance.detect.sensor_limits import quantiles
from appliance.detect.state import Fitted
from appliance.detect.windows import cut
from appliance.records import Floats

Operating = Literal["running", "starting", "stopped"]

_RUNNING_SHARE = 0.8
"""Quantile of a channel's amount in the warm-up that it has while running: some machines stand for most of the time."""
_REST = 0.07
"""A channel rests if its readings stay within this share of that amount."""
_RESTING_CHANNELS = 1 / 3
"""Share of the channels that rest while a machine stands, at least: temperatures and static pressures never do."""
_FEWEST_RESTING = 2
_COMMON = 0.05
"""Share of the running warm-up at either end of a channel's range that may be strange."""
_LONGEST_START = 24
"""Windows that it takes to settle at most: a fault that came with it must not hide behind it."""
_SETTLING = 0.95
"""From window to window a channel that settles comes at least a twentieth nearer, or moves a twentieth less: nobody
waits for one that a fault keeps away."""
_RUN_UP = 2
"""Windows after a stop in which everything may move ever faster."""
_LARGE_CHANGE = 0.98
"""Quantile of a running channel's change from window to window beyond which it has not settled."""
_MOST_WINDOWS = 4000
_TAUGHT_SHARE = 0.05
"""Share of the warm-up's windows from which the machine's stops were learned like any other of its states."""


class StateChannel(NamedTuple):
    """A channel that tells whether its machine runs."""

    row: int
    running_above: float


class Operation(Fitted):
    """Follows the operating state from window to window.

    A machine stands if the newest hop of every third channel, and of two at least, lies near zero: speed, flow, current
    and vibration do, together, and no fault that leaves it running brings them all there. Or a channel of its own says
    so. Anything doubtful is running.

    A start lasts until the window is free of the stop and of the time after it in which some channel was settling: on
    its way back to where it is while running, or changing fast but ever slower. It settles for as long as the stop
    lasted at most, and 24 windows. A collapse that does not last for a whole window is no stop, and what follows it no
    start: it is judged like anything else that a machine does.
    """

    FITTED: ClassVar[tuple[str, ...]] = (
        "length", "hop", "row", "running_above", "rest", "low", "high", "large", "taught",
    )  # fmt: skip
    LIVE: ClassVar[tuple[str, ...]] = ("stood", "age", "settling", "since", "level", "distance", "change")

    def __init__(
        self, series: Floats, *, length: int, hop: int, state: StateChannel | None = None, may_stop: bool = True
    ) -> None:
        """Fit on the warm-up, [channel, time] in raw units with its gaps filled; unless it may stop, it always runs."""
        self.length, self.hop = length, hop
        self.row, self.running_above = (-1, 0.0) if state is None else state
        (amount,) = quantiles(np.abs(series), _RUNNING_SHARE)
        self.rest = np.where((amount > 0) & may_stop, _REST * amount, np.nan)
        """[channel] amount below which a channel rests, NaN for one that always does."""
        pace = hop * max(1, -(-series.shape[1] // (hop * _MOST_WINDOWS)))
        windows = cut(series, length, pace)
        stands = np.array([self._stands(window) for window in windows])
        levels = np.array([_level(window[:, -hop:]) for window in windows])
        self.low, self.high = quantiles(levels[~stands].T, _COMMON, 1 - _COMMON)
        runs_on = ~stands[1:] & ~stands[:-1]
        (self.large,) = quantiles(np.abs(np.diff(levels, axis=0))[runs_on].T, _LARGE_CHANGE)
        self.taught = bool(stands.mean() >= _TAUGHT_SHARE)
        """Whether stops and starts are among what was learned, so that such windows can be scored."""
        self.stood, self.age, self.since = 0, 1, -(-length // hop)
        self.settling = False
        self.level, self.distance, self.change = (np.zeros(len(series)) for _ in range(3))

    stood: int
    """Windows that the latest stop lasted, up to the present one while it lasts."""
    age: int
    """Windows since that stop, or since the beginning."""
    settling: bool
    """Whether some channel has been settling ever since."""
    since: int
    """Windows since the machine last stood or settled."""
    level: Floats
    """[channel] over the newest hop of the last window."""
    distance: Floats
    """[channel] of that level from the range that it has while running."""
    change: Floats
    """[channel] amount by which that level had moved."""

    @property
    def _whole(self) -> int:
        """Windows after which a stop fills the whole window."""
        return -(-self.length // self.hop)

    def judge(self, window: Floats) -> Operating:
        """Take in the next window [channel, time] in raw units; return what the machine does at its end."""
        if self._stands(window):
            self.stood = self.stood + 1 if self.age == 0 else 1
            self.age, self.since, self.settling = 0, 0, True
            return "stopped"
        self.age += 1
        if self.stood < self._whole:
            return "running"
        if self.settling:
            settles = self._settles(_level(window[:, -self.hop :])) or self.age <= _RUN_UP
            self.settling = settles and self.age <= min(self.stood, _LONGEST_START)
        self.since = 0 if self.settling else self.since + 1
        return "starting" if self.since <= self._whole else "running"

    def _settles(self, level: Floats) -> bool:
        """Take in the newest level [channel] of a start; return whether any channel is still settling."""
        distance = np.nan_to_num(np.maximum(np.maximum(self.low - level, level - self.high), 0.0))
        change = np.nan_to_num(np.abs(level - self.level))
        nearer = (distance > 0) & (distance < _SETTLING * self.distance)
        slower = (change > self.large) & (change < _SETTLING * self.change)
        self.level, self.distance, self.change = level, distance, change
        return bool((nearer | slower).any())

    def _stands(self, window: Floats) -> bool:
        newest = window[:, -self.hop :]
        if self.row >= 0:
            return bool(newest[self.row].max() <= self.running_above)
        resting = np.maximum.reduce(np.abs(newest), axis=1) <= self.rest
        return int(np.count_nonzero(resting)) >= max(_FEWEST_RESTING, _RESTING_CHANNELS * len(window))


def _level(cells: Floats) -> Floats:
    """Mean over time [channel]; NaN where a cell is missing."""
    level: Floats = np.add.reduce(cells, axis=1) / cells.shape[1]
    return level
