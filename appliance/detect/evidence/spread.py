"""Evidence: a channel swings more or less than usual inside the window."""

from __future__ import annotations

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector, Oddity
from appliance.detect.windows import Windows


class Spread(EvidenceDetector):
    """Log standard deviation and log roughness of each channel, in their usual spreads: vibration, hunting, a stall."""

    def fit(self, windows: Windows, seed: int) -> None:
        """Nothing to fit: the features come in their usual spreads."""

    def oddity(self, windows: Windows) -> Oddity:
        """Log mean squared distance over the channels that are present."""
        channels = windows.values.shape[1]
        squares = np.square(windows.standard[:, channels : 3 * channels])
        share = (squares[:, :channels] + squares[:, channels:]) * windows.present_share
        return Oddity(np.log1p(np.add.reduce(share, axis=1)), share)
