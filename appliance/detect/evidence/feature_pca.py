"""Evidence: level, spread and trend of the channels no longer go together as they do."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector, Oddity
from appliance.detect.evidence.channelwise import robust_centre_and_scale
from appliance.detect.evidence.subspace import impute, principal_subspace
from appliance.detect.windows import Windows

_EXPLAINED = 0.9
_MAX_RANK = 24
_NOISE_FLOOR = 0.05
_FIT_LIMIT = 4.0
"""Strange warm-up windows must not turn the directions towards themselves."""
_FEATURE_LIMIT = 30.0


class FeaturePca(EvidenceDetector):
    """Residual of the window's features outside the subspace in which they usually vary."""

    weight: ClassVar = 2.0
    FITTED: ClassVar[tuple[str, ...]] = ("centre", "scale", "components", "precision")

    def fit(self, windows: Windows, seed: int) -> None:
        """Find the subspace and the usual residual of every feature."""
        self.centre, self.scale = robust_centre_and_scale(windows.known_features)
        standard = (windows.features - self.centre) / self.scale * windows.present[:, None, :]
        rows = np.clip(standard, -_FIT_LIMIT, _FIT_LIMIT).reshape(len(windows), -1)
        self.components = principal_subspace(rows, _EXPLAINED, _MAX_RANK).components
        residual = rows - (rows @ self.components) @ self.components.T
        self.precision = 1.0 / (np.median(np.square(residual), axis=0) + _NOISE_FLOOR)

    def oddity(self, windows: Windows) -> Oddity:
        """Log mean squared residual, in usual residuals."""
        features = windows.features
        rows = ((features - self.centre) / self.scale).reshape(len(windows), -1)
        np.maximum(rows, -_FEATURE_LIMIT, out=rows)
        np.minimum(rows, _FEATURE_LIMIT, out=rows)
        if windows.mask is not None:
            known = np.repeat(windows.present[:, None, :], features.shape[1], axis=1).reshape(rows.shape)
            rows = impute(rows[:, None, :], known, self.components)[:, 0]
        residual = rows - (rows @ self.components) @ self.components.T
        energy = (np.square(residual) * self.precision).reshape(features.shape)
        share = np.add.reduce(energy, axis=1) * windows.present_share
        return Oddity(np.log1p(np.add.reduce(share, axis=1)), share)
