"""Evidence: a single reading far outside what the channel has shown."""

from __future__ import annotations

from typing import ClassVar

from appliance.detect.evidence.channelwise import ChannelStatistic
from appliance.detect.windows import Windows
from appliance.records import Floats


class ExtremeValue(ChannelStatistic):
    """Largest distance of any reading in the window from the channel's normal level."""

    one_sided: ClassVar = True

    def statistic(self, windows: Windows) -> Floats:
        """Largest distance of a reading from the normal level."""
        return windows.peak
