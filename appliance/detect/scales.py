"""The time scales at which a machine is looked at: its last moments, the window, and long past ones in coarse cells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.detect.evidence import EVIDENCE
from appliance.detect.state import State
from appliance.records import Floats

_QUICK = ("outside", "level", "pca_residual", "hotelling", "neighbours")
_SLOW = ("outside", "pca_residual", "autoregression", "neighbours")
_LEAST_LENGTH = 8
"""Cells; in shorter windows there are no moments to tell apart, and long ones would hold little of anything else."""
LONGEST = 16
"""Windows that the slowest scale reaches back."""
_UNITS = (4, 2, 1)
_NEWS = 8
"""A slow scale is judged anew when an eighth of its stretch is new: until then hardly anything can have changed."""


@dataclass(frozen=True, slots=True)
class Scale:
    """One time scale: every scale sees as many cells of a channel as the window has, or fewer."""

    suffix: str
    """What an evidence detector's name bears at this scale."""
    stride: int
    """Grid cells whose mean is one cell here: the stretch is that many windows long."""
    share: float
    """Share of the stretch that is looked at, counted from its end."""
    weight: float
    """Of the mean loudness of this scale against the others. Chosen on recorded machines, in round numbers."""
    evidence: tuple[str, ...]

    def cells(self, length: int) -> int:
        """Cells of a channel seen at this scale, for windows of ``length`` cells."""
        return max(1, int(length * self.share))


WINDOW = Scale("", 1, 1.0, 1.0, tuple(EVIDENCE))
SCALES = (
    WINDOW,
    Scale("@1/4", 1, 0.25, 1.0, _QUICK),
    Scale("@4", 4, 1.0, 0.5, _SLOW),
    Scale("@16", LONGEST, 1.0, 0.25, _SLOW),
)
"""A short event fills only part of a window, and keeps the window strange long after it is over: the last quarter is
judged on its own. A faint lasting one drowns in the noise of single cells: long stretches are judged by their means."""


def scales_for(length: int) -> tuple[Scale, ...]:
    """Return the scales that make sense for windows of ``length`` cells."""
    return SCALES if length >= _LEAST_LENGTH else (WINDOW,)


def unit_of(hop: int) -> int:
    """Return how many grid cells the past is kept in: the most, up to 4, that divide a hop."""
    return next(unit for unit in _UNITS if hop % unit == 0)


def pool(cells: NDArray[np.floating[Any]], width: int) -> NDArray[np.floating[Any]]:
    """Average ``width`` neighbouring cells along time, over those that hold a reading.

    Parameters
    ----------
    cells
        [..., time] with NaN for missing; time is a multiple of ``width``.

    Returns
    -------
    means
        [..., time / width], NaN where none of the cells holds a reading.
    """
    if width == 1:
        return cells
    parts = cells.reshape(*cells.shape[:-1], -1, width)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is missing, as is what is infinite
        total: NDArray[np.floating[Any]] = parts[..., 0] + parts[..., 1]
        for cell in range(2, width):
            total += parts[..., cell]
        total /= width
        if math.isfinite(np.vdot(total, total)):
            return total
        known = np.isfinite(parts)
        counts = known.sum(axis=-1)
        sums = np.where(known, parts, 0.0).sum(axis=-1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


class Heard(NamedTuple):
    """What the detectors of one scale say of one window."""

    evidence: list[float]
    """-ln p of each detector."""
    loudness: list[float]
    """ln(1 + evidence) of each detector."""
    combined: float
    """Weighted mean of that, times the weight of the scale."""
    blame: Floats
    """[channel] shares weighted by how much louder than usual each detector spoke, and by the scale."""


class Past:
    """The cells before a machine's current window, in units of a few cells: what the slow scales look back on.

    It also holds what they said last, until it is their turn again. Their turns never fall on the same window.

    Memory: ``(LONGEST - 1) * length / unit`` numbers of 4 bytes for each channel.
    """

    def __init__(self, length: int, hop: int) -> None:
        self.unit = unit_of(hop)
        self._length, self._hop = length, hop
        self._hop_units = hop // self.unit
        self._most = (LONGEST - 1) * length // self.unit if length >= _LEAST_LENGTH else 0
        self.cells: NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)
        """[channel, unit] oldest first, NaN for missing."""
        self._hops = 0
        self._held: dict[str, tuple[int, list[int], Heard]] = {}  # by scale: until which hop, and who was silent

    def extend(self, settled: NDArray[np.float32]) -> None:
        """Take in the cells [channel, hop] that the window leaves behind; a new channel is missing until now."""
        self._hops += 1
        if not self._most:
            return
        channels, known = len(settled), self.cells.shape[1]
        kept = max(0, min(known, self._most - self._hop_units))
        cells = np.full((channels, kept + self._hop_units), np.nan, dtype=np.float32)
        cells[: len(self.cells), :kept] = self.cells[:, known - kept :]
        cells[:, kept:] = pool(settled, self.unit)
        self.cells = cells[:, -self._most :]

    def skip(self, hops: int) -> None:
        """Note that nothing came for a number of hops."""
        if hops > 0:
            self.forget()
        for _ in range(min(hops, self._most // self._hop_units + 1)):
            self.extend(np.full((len(self.cells), self._hop_units * self.unit), np.nan, dtype=np.float32))

    def forget(self) -> None:
        """Let every scale be judged anew: after what was not judged, or by a new detector."""
        self._held.clear()

    def held(self, scale: Scale, silent: list[int]) -> Heard | None:
        """Return what a slow scale said last; None where it is to be judged anew, or other channels are silent now."""
        until, were_silent, heard = self._held.get(scale.suffix, (0, None, None))
        return heard if self._hops < until and silent == were_silent else None

    def hold(self, scale: Scale, silent: list[int], heard: Heard) -> None:
        """Keep what a slow scale says of the present window, until it is its turn."""
        every = hops_held(scale, self._length, self._hop)
        turn = 1 if scale.stride < LONGEST else 0
        until = self._hops + every - (self._hops - turn) % every
        self._held[scale.suffix] = until, silent, heard

    def snapshot(self) -> State:
        """All that a restart needs."""
        held = {suffix: [until, silent, *heard] for suffix, (until, silent, heard) in self._held.items()}
        return {"cells": self.cells, "hops": self._hops, "held": held}

    def restore(self, state: State) -> None:
        """Take up a snapshot made with the same window length and hop."""
        self.cells, self._hops = state["cells"], state["hops"]
        self._held = {suffix: (until, silent, Heard(*rest)) for suffix, (until, silent, *rest) in state["held"].items()}


def hops_held(scale: Scale, length: int, hop: int) -> int:
    """Return for how many hops a slow scale holds what it said."""
    return max(1, length * scale.stride // (_NEWS * hop))
