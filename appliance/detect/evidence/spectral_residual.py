"""Evidence: one moment of the window stands out from its own rhythm."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector
from appliance.detect.robust import robust_centre_and_scale, squared_excess
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
        known = np.where(windows.present > 0, windows.each(_peaks), np.nan)
        self.centre, scale = robust_centre_and_scale(known)
        self.per_spread = 1.0 / scale

    def energy(self, windows: Windows) -> Floats:
        """Squared excess."""
        return squared_excess(windows.each(_peaks), self.centre, self.per_spread)


def _peaks(windows: Windows) -> Floats:
    """[n, channel] log of the highest saliency.

    The residual spectrum, phase kept, is the spectrum over its smoothed amplitude: e to the log amplitude cancels.
    """
    length = windows.values.shape[2]
    spectrum = windows.spectrum.copy()
    spectrum[:, :, 0] -= length * windows.mean
    amplitude = np.abs(spectrum)
    amplitude += _FLOOR
    log = np.log(amplitude)
    smooth = log.copy()
    smooth[:, :, 1:] += log[:, :, :-1]
    smooth[:, :, :-1] += log[:, :, 1:]
    smooth[:, :, :: log.shape[2] - 1] += log[:, :, :: log.shape[2] - 1]
    smooth *= -1.0 / _NEIGHBOURHOOD
    spectrum *= np.exp(smooth, out=smooth)
    saliency = np.fft.irfft(spectrum, n=length)
    peak: Floats = np.maximum.reduce(np.abs(saliency, out=saliency), axis=2)
    peak *= np.sqrt(np.vecdot(amplitude, amplitude))  # the channel's swing
    peak += _FLOOR
    return np.log(peak, out=peak)
