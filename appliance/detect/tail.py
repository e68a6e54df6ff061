"""Oddity in a detector's own units → evidence, -ln p under this machine's normal: evidence detectors → here → mean."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from appliance.detect.state import Fitted
from appliance.records import Floats

_GRID = 48
_GRID_TOP = math.log(20.0)
"""Evidence up to which held-out windows are counted (one in twenty); beyond, the tail is taken to be exponential."""
_STEP = _GRID_TOP / (_GRID - 1)
_SLOPE_FLOOR = 0.01
"""Smallest unit of oddity: a detector that never moved in warm-up must not call every change infinitely strange."""


class TailRank(Fitted):
    """Rank of each detector's oddity among held-out warm-up windows.

    Beyond the 95th percentile the tail is exponential with the scale that the 80th to 98th percentiles show, so that
    a few strange windows in the warm-up do not stretch it.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("grid", "slope")

    def __init__(self, oddity: Floats) -> None:
        """Fit on held-out oddity [n, detector]."""
        levels = np.linspace(0.0, _GRID_TOP, _GRID)
        self.grid = np.quantile(oddity, 1.0 - np.exp(-levels), axis=0).T  # (detector, level)
        near, far = np.quantile(oddity, (0.8, 0.98), axis=0)
        self.slope = np.maximum((far - near) / math.log(10.0), _SLOPE_FLOOR)
        self._prepare()

    def only(self, detectors: Sequence[int]) -> TailRank:
        """Return the ranks of some detectors, in that order."""
        return TailRank.restore({"grid": self.grid[detectors], "slope": self.slope[detectors]}, {})

    def evidence(self, oddity: Sequence[float]) -> list[float]:
        """Return each detector's -ln p ≥ 0 for its oddity of one window."""
        return list(map(_rank, self._grids, self._slopes, oddity))

    def energies(self, oddity: Floats) -> Floats:
        """Return the same of many windows [n, detector]: [n, detector]."""
        if len(oddity) == 1:  # as every window of the service comes: a tenth of the time
            return np.array([self.evidence(oddity[0].tolist())])
        energies = np.empty(oddity.shape)
        for column, (grid, slope) in enumerate(zip(self.grid, self.slope, strict=True)):
            values = oddity[:, column]
            level = np.searchsorted(grid, values)
            above = np.clip(level, 1, _GRID - 1)
            below = grid[above - 1]
            step = grid[above] - below
            inside = above - 1 + np.divide(values - below, step, out=np.zeros(len(values)), where=step > 0)
            beyond = _GRID_TOP + (values - grid[-1]) / slope
            energies[:, column] = np.where(level == 0, 0.0, np.where(level == _GRID, beyond, inside * _STEP))
        return energies

    def oddity(self, detector: int, energies: Floats) -> Floats:
        """Return the oddity [n] of one detector that has the given evidence: `energies` back, down to its least."""
        grid = self.grid[detector]
        inside = np.interp(energies, np.linspace(0.0, _GRID_TOP, _GRID), grid)
        beyond = np.maximum(energies - _GRID_TOP, 0.0) * self.slope[detector]
        oddity: Floats = inside + beyond
        return oddity

    def _prepare(self) -> None:
        """One window's few numbers are faster to look up in lists than in arrays."""
        self._grids: list[list[float]] = self.grid.tolist()
        self._slopes: list[float] = self.slope.tolist()


def _rank(grid: list[float], slope: float, oddity: float) -> float:
    level = bisect_left(grid, oddity)
    if level == 0:
        return 0.0
    if level == _GRID:
        return _GRID_TOP + (oddity - grid[-1]) / slope
    below = grid[level - 1]
    return (level - 1 + (oddity - below) / (grid[level] - below)) * _STEP
