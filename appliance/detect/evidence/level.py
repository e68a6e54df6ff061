"""Evidence: a channel's mean over the window is off."""

from __future__ import annotations

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector
from appliance.detect.windows import Windows
from appliance.records import Floats


class Level(EvidenceDetector):
    """Mean of each channel over the window, in its usual spreads: offsets, drifts, a machine in an unknown mode."""

    def fit(self, windows: Windows, seed: int) -> None:
        """Nothing to fit: the features come in their usual spreads."""

    def energy(self, windows: Windows) -> Floats:
        """Squared distance."""
        return np.square(windows.standard[:, : windows.values.shape[1]])
