"""Evidence: a channel's energy has moved between slow and fast swings."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector, Oddity
from appliance.detect.robust import robust_centre_and_scale
from appliance.detect.windows import Windows
from appliance.records import Floats

_BANDS = 4
_LOG_FLOOR = 0.01


class Spectrum(EvidenceDetector):
    """Log energy of each channel in octave bands, against its own past: new vibration, lost periodicity."""

    least_length: ClassVar[int] = 8
    FITTED: ClassVar[tuple[str, ...]] = ("centre", "per_spread")

    def fit(self, windows: Windows, seed: int) -> None:
        """Learn the usual energy of each band of each channel."""
        known = np.where(windows.present[:, :, None] > 0, _log_energies(windows), np.nan)
        self.centre, scale = robust_centre_and_scale(known)  # (channel, band)
        self.per_spread = 1.0 / scale

    def oddity(self, windows: Windows) -> Oddity:
        """Log mean squared distance over the channels that are present."""
        distance = np.square((_log_energies(windows) - self.centre) * self.per_spread)  # (n, channel, band)
        share = np.add.reduce(distance, axis=2) * windows.present_share
        return Oddity(np.log1p(np.add.reduce(share, axis=1)), share)


def _log_energies(windows: Windows) -> Floats:
    spectrum = np.fft.rfft(windows.values)  # (n, channel, frequency)
    squares = np.square(spectrum.view(np.float64))  # real and imaginary parts in turn
    energies: Floats = np.add.reduceat(squares, _band_starts(spectrum.shape[2]), axis=2)
    energies *= 1.0 / windows.values.shape[2] ** 2
    energies += _LOG_FLOOR
    return np.log(energies, out=energies)


@lru_cache
def _band_starts(frequencies: int) -> tuple[int, ...]:
    """Octaves down from the fastest swing; the lowest takes all that is slower. Frequency 0 is the mean: left out.

    In numbers, of which each frequency has two.
    """
    starts = {max(1, frequencies >> octave) for octave in range(1, _BANDS)}
    return tuple(2 * start for start in sorted({min(1, frequencies - 1), *starts}))
