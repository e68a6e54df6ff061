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
_REST = 0.15
"""A channel rests if its readings stay within this share of that amount."""
_RESTING_CHANNELS = 1 / 3
"""Share of the channels that rest while a machine stands, at least: temperatures and static pressures never do."""
_FEWEST_RESTING = 2
_COMMON = 0.05
"""Share of the running warm-up at either end of a channel's range that may be strange."""
_LONGEST_START = 24
"""Windows after which a start is over at the latest: a fault that came with it must not hide behind it."""
_NEARER = 0.95
"""From window to window a channel on its way back comes at least a twentieth of its distance nearer: others do not wait
for one that a fault keeps away."""
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

    A start lasts while the window still holds a part of the stop, and then while a channel is still on its way back to
    where it is while running: at most as long as the stop lasted, and at most 24 windows.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("length", "hop", "row", "running_above", "rest", "low", "high", "taught")
    LIVE: ClassVar[tuple[str, ...]] = ("stood", "since", "distance")

    def __init__(self, series: Floats, *, length: int, hop: int, state: StateChannel | None = None) -> None:
        """Fit on the warm-up, [channel, time] in raw units with its gaps filled."""
        self.length, self.hop = length, hop
        self.row, self.running_above = (-1, 0.0) if state is None else state
        (amount,) = quantiles(np.abs(series), _RUNNING_SHARE)
        self.rest = np.where(amount > 0, _REST * amount, np.nan)
        """[channel] amount below which a channel rests, NaN for one that always does."""
        pace = hop * max(1, -(-series.shape[1] // (hop * _MOST_WINDOWS)))
        windows = cut(series, length, pace)
        stands = np.array([self._stands(window) for window in windows])
        levels = np.array([_level(window[:, -hop:]) for window in windows])
        self.low, self.high = quantiles(levels[~stands].T, _COMMON, 1 - _COMMON)
        self.taught = bool(stands.mean() >= _TAUGHT_SHARE)
        """Whether stops and starts are among what was learned, so that such windows can be scored."""
        self.stood, self.since = 0, _LONGEST_START
        self.distance = np.zeros(len(series))

    stood: int
    """Windows that the latest stop lasted, up to the present one while it lasts."""
    since: int
    """Windows since then; many where there was none."""
    distance: Floats
    """[channel] from the range that it has while running; known during a start only."""

    def judge(self, window: Floats) -> Operating:
        """Take in the next window [channel, time] in raw units; return what the machine does at its end."""
        if self._stands(window):
            self.stood, self.since = (self.stood + 1 if self.since == 0 else 1), 0
            return "stopped"
        self.since += 1
        held = -(-self.length // self.hop)
        if self.since > min(held + self.stood, _LONGEST_START):
            return "running"
        level, before = _level(window[:, -self.hop :]), self.distance
        self.distance = np.nan_to_num(np.maximum(np.maximum(self.low - level, level - self.high), 0.0))
        if self.since <= held or ((self.distance > 0) & (self.distance < _NEARER * before)).any():
            return "starting"
        self.since = _LONGEST_START
        return "running"

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
