"""Baseline: a robust random cut forest over the stream of windows."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np

from appliance.detect.windows import Windows
from appliance.evaluation.methods import Streaming
from appliance.records import Floats

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks the deprecated pkg_resources for its own version
    from rrcf import RCTree

_TREES = 6
"""Published examples grow 20 to 100. The library takes 0.15 ms a tree and hop; six keep a hop below 1 ms."""
_LEAVES = 128
_COORDINATES = 10
_REACH = 4.0
"""Strange warm-up windows must not turn the coordinates towards themselves."""


class RobustRandomCutForest(Streaming):
    """Mean collusive displacement of each window among the latest ones (Guha et al. 2016).

    A point is a window's features on their leading principal coordinates in the warm-up; those coordinates are all
    that is known in advance. Each tree holds the latest `_LEAVES` points: a sliding window, not a reservoir.
    """

    name = "rrcf"
    extra: ClassVar = "evaluate"
    seeds: ClassVar = 3

    def start(self, warm_up: Windows, seed: int) -> None:
        """Find the coordinates and plant empty trees."""
        rows = np.clip(warm_up.standard, -_REACH, _REACH)
        _, directions = np.linalg.eigh(rows.T @ rows)
        self._components = np.ascontiguousarray(directions[:, : -1 - _COORDINATES : -1])
        seeds = np.random.default_rng(seed).integers(2**31, size=_TREES)
        self._trees: list[Any] = [RCTree(random_state=int(of_tree)) for of_tree in seeds]
        self._taken = 0

    def take(self, windows: Windows) -> Floats:
        """Insert each window, see how much it displaces, and forget the oldest."""
        return np.array([self._take(point) for point in windows.standard @ self._components])

    def _take(self, point: Floats) -> float:
        displacement = 0.0
        for tree in self._trees:
            if self._taken >= _LEAVES:
                tree.forget_point(self._taken - _LEAVES)
            tree.insert_point(point, index=self._taken)
            displacement += float(tree.codisp(self._taken))
        self._taken += 1
        return displacement / _TREES
