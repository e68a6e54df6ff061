"""Evidence → strangeness, one number per window: the mean of ln(1 + evidence), by the warm-up and by recent windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from appliance.detect.state import Fitted
from appliance.records import Floats

_BINS = 40
_BIN = 0.1
"""Width of a bin of ln(1 + evidence): 40 of them reach an evidence of about 54."""
_WARM_UP_SHARE = 0.05
"""Weight of the warm-up's own tail beside the recent counts: keeps what is far beyond all recent windows in order."""


class Combiner(Fitted):
    """Half the evidence as the warm-up ranks it, half as it ranks among this machine's recent normal windows.

    A warm-up is often too short to show all of normal; an evidence detector that has been loud ever since is then
    believed less. Recent windows are a decaying histogram of ln(1 + evidence) per detector.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("weights", "memory")
    LIVE: ClassVar[tuple[str, ...]] = ("mass",)

    def __init__(self, evidence: Floats, weights: Sequence[float], memory: float) -> None:
        """Start from held-out warm-up evidence [n, detector]; forget with a time constant of ``memory`` windows."""
        self.weights = np.array(weights) / (2 * sum(weights))
        self.memory = memory
        bins = _bin_of(np.log1p(evidence))
        self.mass = np.stack([np.bincount(column, minlength=_BINS) for column in bins.T]).astype(np.float32)
        self.mass /= len(evidence)

    def strangeness(self, evidence: Floats) -> float:
        """Combine one window's evidence [detector]."""
        loudness = np.log1p(evidence)
        by_recent = np.log1p(self._recent_evidence(evidence, loudness))
        return float((loudness + by_recent) @ self.weights)

    def learn(self, evidence: Floats, doubt: float) -> None:
        """Take in one normal window's evidence [detector], the less the more it is in ``doubt`` (0 … 1)."""
        rate = (1.0 - doubt) / self.memory
        self.mass *= np.float32(1.0 - rate)
        self.mass[np.arange(len(evidence)), _bin_of(np.log1p(evidence))] += np.float32(rate)

    def _recent_evidence(self, evidence: Floats, loudness: Floats) -> Floats:
        """-ln of the share of recent windows in which each detector was at least as loud."""
        position = loudness / _BIN
        bins = np.minimum(position.astype(np.intp), _BINS - 1)
        row = np.arange(len(bins))
        from_here = np.add.accumulate(self.mass[:, ::-1], axis=1)[row, _BINS - 1 - bins]
        passed = self.mass[row, bins] * np.minimum(position - bins, 1.0)
        share = (from_here - passed) / np.add.reduce(self.mass, axis=1)
        recent: Floats = -np.log((1.0 - _WARM_UP_SHARE) * np.maximum(share, 0.0) + _WARM_UP_SHARE * np.exp(-evidence))
        return recent


def _bin_of(loudness: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    return np.minimum((loudness / _BIN).astype(np.intp), _BINS - 1)
