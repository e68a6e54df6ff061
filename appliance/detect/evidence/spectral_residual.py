"""Evidence: one moment of the window stands out from its own rhythm."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector, Oddity
from appliance.detect.robust import robust_centre_and_scale
from appliance.detect.windows import Windows
from appliance.records import Floats

_NEIGHBOURHOOD = 3
"""Frequencies over which the log amplitude is smoothed."""
_FLOOR = 0.05
"""Amplitude in normal spreads below which a channel counts as flat."""


class SpectralResidual(EvidenceDetector):
    """Peak of the saliency map: what is left of a channel when its smoothed log spectrum is taken away.

    Ren et al. 2019, Time-Series Anomaly Detection Service at Microsoft, eqs. 1-6; here the peak of each channel's map
    weighted by the channel's swing is held against its usual one.
    """

    least_length: ClassVar[int] = 8
    FITTED: ClassVar[tuple[str, ...]] = ("centre", "per_spread")

    def fit(self, windows: Windows, seed: int) -> None:
        """Learn the usual peak of each channel."""
        known = np.where(windows.present > 0, _peaks(windows), np.nan)
        self.centre, scale = robust_centre_and_scale(known)
        self.per_spread = 1.0 / scale

    def oddity(self, windows: Windows) -> Oddity:
        """Log mean squared excess over the channels that are present."""
        excess = np.maximum((_peaks(windows) - self.centre) * self.per_spread, 0.0)
        share = np.square(excess) * windows.present_share
        return Oddity(np.log1p(np.add.reduce(share, axis=1)), share)


def _peaks(windows: Windows) -> Floats:
    """[n, channel] log of the highest saliency."""
    values = windows.values
    spectrum = np.fft.rfft(values - windows.mean[:, :, None])
    amplitude = np.abs(spectrum) + _FLOOR
    log = np.log(amplitude)
    padded = np.concatenate([log[:, :, :1], log, log[:, :, -1:]], axis=2)
    smooth = (padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]) / _NEIGHBOURHOOD
    saliency = np.fft.irfft(spectrum / amplitude * np.exp(log - smooth), n=values.shape[2])
    swing = np.sqrt(np.add.reduce(np.square(amplitude), axis=2)) / values.shape[2]
    peak: Floats = np.log(np.maximum.reduce(np.abs(saliency), axis=2) * values.shape[2] * swing + _FLOOR)
    return peak
