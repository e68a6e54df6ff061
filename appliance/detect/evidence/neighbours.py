"""Evidence: no window of the warm-up looked like this one."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector
from appliance.detect.windows import Windows, over_kinds
from appliance.records import Floats

_REFERENCES = 300
"""Warm-up windows kept to compare with."""
_NEIGHBOURS = 3
"""The third nearest, so that one strange warm-up window does not make its like normal."""


class Neighbours(EvidenceDetector):
    """Distance to the third nearest warm-up window, in standardised window features (Ramaswamy 2000)."""

    weight: ClassVar = 2.0
    FITTED: ClassVar[tuple[str, ...]] = ("references",)

    def fit(self, windows: Windows, seed: int) -> None:
        """Keep a sample of the warm-up windows."""
        chosen = np.sort(np.random.default_rng(seed).permutation(len(windows))[:_REFERENCES])
        self.references = windows.standard[chosen].astype(np.float32)  # (reference, feature x channel)
        self._prepare()

    def energy(self, windows: Windows) -> Floats:
        """Squared distance to the third nearest reference."""
        rows = windows.standard
        channels = windows.present.shape[1]
        dot = rows.astype(np.float32) @ self.references.T
        if windows.mask is None:
            gap = self._half_squares - dot
        else:
            known = np.tile(windows.present, rows.shape[1] // channels).astype(np.float32)
            gap = known @ (0.5 * np.square(self.references.T)) - dot
        third = min(_NEIGHBOURS, gap.shape[1]) - 1
        nearest = gap.argpartition(third, axis=1)[:, third]
        difference = rows - self.references[nearest]
        np.square(difference, out=difference)
        return over_kinds(difference, channels)

    def _prepare(self) -> None:
        """Half the squared distance of two rows, less what all comparisons share, is this less their dot product."""
        self._half_squares = 0.5 * np.square(self.references).sum(axis=1)
