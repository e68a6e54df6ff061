"""Evidence: a channel's energy has moved between slow and fast swings."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector
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
        known = np.where(windows.present[:, :, None] > 0, windows.each(_log_energies), np.nan)
        self.centre, scale = robust_centre_and_scale(known)  # (channel, band)
        self.per_spread = 1.0 / scale

    def energy(self, windows: Windows) -> Floats:
        """Squared distance, over all bands."""
        distance = windows.each(_log_energies) - self.centre
        distance *= self.per_spread
        energy: Floats = np.vecdot(distance, distance)
        return energy


def _log_energies(windows: Windows) -> Floats:
    """[n, channel, band]."""
    squares = np.square(windows.spectrum.view(np.float64))  # real and imaginary parts in turn
    energies: Floats = squares @ _bands(windows.values.shape[2])
    energies += _LOG_FLOOR
    return np.log(energies, out=energies)


@lru_cache
def _bands(cells: int) -> Floats:
    """Weights [number, band] that turn the squared numbers of a spectrum, two for each frequency, into mean squares.

    Octaves down from the fastest swing; the lowest takes all that is slower. Frequency 0 is the mean: left out.
    """
    frequencies = cells // 2 + 1
    starts = sorted({min(1, frequencies - 1), *(max(1, frequencies >> octave) for octave in range(1, _BANDS))})
    bands = np.zeros((2 * frequencies, len(starts)))
    for band, (start, end) in enumerate(pairwise([*starts, frequencies])):
        bands[2 * start : 2 * end, band] = 1.0 / cells**2
    return bands
