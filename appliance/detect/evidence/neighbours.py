"""Evidence: no window of the warm-up looked like this one."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector, Oddity
from appliance.detect.evidence.channelwise import robust_centre_and_scale
from appliance.detect.windows import Windows
from appliance.records import Floats

_REFERENCES = 400
"""Warm-up windows kept to compare with."""
_NEIGHBOURS = 3
"""The third nearest, so that one strange warm-up window does not make its like normal."""
_FEATURE_LIMIT = 30.0


class Neighbours(EvidenceDetector):
    """Distance to the third nearest warm-up window, in standardised window features (Ramaswamy 2000)."""

    FITTED: ClassVar[tuple[str, ...]] = ("centre", "scale", "references", "squares")

    def fit(self, windows: Windows, seed: int) -> None:
        """Keep a sample of the warm-up windows."""
        self.centre, self.scale = robust_centre_and_scale(windows.known_features)
        chosen = np.sort(np.random.default_rng(seed).permutation(len(windows))[:_REFERENCES])
        self.references = self._standardise(windows[chosen]).reshape(len(chosen), -1)
        self.squares = np.square(self.references).sum(axis=1)

    def oddity(self, windows: Windows) -> Oddity:
        """Log squared distance to the third nearest reference, over the channels that are present."""
        features = self._standardise(windows)
        rows = features.reshape(len(windows), -1)  # (n, feature x channel)
        if windows.mask is None:
            nearness = rows @ self.references.T - 0.5 * self.squares
            gap = np.square(rows).sum(axis=1)[:, None] - 2.0 * nearness
        else:
            known = np.repeat(windows.present[:, None, :], features.shape[1], axis=1).reshape(rows.shape)
            gap = (known @ np.square(self.references).T) - 2.0 * (rows @ self.references.T)
            gap += np.square(rows).sum(axis=1)[:, None]
            gap *= (known.shape[1] / np.maximum(known.sum(axis=1), 1.0))[:, None]
        order = min(_NEIGHBOURS, gap.shape[1]) - 1
        nearest = np.argpartition(gap, order, axis=1)[:, order]
        difference = features - self.references[nearest].reshape(features.shape)
        share = np.add.reduce(np.square(difference), axis=1) * windows.present
        distance = np.maximum(gap[np.arange(len(gap)), nearest], 0.0) / features.shape[2]
        return Oddity(np.log1p(distance), share)

    def _standardise(self, windows: Windows) -> Floats:
        """[n, kind of feature, channel], 0 for a channel without readings."""
        standard = (windows.features - self.centre) / self.scale
        np.maximum(standard, -_FEATURE_LIMIT, out=standard)
        np.minimum(standard, _FEATURE_LIMIT, out=standard)
        if windows.mask is not None:
            standard *= windows.present[:, None, :]
        return standard
