"""The base of the evidence that looks at each channel for itself: a statistic of the window against its own past."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector, Oddity
from appliance.detect.windows import Windows
from appliance.records import Floats

_SPREAD_FLOOR = 0.02
"""A statistic that never moved in warm-up is taken to be known to this much: 2 % of the channel's normal spread."""
_IQR_OF_NORMAL = 1.349


class ChannelStatistic(EvidenceDetector):
    """Distance of each channel's `statistic` from its median over the warm-up, in interquartile spreads.

    The window's oddity is the log of the mean squared distance over the channels present: one channel far off or
    many a little off both count.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("centre", "scale")
    one_sided: ClassVar[bool] = False
    """Whether only values above the median are odd."""

    @abstractmethod
    def statistic(self, windows: Windows) -> Floats:
        """Return one number per window and channel: [n, channel]."""

    def fit(self, windows: Windows, seed: int) -> None:
        """Learn the usual statistic of each channel."""
        statistic = np.where(windows.present > 0, self.statistic(windows), np.nan)
        self.centre, self.scale = robust_centre_and_scale(statistic)

    def oddity(self, windows: Windows) -> Oddity:
        """Log mean squared distance over the channels that are present."""
        distance = (self.statistic(windows) - self.centre) / self.scale
        if self.one_sided:
            np.maximum(distance, 0.0, out=distance)
        share = np.square(distance) * windows.present_share
        return Oddity(np.log1p(np.add.reduce(share, axis=1)), share)


def robust_centre_and_scale(statistic: Floats) -> tuple[Floats, Floats]:
    """Median and spread of each column [n, ...] of NaN-marked statistics, with a floor under the spread.

    The spread is the interquartile range, or a quarter of the 2nd-to-98th percentile range where that is wider than
    the interquartile range of a normal distribution would lead one to expect.
    """
    known = np.isfinite(statistic)
    statistic = np.where(known.any(axis=0), statistic, 0.0)
    low, quarter, centre, three_quarters, high = np.nanquantile(statistic, (0.02, 0.25, 0.5, 0.75, 0.98), axis=0)
    scale = np.maximum((three_quarters - quarter) / _IQR_OF_NORMAL, (high - low) / 8.0)
    return centre, np.maximum(scale, _SPREAD_FLOOR)
