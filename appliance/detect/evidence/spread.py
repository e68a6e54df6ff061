"""Evidence: a channel swings more or less than usual inside the window."""

from __future__ import annotations

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector
from appliance.detect.windows import Windows
from appliance.records import Floats


class Spread(EvidenceDetector):
    """Log standard deviation and log roughness of each channel, in their usual spreads: vibration, hunting, a stall."""

    def fit(self, windows: Windows, seed: int) -> None:
        """Nothing to fit: the features come in their usual spreads."""

    def energy(self, windows: Windows) -> Floats:
        """Squared distance."""
        channels = windows.values.shape[1]
        squares = np.square(windows.standard[:, channels : 3 * channels])
        return squares[:, :channels] + squares[:, channels:]
