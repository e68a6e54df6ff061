"""How long a channel may repeat one value: the part of the sensor check that needs a memory."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from appliance.detect.state import Fitted
from appliance.records import Floats

Flags = NDArray[np.bool_]

_FEWEST = 10
"""Equal readings in a row that are never yet called stuck: a coarse sensor repeats itself."""
_LONGER = 1.5
"""A run is too long from this many times the longest there was..."""
_LONGER_AT_REST = 2.0
"""...and at a value that is known to be held, from this many times the longest at that value."""
_RESTS = 4
"""Values of a channel that are known to be held for long, such as a closed valve's 0."""


class Holds(Fitted):
    """Runs of exactly equal readings, counted while the rest of the machine moves.

    A run that goes on while everything rests says nothing of the sensor, so it is not counted then. How long a
    channel may hold a value is learned by value: one that closes for an hour each day may read 0 for an hour, and is
    stuck after a minute at 37.2.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("limit", "rests", "rest_limit")
    LIVE: ClassVar[tuple[str, ...]] = ("run", "value")

    def __init__(self, series: Floats, moving: Flags) -> None:
        """Fit on a series [channel, time] as received, and whether the others of each channel moved [channel, time]."""
        channels = len(series)
        self.limit = np.full(channels, np.inf)
        self.rests = np.full((channels, _RESTS), np.nan)
        self.rest_limit = np.zeros((channels, _RESTS))
        for channel, values in enumerate(series):
            known = np.isfinite(values)
            if known.any():
                self._fit_channel(channel, values[known], moving[channel][known])
        self.run = np.zeros(channels, dtype=np.int64)
        self.value = np.full(channels, np.nan)

    def _fit_channel(self, channel: int, values: Floats, moving: Flags) -> None:
        begins = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)
        lengths = np.add.reduceat(moving.astype(np.int64), begins)
        held = values[begins]
        long = lengths > max(_FEWEST, _LONGER * _typical(lengths))
        at, which = np.unique(held[long], return_inverse=True)
        longest = np.zeros(len(at))
        np.maximum.at(longest, which, lengths[long])
        rests = np.argsort(-longest, kind="stable")[:_RESTS]
        self.rests[channel, : len(rests)] = at[rests]
        self.rest_limit[channel, : len(rests)] = _LONGER_AT_REST * longest[rests]
        others = lengths[~np.isin(held, at[rests])]
        self.limit[channel] = max(_FEWEST, _LONGER * float(others.max(initial=0)))

    def take(self, cells: Floats, moving: Flags) -> Flags:
        """Take in the newest cells; return which channels still hold the value they held before.

        Parameters
        ----------
        cells
            [channel, time], NaN where nothing came: that neither lengthens a run nor ends it.
        moving
            [channel] whether the others of each channel move.
        """
        backwards = cells[:, ::-1]
        if not np.isfinite(np.add.reduce(cells, axis=None)):
            present = np.isfinite(backwards)
            newest = present.argmax(axis=1)
            found = present.any(axis=1)
            last = np.where(found, backwards[np.arange(len(cells)), newest], self.value)
            same = np.logical_and.accumulate((backwards == last[:, None]) | ~present, axis=1)
            held = np.add.reduce(same & present, axis=1)
        else:
            last = backwards[:, 0].copy()
            same = np.logical_and.accumulate(backwards == last[:, None], axis=1)
            held = np.add.reduce(same, axis=1)
        goes_on: Flags = same[:, -1] & (last == self.value)
        self.run = self.run * goes_on + held * moving
        self.value = last
        return goes_on

    def too_long(self) -> Flags:
        """Return which channels have repeated their value for longer than they ever did."""
        beyond: Flags = self.run > self.limit
        if beyond.any():
            at_rest = np.where(self.rests == self.value[:, None], self.rest_limit, 0.0).max(axis=1)
            beyond = beyond & (self.run > at_rest)
        return beyond


def _typical(lengths: NDArray[np.int64]) -> float:
    """Return the length of run below which half of the time is spent."""
    ordered = np.sort(lengths)
    spent = np.cumsum(ordered)
    return float(ordered[np.searchsorted(spent, spent[-1] / 2)])
