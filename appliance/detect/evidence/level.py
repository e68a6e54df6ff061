"""Evidence: a channel's mean over the window is off."""

from __future__ import annotations

from appliance.detect.evidence.channelwise import ChannelStatistic
from appliance.detect.windows import Windows
from appliance.records import Floats


class Level(ChannelStatistic):
    """Mean of each channel over the window: offsets, drifts, a machine in an unknown mode."""

    def statistic(self, windows: Windows) -> Floats:
        """Mean over the window."""
        return windows.mean
