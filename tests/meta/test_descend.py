"""One task descends: whatever the order of its examples to the same bits, and where the gradient leads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from appliance.adapt.adapters.descending import METHODS
from appliance.adapt.adapters.task import Task
from appliance.meta.adapters import algorithm
from appliance.meta.algorithms.reptile import Reptile
from appliance.meta.descend import descend
from appliance.records import Floats
from tests.adapt.descents import untrained

FEATURES, EXAMPLES = 12, 40


def task(seed: int = 0) -> Task:
    rng = np.random.default_rng(seed)
    is_fault = np.repeat([0.0, 1.0], [30, 10])
    features = rng.exponential(size=(EXAMPLES, FEATURES)) + is_fault[:, None] * np.eye(FEATURES)[0]
    return Task(features, is_fault, np.where(is_fault > 0, 0.5 / 10, 0.5 / 30))


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_examples_changes_no_bit(method: str) -> None:
    given, meta = task(), untrained(method, FEATURES)
    order = np.random.default_rng(1).permutation(EXAMPLES)
    parts = [descend(method, meta, each) for each in (given, Task(*(each[order] for each in given)))]
    first, second = ([each.tobytes() for each in part.snapshot()[0].values()] for part in parts)
    assert first == second


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"leo"}))  # untrained, it guesses a direction
def test_the_features_that_faults_have_gain_weight(method: str) -> None:
    part = descend(method, untrained(method, FEATURES), task())
    assert np.argmax(part.linear) == 0


def test_reptile_ends_where_gradients_by_hand_lead() -> None:
    given, meta = task(), {name: each.astype(np.float64) for name, each in untrained("reptile", FEATURES).items()}
    w, hidden, offset, b, bias, bend_bias = (
        meta[f"model.{name}"].copy()
        for name in ("linear.weight", "hidden.weight", "hidden.bias", "bend.weight", "linear.bias", "bend.bias")
    )
    made, _ = algorithm("reptile", torch.zeros(FEATURES), 0)
    assert isinstance(made, Reptile)
    x = given.features
    for _ in range(made.steps):
        units = np.tanh(x @ hidden.T + offset)
        odds = x @ w[0] + bias + units @ b[0] + bend_bias
        miss: Floats = given.weight * (1.0 / (1.0 + np.exp(-odds)) - given.is_fault)
        back = miss[:, None] * b[0] * (1.0 - units**2)
        slopes = [miss @ x, back.T @ x, back.sum(axis=0), miss @ units, miss.sum(), miss.sum()]
        for param, slope in zip((w, hidden, offset, b, bias, bend_bias), slopes, strict=True):
            np.subtract(param, made.step_size * slope, out=param)
    found = descend("reptile", meta, given)
    for one, other in zip(
        (found.linear, found.hidden, found.offset, found.bend), (w[0], hidden, offset, b[0]), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)
