"""Evidence: a channel's energy has moved between slow and fast swings."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector, Oddity
from appliance.detect.evidence.channelwise import robust_centre_and_scale
from appliance.detect.windows import Windows
from appliance.records import Floats

_BANDS = 4
_LOG_FLOOR = 0.01


class Spectrum(EvidenceDetector):
    """Log energy of each channel in octave bands, against its own past: new vibration, lost periodicity."""

    FITTED: ClassVar[tuple[str, ...]] = ("centre", "scale")

    def fit(self, windows: Windows, seed: int) -> None:
        """Learn the usual energy of each band of each channel."""
        self.centre, self.scale = robust_centre_and_scale(
            np.where(windows.present[:, :, None] > 0, _log_energies(windows), np.nan)
        )

    def oddity(self, windows: Windows) -> Oddity:
        """Log mean squared distance over the channels that are present."""
        distance = np.square((_log_energies(windows) - self.centre) / self.scale)  # (n, channel, band)
        share = np.add.reduce(distance, axis=2) * windows.present_share
        return Oddity(np.log1p(np.add.reduce(share, axis=1)), share)


def _log_energies(windows: Windows) -> Floats:
    spectrum = np.fft.rfft(windows.centred)  # (n, channel, frequency)
    energy = np.square(spectrum.real) + np.square(spectrum.imag)
    bands = np.add.reduceat(energy, _band_starts(energy.shape[2]), axis=2)
    energies: Floats = np.log(bands / windows.values.shape[2] ** 2 + _LOG_FLOOR)
    return energies


@lru_cache
def _band_starts(frequencies: int) -> tuple[int, ...]:
    """Octaves down from the fastest swing; the lowest takes all that is slower. Frequency 0 is the mean: left out."""
    starts = {max(1, frequencies >> octave) for octave in range(1, _BANDS)}
    return tuple(sorted({min(1, frequencies - 1), *starts}))
