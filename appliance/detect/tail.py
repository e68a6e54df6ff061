"""Oddity in a detector's own units → evidence, -ln p under this machine's normal: precedents → here → combine."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.state import Fitted
from appliance.records import Floats

_GRID = 48
_GRID_TOP = float(np.log(20.0))
"""Evidence up to which held-out windows are counted (one in twenty); beyond, the tail is taken to be exponential."""
_SLOPE_FLOOR = 0.01
"""Smallest unit of oddity: a detector that never moved in warm-up must not call every change infinitely strange."""


class TailRank(Fitted):
    """Rank of each detector's oddity among held-out warm-up windows, all detectors at once.

    Beyond the 95th percentile the tail is exponential with the scale that the 80th to 98th percentiles show, so that
    a few strange windows in the warm-up do not stretch it.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("grid", "slope")

    def __init__(self, oddity: Floats) -> None:
        """Fit on held-out oddity [n, detector]."""
        levels = np.linspace(0.0, _GRID_TOP, _GRID)
        self.grid = np.ascontiguousarray(np.quantile(oddity, 1.0 - np.exp(-levels), axis=0).T)  # (detector, level)
        near, far = np.quantile(oddity, (0.8, 0.98), axis=0)
        self.slope = np.maximum((far - near) / np.log(10.0), _SLOPE_FLOOR)

    def evidence(self, oddity: Floats) -> Floats:
        """Return -ln p ≥ 0 for oddity [detector] of one window."""
        level = np.add.reduce(self.grid < oddity[:, None], axis=1)
        row = np.arange(len(level))
        above = self.grid[row, np.minimum(level, _GRID - 1)]
        below = self.grid[row, np.maximum(level - 1, 0)]
        gap = above - below
        inside = level - 1 + np.divide(oddity - below, gap, out=np.ones_like(gap), where=gap > 0)
        inside *= _GRID_TOP / (_GRID - 1)
        beyond = _GRID_TOP + (oddity - self.grid[:, -1]) / self.slope
        evidence: Floats = np.maximum(np.where(level == _GRID, beyond, inside), 0.0)
        return evidence
