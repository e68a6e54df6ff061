"""Evidence: the window falls where few recent ones did (River's half-space trees, which go on learning)."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from river.anomaly import HalfSpaceTrees

from appliance.detect.evidence.base import EvidenceDetector, Oddity
from appliance.detect.evidence.subspace import principal_subspace
from appliance.detect.state import State
from appliance.detect.windows import Windows

_TREES = 8
_HEIGHT = 5
"""63 nodes a tree. River's nodes are Python objects: eight such trees take about 100 kB."""
_WINDOW = 100
"""Windows between two refreshes of the masses."""
_COORDINATES = 6
"""Directions of the feature space that the trees split."""
_REACH = 4.0
"""The trees split between -4 and 4 standard deviations of each direction."""


class HalfSpace(EvidenceDetector):
    """Half-space trees on the leading principal coordinates of the window features (Tan, Ting and Liu 2011)."""

    weight: ClassVar = 0.25
    FITTED: ClassVar[tuple[str, ...]] = ("whitening", "seed")

    def fit(self, windows: Windows, seed: int) -> None:
        """Place the trees over the leading coordinates and fill them with the latest warm-up."""
        rows = np.clip(windows.standard, -_REACH, _REACH)
        components, variances = principal_subspace(rows, 1.0, _COORDINATES)
        self.whitening = components / np.sqrt(variances)
        self.seed = seed
        self._trees = _grown(seed, self.whitening.shape[1])
        for row in (windows.standard[-2 * _WINDOW :] @ self.whitening).tolist():
            self._trees.learn_one(dict(enumerate(row)))

    def oddity(self, windows: Windows) -> Oddity:
        """One minus the mass around the window, as River scales it."""
        rows = (windows.standard @ self.whitening).tolist()
        return Oddity(np.array([float(self._trees.score_one(dict(enumerate(row)))) for row in rows]), None)

    def learn(self, window: Windows) -> None:
        """Drop one window into the trees."""
        self._trees.learn_one(dict(enumerate((window.standard[0] @ self.whitening).tolist())))

    def snapshot(self) -> tuple[State, State]:
        """Save how full each node is; where they split follows from the seed."""
        fitted, _ = super().snapshot()
        nodes = [node for tree in self._trees.trees for node in tree.iter_dfs()]
        masses = np.array([(node.r_mass, node.l_mass) for node in nodes], dtype=np.uint8)  # at most _WINDOW each
        return fitted, {"masses": masses, "counter": self._trees.counter}

    @classmethod
    def restore(cls, fitted: State, live: State) -> Self:
        """Grow the same trees and fill them as they were."""
        restored = super().restore(fitted, {})
        restored._trees = _grown(restored.seed, restored.whitening.shape[1])
        nodes = (node for tree in restored._trees.trees for node in tree.iter_dfs())
        for node, (recent, latest) in zip(nodes, live["masses"].tolist(), strict=True):
            node.r_mass, node.l_mass = recent, latest
        restored._trees.counter = live["counter"]
        return restored


def _grown(seed: int, coordinates: int) -> Any:
    """Trees that are past River's first window, in which it scores everything 0: the splits depend on the seed only."""
    trees: Any = HalfSpaceTrees(
        n_trees=_TREES,
        height=_HEIGHT,
        window_size=_WINDOW,
        limits=dict.fromkeys(range(coordinates), (-_REACH, _REACH)),
        seed=seed,
    )
    for _ in range(_WINDOW):
        trees.learn_one(dict.fromkeys(range(coordinates), 0.0))
    return trees
