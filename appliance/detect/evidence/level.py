"""Evidence: a channel's mean over the window is off."""

from __future__ import annotations

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector, Oddity
from appliance.detect.windows import Windows


class Level(EvidenceDetector):
    """Mean of each channel over the window, in its usual spreads: offsets, drifts, a machine in an unknown mode."""

    def fit(self, windows: Windows, seed: int) -> None:
        """Nothing to fit: the features come in their usual spreads."""

    def oddity(self, windows: Windows) -> Oddity:
        """Log mean squared distance over the channels that are present."""
        share = np.square(windows.standard[:, : windows.values.shape[1]]) * windows.present_share
        return Oddity(np.log1p(np.add.reduce(share, axis=1)), share)
