"""Evidence: a single reading far outside what the channel has shown."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector, Oddity
from appliance.detect.robust import robust_centre_and_scale
from appliance.detect.windows import Windows
from appliance.records import Floats


class ExtremeValue(EvidenceDetector):
    """Largest distance of any reading in the window from the channel's normal level, against its usual largest."""

    FITTED: ClassVar[tuple[str, ...]] = ("centre", "per_spread")

    def fit(self, windows: Windows, seed: int) -> None:
        """Learn the usual largest distance of each channel."""
        self.centre, scale = robust_centre_and_scale(np.where(windows.present > 0, _peak(windows), np.nan))
        self.per_spread = 1.0 / scale

    def oddity(self, windows: Windows) -> Oddity:
        """Log mean square of what exceeds the usual, over the channels that are present."""
        distance = (_peak(windows) - self.centre) * self.per_spread
        share = np.square(np.maximum(distance, 0.0, out=distance)) * windows.present_share
        return Oddity(np.log1p(np.add.reduce(share, axis=1)), share)


def _peak(windows: Windows) -> Floats:
    peak: Floats = np.maximum.reduce(np.abs(windows.values), axis=2)
    return peak
