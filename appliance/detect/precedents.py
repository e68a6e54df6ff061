"""What the warm-up already showed: oddity → less the oddity of the warm-up windows most like this one → rank."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.evidence.channelwise import robust_centre_and_scale
from appliance.detect.state import Fitted
from appliance.detect.windows import Windows
from appliance.records import Floats

_REFERENCES = 800
"""Warm-up windows kept: half of them the oddest, so that rare ways to run are all there, half any."""
_NEAREST = 3
"""Precedents that have to agree, so that one strange warm-up window forgives nothing alone."""
_FEATURE_LIMIT = 30.0


class Precedents(Fitted):
    """Forgives what is odd about a window as far as similar warm-up windows were as odd.

    A machine that stops once a week is far from its usual state whenever it stops, and every detector that measures
    distance from the usual says so. Its next stop has a precedent; a fault has none. How alike two windows are is
    measured against how unusual the window is: the share of its squared distance from the usual that the precedent
    explains, as in a coefficient of determination.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("centre", "scale", "references", "half_squares", "excess")

    def __init__(self, windows: Windows, oddity: Floats, seed: int) -> None:
        """Fit on warm-up windows and their oddity [n, detector]."""
        self.centre, self.scale = robust_centre_and_scale(windows.known_features)
        chosen = _references(oddity, seed)
        self.references = self._standardise(windows[chosen]).astype(np.float32)  # (reference, feature x channel)
        self.half_squares = 0.5 * np.square(self.references).sum(axis=1)
        self.excess = np.maximum(oddity[chosen] - np.median(oddity, axis=0), 0.0).astype(
            np.float32
        )  # (reference, detector)

    def forgiveness(self, windows: Windows) -> Floats:
        """Return what to take off each detector's oddity: [n, detector]."""
        rows = self._standardise(windows).astype(np.float32)
        unusual = np.add.reduce(np.square(rows), axis=1)[:, None]
        alike = rows @ self.references.T - self.half_squares
        nearest = np.argpartition(alike, -_NEAREST, axis=1)[:, -_NEAREST:]
        explained = 2.0 * np.take_along_axis(alike, nearest, axis=1) / np.maximum(unusual, np.finfo(float).tiny)
        weight = np.maximum(explained, 0.0) / _NEAREST
        forgiveness: Floats = np.einsum("nk,nkd->nd", weight, self.excess[nearest])
        return forgiveness

    def _standardise(self, windows: Windows) -> Floats:
        """[n, feature x channel], 0 for a channel without readings."""
        standard = (windows.features - self.centre) / self.scale
        np.maximum(standard, -_FEATURE_LIMIT, out=standard)
        np.minimum(standard, _FEATURE_LIMIT, out=standard)
        if windows.mask is not None:
            standard *= windows.present[:, None, :]
        return standard.reshape(len(windows), -1)


def _references(oddity: Floats, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    """Choose the windows to keep, in time order; how odd a window is, is its mean rank over the detectors."""
    mean_rank = oddity.argsort(axis=0).argsort(axis=0).mean(axis=1)
    by_oddity = np.argsort(-mean_rank, kind="stable")
    oddest, rest = np.split(by_oddity, [_REFERENCES // 2])
    some = np.random.default_rng(seed).permutation(rest)[: _REFERENCES - len(oddest)]
    return np.sort(np.concatenate((oddest, some)))
