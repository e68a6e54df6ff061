"""A machine at one time scale: normalised windows → features → evidence detectors → ranks; several make a detector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul
from typing import Self

import numpy as np
from numpy.typing import NDArray

from appliance.detect.evidence import EVIDENCE, EvidenceDetector
from appliance.detect.scales import Heard, Scale
from appliance.detect.state import State
from appliance.detect.tail import TailRank
from appliance.detect.windows import FeatureScale, Windows
from appliance.records import Floats

Indices = NDArray[np.intp]

FOLDS = 4
"""The warm-up is judged in quarters, each by what was fitted on the other three."""
MOST_PARTS = 40
"""Each quarter is spread over the warm-up in ten parts, so that it holds every shift..."""
_LEAST_STRETCH = 4
"""...but a part is at least that many stretches of the scale long: neighbours share most of their cells."""
USUAL_LOUDNESS = math.log(2.0)
"""ln(1 + evidence) of an average normal window: a detector this quiet blames nobody."""


class Lens:
    """The features, detectors and ranks of one scale, fitted on the warm-up seen at that scale."""

    def __init__(
        self, scale: Scale, features: FeatureScale, detectors: dict[str, EvidenceDetector], ranks: TailRank
    ) -> None:
        self.scale = scale
        self.features = features
        self.detectors = detectors
        self.ranks = ranks
        each = list(detectors.values())
        weights = [detector.weight for detector in each]
        self._weights = [weight / sum(weights) for weight in weights]
        self._largest = [row for row, detector in enumerate(each) if detector.counts == "largest"]
        self._blaming = [detector.blames for detector in each]

    @classmethod
    def fit(cls, scale: Scale, windows: Windows, stretches: float, seed: int) -> tuple[Self, Floats]:
        """Fit on the warm-up's windows.

        Parameters
        ----------
        stretches
            How many windows of this scale the warm-up would hold one after the other, without overlap.

        Returns
        -------
        lens, loudness
            And ln(1 + evidence) [n, detector] of each window, as judged by detectors that were fitted without it.
        """
        names = [name for name in scale.evidence if windows.values.shape[2] >= EVIDENCE[name].least_length]
        features = FeatureScale(windows)
        features.apply(windows)
        parts = int(min(MOST_PARTS, max(FOLDS, stretches / _LEAST_STRETCH)))
        oddity = held_out(names, windows, parts, seed)
        lens = cls(scale, features, fitted(names, windows, seed), TailRank(oddity))
        evidence = np.array([lens.ranks.evidence(row) for row in oddity.tolist()])
        return lens, np.log1p(evidence)

    def combine(self, loudness: Floats) -> Floats:
        """Weighted mean [...] of ln(1 + evidence) [..., detector], times the weight of the scale."""
        combined: Floats = self.scale.weight * (loudness @ np.array(self._weights))
        return combined

    def listen(self, windows: Windows) -> Heard:
        """Judge one window, which is given its features first."""
        self.features.apply(windows)
        shares = np.concatenate([detector.energy(windows) for detector in self.detectors.values()])
        shares *= windows.present_share  # (detector, channel)
        means = np.add.reduce(shares, axis=1).tolist()
        oddity = [math.log1p(mean) for mean in means]
        for row in self._largest:
            present = float(np.add.reduce(windows.present[0]))
            oddity[row] = math.log1p(math.sqrt(max(shares[row].tolist()) * present))
        evidence = self.ranks.evidence(oddity)
        loudness = [math.log1p(value) for value in evidence]
        by_detector = [
            self.scale.weight * (loud - USUAL_LOUDNESS) / mean
            if blames and loud > USUAL_LOUDNESS and mean > 0.0
            else 0.0
            for loud, mean, blames in zip(loudness, means, self._blaming, strict=True)
        ]
        return Heard(
            evidence,
            loudness,
            self.scale.weight * sum(map(mul, self._weights, loudness)),
            np.array(by_detector) @ shares,
        )

    def snapshot(self) -> State:
        """Return what `fit` made."""
        return {"features": self.features.snapshot()[0], "ranks": self.ranks.snapshot()[0]} | {
            f"evidence.{name}": detector.snapshot()[0] for name, detector in self.detectors.items()
        }

    @classmethod
    def restore(cls, scale: Scale, state: State) -> Self:
        """Build the lens again."""
        names = [key.removeprefix("evidence.") for key in state if key.startswith("evidence.")]
        detectors = {name: EVIDENCE[name].restore(state[f"evidence.{name}"], {}) for name in names}
        features, ranks = FeatureScale.restore(state["features"], {}), TailRank.restore(state["ranks"], {})
        return cls(scale, features, detectors, ranks)


def folds(windows: int, parts: int) -> Indices:
    """Return which quarter [n] each window of the warm-up belongs to; every quarter has its share of the parts."""
    return np.arange(windows) * parts // windows % FOLDS


def held_out(names: Sequence[str], windows: Windows, parts: int, seed: int) -> Floats:
    """Oddity [n, detector] of each window of the warm-up, by detectors that were fitted without its quarter."""
    fold = folds(len(windows), parts)
    oddity = np.empty((len(windows), len(names)))
    for number in range(FOLDS):
        held = windows[np.flatnonzero(fold == number)]
        detectors = fitted(names, windows[np.flatnonzero(fold != number)], seed)
        oddity[fold == number] = np.stack([each.oddity(held).values for each in detectors.values()], axis=1)
        del detectors, held  # before the next are made
    return oddity


def fitted(names: Sequence[str], windows: Windows, seed: int) -> dict[str, EvidenceDetector]:
    """Fit the detectors of these names."""
    detectors = {name: EVIDENCE[name]() for name in names}
    for detector in detectors.values():
        detector.fit(windows, seed)
    return detectors
