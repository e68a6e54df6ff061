"""Baseline: scikit-learn's isolation forest on the window features."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.ensemble import IsolationForest

from appliance.detect.windows import Windows
from appliance.evaluation.methods import Batch
from appliance.records import Floats


class IsolationForestOnFeatures(Batch):
    """How few random cuts part a window from the warm-up, with scikit-learn's defaults (Liu, Ting and Zhou 2008)."""

    name = "isolation_forest"
    extra: ClassVar = "evaluate"
    seeds: ClassVar = 5

    def fit(self, windows: Windows, seed: int) -> None:
        """Grow 100 trees on 256 windows each."""
        self._forest: Any = IsolationForest(random_state=seed).fit(windows.standard)

    def oddity(self, windows: Windows) -> Floats:
        """Score 0…1."""
        return -np.asarray(self._forest.score_samples(windows.standard), dtype=np.float64)
