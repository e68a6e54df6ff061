"""Evidence: channels move together as they do, but further than they do."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector
from appliance.detect.evidence.instants import instants_of
from appliance.detect.evidence.subspace import impute, principal_subspace
from appliance.detect.windows import Windows
from appliance.records import Floats

_EXPLAINED = 0.9
_MAX_RANK = 12


class Hotelling(EvidenceDetector):
    """Hotelling's T² inside the plane in which the channels usually move, averaged over the window (Hotelling 1947)."""

    blames: ClassVar[bool] = False
    FITTED: ClassVar[tuple[str, ...]] = ("centre", "whitening")

    def fit(self, windows: Windows, seed: int) -> None:
        """Find the plane and its variances."""
        instants = windows.once(instants_of)
        self.centre = instants.centre
        components, variances = principal_subspace(instants.offsets, _EXPLAINED, _MAX_RANK)
        self.whitening = components / np.sqrt(variances)  # (channel, rank)

    def energy(self, windows: Windows) -> Floats:
        """Mean T² over the window; it cannot tell the channels apart."""
        return np.repeat(windows.by_parts(self._mean_square), windows.values.shape[1], axis=1)

    def _mean_square(self, windows: Windows) -> Floats:
        """[n, 1]."""
        offsets = windows.values - self.centre[:, None]
        if windows.mask is not None:
            components = self.whitening / np.linalg.norm(self.whitening, axis=0)
            offsets = impute(offsets.swapaxes(1, 2), windows.present, components).swapaxes(1, 2)
        coordinates = (self.whitening.T @ offsets).reshape(len(offsets), -1)  # (n, rank x time)
        squares: Floats = np.vecdot(coordinates, coordinates) / offsets.shape[2]
        return squares[:, None]
