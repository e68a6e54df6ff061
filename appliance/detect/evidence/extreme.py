"""Evidence: a single reading far outside what the channel has shown."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector
from appliance.detect.robust import robust_centre_and_scale, squared_excess
from appliance.detect.windows import Windows
from appliance.records import Floats


class ExtremeValue(EvidenceDetector):
    """Largest distance of any reading in the window from the channel's normal level, against its usual largest."""

    FITTED: ClassVar[tuple[str, ...]] = ("centre", "per_spread")

    def fit(self, windows: Windows, seed: int) -> None:
        """Learn the usual largest distance of each channel."""
        self.centre, scale = robust_centre_and_scale(np.where(windows.present > 0, windows.each(_peak), np.nan))
        self.per_spread = 1.0 / scale

    def energy(self, windows: Windows) -> Floats:
        """Square of what exceeds the usual."""
        return squared_excess(windows.each(_peak), self.centre, self.per_spread)


def _peak(windows: Windows) -> Floats:
    peak: Floats = np.maximum(windows.peaks[:, 0], windows.peaks[:, 1])
    return peak
