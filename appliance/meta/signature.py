"""What the events of one made-up fault have in common on a machine: a family of `synthesis.py`, drawn → struck."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from appliance.meta.synthesis import Channels, Family
from appliance.records import Floats

VISIBLE = 0.5
"""Normal spreads that a made-up fault must move some cell by."""
_ALIKE = 0.7
"""Share of the events of a family that draw the same: a fault recurs much like itself."""


@dataclass(frozen=True)
class Signature:
    """A fault that recurs."""

    family: Family
    channels: Channels
    severity: float
    seed: int
    """Of what the family draws, in most of its events."""
    cells: float
    """Typical duration."""

    @classmethod
    def draw(
        cls, family: Family, series: NDArray[np.floating[Any]], length: int, hop: int, rng: np.random.Generator
    ) -> Self:
        """Draw one for a machine with cells ``series`` [channel, T], windows of ``length`` cells every ``hop``."""
        moving = np.flatnonzero(np.nanstd(series[:, :: max(1, series.shape[1] // 2000)], axis=1) > 0)
        moving = moving if len(moving) else np.arange(len(series))
        count = round(math.exp(rng.uniform(0.0, math.log(max(1.0, 0.6 * len(moving))))))
        return cls(
            family=family,
            channels=np.sort(rng.choice(moving, size=max(1, count), replace=False)),
            severity=float(rng.uniform(0.05, 0.9)),
            seed=int(rng.integers(2**31)),
            cells=float(hop * math.exp(rng.uniform(0.0, math.log(4.0 * length / hop)))),
        )

    def hops(self, hop: int, rng: np.random.Generator) -> int:
        """Draw how long one event lasts, in hops."""
        return max(1, round(self.cells * rng.uniform(0.7, 1.4) / hop))

    def severity_of(self, rng: np.random.Generator) -> float:
        """Draw how severe one event is."""
        return float(np.clip(self.severity + rng.uniform(-0.1, 0.1), 0.0, 1.0))

    def strike(self, stretch: Floats, severity: float, rng: np.random.Generator) -> tuple[Floats, float]:
        """Make one event of a stretch.

        Parameters
        ----------
        stretch
            [channel, time] in normal spreads, on a linear scale; NaN for missing, which stays missing.

        Returns
        -------
        tuple
            The stretch with the fault, and by how many spreads its cells were moved at most.
        """
        own = np.random.default_rng(self.seed) if rng.random() < _ALIKE else rng
        known = np.isfinite(stretch)
        struck = self.family(np.nan_to_num(stretch), own, severity, self.channels)
        moved = np.abs(struck - stretch)[known].max(initial=0.0)
        return np.where(known, struck, np.nan), float(moved)
