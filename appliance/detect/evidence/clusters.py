"""Evidence: the window belongs to none of the machine's usual modes."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np
from scipy.cluster.vq import kmeans2

from appliance.detect.evidence.base import EvidenceDetector
from appliance.detect.windows import Windows, over_kinds
from appliance.records import Floats

_MODES = 8
_FIT_LIMIT = 4.0
"""A strange warm-up window must not get a mode of its own."""
_MOST_WINDOWS = 1500
"""Warm-up windows looked at; more change nothing."""


class Clusters(EvidenceDetector):
    """Distance to the nearest of a few k-means centres of the window features (Lloyd 1982; ++ seeding)."""

    FITTED: ClassVar[tuple[str, ...]] = ("centres",)

    def fit(self, windows: Windows, seed: int) -> None:
        """Find the modes."""
        rows = np.clip(windows.standard[:: max(1, len(windows) // _MOST_WINDOWS)], -_FIT_LIMIT, _FIT_LIMIT)
        self.centres = np.unique(rows, axis=0)
        if len(self.centres) > _MODES:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # a mode that loses all its windows stays where it began
                self.centres, _ = kmeans2(rows, _MODES, seed=np.random.default_rng(seed), minit="++")
        self._prepare()

    def energy(self, windows: Windows) -> Floats:
        """Squared distance to the nearest centre."""
        rows = windows.standard
        channels = windows.present.shape[1]
        gap = rows @ self.centres.T
        if windows.mask is None:
            np.subtract(self._half_squares, gap, out=gap)
        else:
            known = np.tile(windows.present, rows.shape[1] // channels)
            gap = known @ (0.5 * np.square(self.centres.T)) - gap
        difference = rows - self.centres[gap.argmin(axis=1)]
        np.square(difference, out=difference)
        return over_kinds(difference, channels)

    def _prepare(self) -> None:
        """Half the squared distance of two rows, less what all comparisons share, is this less their dot product."""
        self._half_squares = 0.5 * np.square(self.centres).sum(axis=1)
