"""Closed form: the direction in which labelled events differ from normal windows, shrunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from appliance.adapt.adapters.base import Adapter, Examples
from appliance.adapt.prior import Prior, at
from appliance.detect.head import Linear, Part
from appliance.records import Floats

_LEAST_SPREAD = 0.1
"""Of a detector's loudness among normal windows, so that one that never spoke is not trusted beyond measure."""


class Ridge(Adapter):
    """Regularised linear discriminant on what the detectors say.

    With the mean and covariance of normal windows, standardised, and the mean over events of each event's median
    window, the weights are (C + λI)⁻¹ (event − normal): Fisher's discriminant with Friedman's (1989) regularisation,
    or ridge regression of the label with each event weighing the same. Few events say little about directions of
    their own, so λ is large and the weights stay close to how much louder each detector is. One part goes by
    loudness as the warm-up ranks it, the other by ranks among all normal windows since: the first is right where the
    warm-up showed all that is normal, the second where it was too narrow.
    """

    name: ClassVar[str] = "ridge"

    def parts(self, prior: Prior, examples: Examples) -> tuple[tuple[Part, ...], tuple[float, ...]]:
        """Fit both parts."""
        loud = discriminant(examples.normal.loudness, [event.loudness for event in examples.events], prior.ridge)
        ranked = discriminant(examples.normal_ranked, examples.events_ranked, prior.ridge_by_rank)
        nothing = np.zeros_like(loud)
        by_rank = at(prior.by_rank, len(examples.events))
        return (Linear(loud, nothing), Linear(nothing, ranked)), (1.0 - by_rank, by_rank)


def discriminant(normal: Floats, events: Sequence[Floats], ridge: float) -> Floats:
    """Return the weights [column] that tell events, each [., column], from normal windows [n, column]."""
    centre, spread = normal.mean(axis=0), normal.std(axis=0) + _LEAST_SPREAD
    scaled = (normal - centre) / spread
    covariance = scaled.T @ scaled / len(scaled)
    event = np.mean([np.median(each, axis=0) for each in events], axis=0)
    weights = np.linalg.solve(covariance + ridge * np.eye(len(centre)), (event - centre) / spread)
    per_unit: Floats = weights / spread
    return per_unit
