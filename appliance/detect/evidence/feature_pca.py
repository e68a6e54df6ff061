"""Evidence: level, spread and trend of the channels no longer go together as they do."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector
from appliance.detect.evidence.subspace import Residual, impute, principal_subspace
from appliance.detect.windows import Windows, over_kinds
from appliance.records import Floats

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
        self._prepare()
        residual = self._residual.of_rows(rows)
        self.precision = 1.0 / (np.median(np.square(residual), axis=0) + _NOISE_FLOOR)

    def energy(self, windows: Windows) -> Floats:
        """Squared residual, in usual residuals."""
        rows = windows.standard
        channels = windows.present.shape[1]
        if windows.mask is not None:
            known = np.tile(windows.present, rows.shape[1] // channels)
            rows = impute(rows[:, None, :], known, self.components)[:, 0]
        residual = self._residual.of_rows(rows)
        np.square(residual, out=residual)
        residual *= self.precision
        return over_kinds(residual, channels)

    def _prepare(self) -> None:
        self._residual = Residual(self.components)
