"""Baseline: River's half-space trees, as a pipeline that a user of River would write."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from river.anomaly import HalfSpaceTrees
from river.preprocessing import MinMaxScaler

from appliance.detect.windows import Windows
from appliance.evaluation.methods import Streaming
from appliance.records import Floats

_TREES, _HEIGHT = 25, 8
"""As many trees as the paper grows; River's height, as the paper's 15 is for far longer streams."""
_WINDOW = 250
"""Windows between two refreshes of the masses, as in the paper and in River; no more than a quarter of the warm-up."""


class RiverHalfSpaceTrees(Streaming):
    """Half-space trees on all window features, scaled to 0…1 by what was seen so far (Tan, Ting and Liu 2011)."""

    name = "river_hst"
    seeds: ClassVar = 5

    def start(self, warm_up: Windows, seed: int) -> None:
        """Plant the trees; until their window is full they score nothing, so it must end within the warm-up."""
        self._scaler: Any = MinMaxScaler()
        self._trees: Any = HalfSpaceTrees(
            n_trees=_TREES, height=_HEIGHT, window_size=max(1, min(_WINDOW, len(warm_up) // 4)), seed=seed
        )

    def take(self, windows: Windows) -> Floats:
        """Scale, score, learn."""
        return np.array([self._take(dict(enumerate(row))) for row in windows.standard.tolist()])

    def _take(self, features: dict[int, float]) -> float:
        self._scaler.learn_one(features)
        scaled = self._scaler.transform_one(features)
        score = float(self._trees.score_one(scaled))
        self._trees.learn_one(scaled)
        return score
