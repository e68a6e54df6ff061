"""Evidence: a channel has left the range in which it has always been."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from appliance.detect.evidence.base import EvidenceDetector, Oddity
from appliance.detect.windows import Windows
from appliance.records import Floats

_KNEE = 4.0
"""The normal scale is logarithmic beyond it; how far outside is told in plain spreads: far and further differ."""
_STRANGE_SHARE = 0.01
"""Share of the warm-up's windows that may lie outside its range at either end."""
_LEAST_SPAN = 2.0
"""In normal spreads: a narrower range is taken to be this wide."""


class Outside(EvidenceDetector):
    """How far the one channel that is furthest outside its range is outside, in widths of that range.

    The other views average over the channels; a single channel that goes where it never was may drown in there.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("low", "high")

    def fit(self, windows: Windows, seed: int) -> None:
        """Learn the range of each channel."""
        lowest, highest = _extremes(windows)
        known: NDArray[np.bool_] = windows.present > 0
        self.low = _quantile(lowest, known, _STRANGE_SHARE)
        self.high = _quantile(highest, known, 1.0 - _STRANGE_SHARE)

    def oddity(self, windows: Windows) -> Oddity:
        """Log of the largest excess."""
        lowest, highest = _extremes(windows)
        excess = np.maximum(np.maximum(highest - self.high, self.low - lowest), 0.0)
        excess *= windows.present / np.maximum(self.high - self.low, _LEAST_SPAN)
        return Oddity(np.log1p(np.maximum.reduce(excess, axis=1)), np.square(excess))


def _extremes(windows: Windows) -> tuple[Floats, Floats]:
    """Lowest and highest reading of each channel [n, channel], in spreads."""
    lowest, highest = np.minimum.reduce(windows.values, axis=2), np.maximum.reduce(windows.values, axis=2)
    return _KNEE * np.sinh(lowest / _KNEE), _KNEE * np.sinh(highest / _KNEE)


def _quantile(values: Floats, known: NDArray[np.bool_], share: float) -> Floats:
    marked = np.where(known | ~known.any(axis=0), values, np.nan)
    quantile: Floats = np.nanquantile(marked, share, axis=0)
    return quantile
