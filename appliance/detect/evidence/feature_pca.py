"""Evidence: level, spread and trend of the channels no longer go together as they do."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector, Oddity
from appliance.detect.evidence.subspace import impute, principal_subspace
from appliance.detect.windows import Windows

_EXPLAINED = 0.9
_MAX_RANK = 24
_NOISE_FLOOR = 0.05
_FIT_LIMIT = 4.0
"""Strange warm-up windows must not turn the directions towards themselves."""


class FeaturePca(EvidenceDetector):
    """Residual of the window's features outside the subspace in which they usually vary."""

    weight: ClassVar = 2.0
    FITTED: ClassVar[tuple[str, ...]] = ("components", "precision")

    def fit(self, windows: Windows, seed: int) -> None:
        """Find the subspace and the usual residual of every feature."""
        rows = np.clip(windows.standard, -_FIT_LIMIT, _FIT_LIMIT)
        self.components = principal_subspace(rows, _EXPLAINED, _MAX_RANK).components
        residual = rows - (rows @ self.components) @ self.components.T
        self.precision = 1.0 / (np.median(np.square(residual), axis=0) + _NOISE_FLOOR)

    def oddity(self, windows: Windows) -> Oddity:
        """Log mean squared residual, in usual residuals."""
        rows = windows.standard
        kinds = rows.shape[1] // windows.present.shape[1]
        if windows.mask is not None:
            rows = impute(rows[:, None, :], np.tile(windows.present, kinds), self.components)[:, 0]
        residual = rows - (rows @ self.components) @ self.components.T
        energy = (np.square(residual) * self.precision).reshape(len(rows), kinds, -1)
        share = np.add.reduce(energy, axis=1) * windows.present_share
        return Oddity(np.log1p(np.add.reduce(share, axis=1)), share)
