"""Baseline: River's standard scaler as an alarm, the three-sigma rule that every plant has."""

from __future__ import annotations

from typing import Any

import numpy as np
from river.preprocessing import StandardScaler

from appliance.detect.windows import Windows
from appliance.evaluation.methods import Streaming
from appliance.records import Floats


class RiverZScore(Streaming):
    """Largest distance of any channel's window mean from its mean so far, in its standard deviations so far."""

    name = "river_zscore"

    def start(self, warm_up: Windows, seed: int) -> None:
        """Know nothing."""
        self._scaler: Any = StandardScaler()

    def take(self, windows: Windows) -> Floats:
        """Score, then learn; a silent channel is left out."""
        return np.array(
            [
                self._take({channel: row[channel] for channel in np.flatnonzero(present).tolist()})
                for row, present in zip(windows.mean.tolist(), windows.present, strict=True)
            ]
        )

    def _take(self, means: dict[int, float]) -> float:
        score = max((abs(distance) for distance in self._scaler.transform_one(means).values()), default=0.0)
        self._scaler.learn_one(means)
        return float(score)
