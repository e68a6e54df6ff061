"""Shrunk linear fits: the direction in which labelled events differ from normal windows, and what tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from appliance.adapt.adapters.base import Adapter, Examples
from appliance.adapt.adapters.task import Task, task_of
from appliance.adapt.prior import Prior, at
from appliance.detect.head import Linear, Part
from appliance.records import Floats

_LEAST_SPREAD = 0.1
"""Of a detector's loudness among normal windows, so that one that never spoke is not trusted beyond measure."""
_MOST_NORMALS = 512
"""Of the logistic regression, evenly thinned: its time must not grow with the past."""
_NO_SLOPE = 1e-8
"""Of the logistic regression's loss, at which it has converged."""


class Ridge(Adapter):
    """Regularised linear discriminants and logistic regression on what the detectors say.

    The discriminants: with the mean and covariance of normal windows, standardised, and the mean over events of each
    event's median window, the weights are (C + λI)⁻¹ (event − normal): Fisher's, regularised as by Friedman (1989), or
    ridge regression of the label with each event weighing the same. Few events say little about directions of their
    own, so λ is large and the weights stay close to how much louder each detector is. One goes by loudness as the
    warm-up ranks it, the other by ranks among all normal windows since: the first is right where the warm-up showed
    all that is normal, the second where it was too narrow.

    The regression goes by ranks, too. It looks at the windows that are hard to tell apart where a discriminant looks
    at means, which asks for more than one event; each event lightens its penalty.
    """

    name: ClassVar[str] = "ridge"

    def parts(self, prior: Prior, examples: Examples) -> tuple[tuple[Part, ...], tuple[float, ...]]:
        """Fit all parts, the regression only where it has a share."""
        k = len(examples.events)
        loud = discriminant(examples.normal.loudness, [event.loudness for event in examples.events], prior.ridge)
        ranked = discriminant(examples.normal_ranked, examples.events_ranked, prior.ridge_by_rank)
        nothing = np.zeros_like(loud)
        parts, shares = [Linear(loud, nothing), Linear(nothing, ranked)], shares_of(prior, k)
        if shares[-1] > 0.0:
            odds = logistic_regression(task_of(examples, _MOST_NORMALS).ranked, prior.logistic / k)
            parts.append(Linear(nothing, odds))
        return tuple(parts), shares[: len(parts)]


def shares_of(prior: Prior, k: int) -> tuple[float, float, float]:
    """Return the shares of the discriminant by loudness, of the one by rank, and of the logistic regression."""
    by_rank, by_logistic = at(prior.by_rank, k), at(prior.by_logistic, k)
    return 1.0 - by_rank, by_rank * (1.0 - by_logistic), by_rank * by_logistic


def discriminant(normal: Floats, events: Sequence[Floats], ridge: float) -> Floats:
    """Return the weights [column] that tell events, each [., column], from normal windows [n, column]."""
    centre, spread = normal.mean(axis=0), normal.std(axis=0) + _LEAST_SPREAD
    scaled = (normal - centre) / spread
    covariance = scaled.T @ scaled / len(scaled)
    event = np.mean([np.median(each, axis=0) for each in events], axis=0)
    weights = np.linalg.solve(covariance + ridge * np.eye(len(centre)), (event - centre) / spread)
    per_unit: Floats = weights / spread
    return per_unit


def logistic_regression(task: Task, penalty: float) -> Floats:
    """Return the weights [column] of the log odds of a fault, shrunk by half of ``penalty`` times their squares.

    Le Cessie & van Houwelingen (1992), the classes weighing the same, as King & Zeng (2001) weigh rare events.
    """
    # Not above: a descent's process imports this package, too, and would take 0.6 s and 40 MB more.
    from scipy.optimize import minimize  # noqa: PLC0415
    from scipy.special import expit  # noqa: PLC0415

    columns = np.column_stack([task.features, np.ones(len(task.features))])
    penalties = np.append(np.full(task.features.shape[1], penalty), 0.0)
    sign = 1.0 - 2.0 * task.is_fault

    def loss(weights: Floats) -> tuple[float, Floats]:
        margin = sign * (columns @ weights)
        slope = columns.T @ (task.weight * sign * expit(margin)) + penalties * weights
        return float(task.weight @ np.logaddexp(0.0, margin) + 0.5 * penalties @ weights**2), slope

    def curvature(weights: Floats) -> Floats:
        odds = expit(columns @ weights)
        bent: Floats = (columns * (task.weight * odds * (1.0 - odds))[:, None]).T @ columns + np.diag(penalties)
        return bent

    start = np.zeros(columns.shape[1])
    found = minimize(loss, start, jac=True, hess=curvature, method="trust-exact", options={"gtol": _NO_SLOPE})
    weights: Floats = found.x[:-1]
    return weights
