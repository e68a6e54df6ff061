"""Evidence: a channel moves more, or less, than it does."""

from __future__ import annotations

from appliance.detect.evidence.channelwise import ChannelStatistic
from appliance.detect.windows import Windows
from appliance.records import Floats


class Spread(ChannelStatistic):
    """Log standard deviation of each channel inside the window: hunting loops, loose sensors, stuck sensors."""

    def statistic(self, windows: Windows) -> Floats:
        """Log standard deviation inside the window."""
        return windows.log_spread
