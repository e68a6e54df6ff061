"""Baselines: linear classifiers from scratch, what anybody would try first with a few labels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as RidgeRegression

from appliance.evaluation.baselines.taught import Examples, Taught
from appliance.records import Floats

_MOST_ITERATIONS = 1000


class Logistic(Taught):
    """Logistic regression with scikit-learn's penalty (C = 1); the score is the log odds."""

    name = "logistic"
    extra: ClassVar = "evaluate"

    def fit(self, examples: Examples, seed: int) -> None:
        """Train."""
        self._model: Any = LogisticRegression(max_iter=_MOST_ITERATIONS)
        self._model.fit(examples.rows, examples.is_fault, sample_weight=examples.weight)

    def oddity(self, rows: Floats) -> Floats:
        """Log odds of a fault."""
        return np.asarray(self._model.decision_function(rows), dtype=np.float64)


class Ridge(Taught):
    """Ridge regression of the label, 0 or 1, with scikit-learn's penalty (alpha = 1)."""

    name = "ridge"
    extra: ClassVar = "evaluate"

    def fit(self, examples: Examples, seed: int) -> None:
        """Train."""
        self._model: Any = RidgeRegression()
        self._model.fit(examples.rows, examples.is_fault.astype(np.float64), sample_weight=examples.weight)

    def oddity(self, rows: Floats) -> Floats:
        """Predicted label."""
        return np.asarray(self._model.predict(rows), dtype=np.float64)
