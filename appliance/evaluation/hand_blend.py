"""The hand-set blend that a learned one must beat: prior, likeness to labelled events, logistic regression."""

from __future__ import annotations

import importlib
from typing import ClassVar

import numpy as np

from appliance.adapt.adapters.base import Adapter, Examples, typical
from appliance.adapt.prior import KNOTS, Prior
from appliance.detect.head import Cosine, Part, signed_log
from appliance.detect.traces import Traces
from appliance.records import Floats

_NOTHING = (0.0,) * len(KNOTS)
PRIOR = Prior(share=(0.15, 0.5, 0.5, 0.5), boost=_NOTHING, look=_NOTHING, surprise=float("inf"))
"""Half prior, a quarter each for the others; with one event 0.85 prior and logistic regression."""
_LOGISTIC_ONLY = 1
"""Labelled events up to which likeness has no share: at a quarter each it lost on servers."""


class Logit(Part):
    """Log odds of a logistic regression on the features."""

    def __init__(self, weights: Floats) -> None:
        self._weights = weights

    def oddity(self, ranked: Floats, traces: Traces) -> Floats:
        """Log odds but for a constant: [n]."""
        odds: Floats = signed_log(traces.features) @ self._weights
        return odds


class HandBlend(Adapter):
    """Averages the three in the tail domain, with weights set by hand."""

    name: ClassVar[str] = "hand"

    def parts(self, prior: Prior, examples: Examples) -> tuple[tuple[Part, ...], tuple[float, ...]]:
        """Fit similarity and regression."""
        linear_model = importlib.import_module("sklearn.linear_model")  # only where it is asked for
        prototypes = np.stack([signed_log(typical(event)).mean(axis=0) for event in examples.events])
        normal = signed_log(examples.normal.features)
        faults = [signed_log(event.features) for event in examples.events]
        rows = np.concatenate([normal, *faults])
        scale = rows.std(axis=0) + 1e-6
        is_fault = np.arange(len(rows)) >= len(normal)
        weight = np.concatenate(
            [np.full(len(normal), len(faults) / len(normal)), *(np.full(len(each), 1.0 / len(each)) for each in faults)]
        )
        model = linear_model.LogisticRegression(C=0.3, max_iter=200)
        model.fit(rows / scale, is_fault, sample_weight=weight * len(rows) / weight.sum())
        alone = len(faults) <= _LOGISTIC_ONLY
        return (Cosine(prototypes), Logit(model.coef_[0] / scale)), (0.0, 1.0) if alone else (0.5, 0.5)
