"""Evidence: a channel has left the range in which it has always been."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from appliance.detect.evidence.base import EvidenceDetector
from appliance.detect.robust import quantiles
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

    counts: ClassVar[Literal["mean", "largest"]] = "largest"
    FITTED: ClassVar[tuple[str, ...]] = ("low", "high")

    def fit(self, windows: Windows, seed: int) -> None:
        """Learn the range of each channel."""
        peaks = _KNEE * windows.each(_peaks_over_knee)
        known: NDArray[np.bool_] = windows.present > 0
        self.low = _quantile(-peaks[:, 1], known, _STRANGE_SHARE)
        self.high = _quantile(peaks[:, 0], known, 1.0 - _STRANGE_SHARE)
        self._prepare()

    def energy(self, windows: Windows) -> Floats:
        """Squared excess."""
        beyond = windows.each(_peaks_over_knee) - self._bounds
        excess = np.maximum(beyond[:, 0], beyond[:, 1])
        np.maximum(excess, 0.0, out=excess)
        excess *= self._per_width
        return np.square(excess, out=excess)

    def _prepare(self) -> None:
        """Hold the range [2, channel] as `Windows.peaks` has it, and the inverse of its width, both over the knee."""
        self._bounds = np.stack([self.high, -self.low]) / _KNEE
        self._per_width = _KNEE / np.maximum(self.high - self.low, _LEAST_SPAN)


def _peaks_over_knee(windows: Windows) -> Floats:
    """[n, 2, channel] as `Windows.peaks`, in plain spreads over the knee."""
    peaks = windows.peaks * (1.0 / _KNEE)
    return np.sinh(peaks, out=peaks)


def _quantile(values: Floats, known: NDArray[np.bool_], share: float) -> Floats:
    marked = np.where(known | ~known.any(axis=0), values, np.nan)
    quantile: Floats = quantiles(marked, (share,))[0]
    return quantile
