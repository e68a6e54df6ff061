"""The learned optimiser: what its network sees, and what it is when that is silent."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from appliance.meta.algorithms import learned_optimizer
from appliance.meta.algorithms.learned_optimizer import LearnedOptimizer, preprocessed
from appliance.meta.algorithms.maml import Maml
from appliance.meta.learning import Params
from tests.meta.problems import algorithms, differences, episodes, furthest, learner, task, trained


def optimizer() -> LearnedOptimizer:
    algorithm = algorithms()["learned_optimizer"]
    assert isinstance(algorithm, LearnedOptimizer)
    return algorithm


def test_a_silent_network_is_gradient_descent() -> None:
    meta = optimizer().initial(learner()[1], torch.Generator().manual_seed(0))
    descent = Maml(learner=learner()[0], steps=2, step_size=0.3)
    support, _ = task()
    assert furthest(optimizer().adapt(meta, support), descent.adapt(meta, support)) < 1e-15


def test_a_network_that_says_ln_2_doubles_the_step_and_one_that_points_moves_all_alike() -> None:
    meta = optimizer().initial(learner()[1], torch.Generator().manual_seed(0))
    always = {"optimizer.first": torch.zeros(4, 4).double(), "optimizer.bias": torch.full((4,), 20.0).double()}
    doubled = torch.zeros(4, 2).double()
    doubled[0, 0] = math.log(2)
    support, _ = task()
    descent = Maml(learner=learner()[0], steps=2, step_size=0.6)
    adapted = optimizer().adapt(meta | always | {"optimizer.second": doubled}, support)
    assert furthest(adapted, descent.adapt(meta, support)) < 1e-12
    pointing = torch.zeros(4, 2).double()
    pointing[0, 1] = 3.0
    still = replace(optimizer(), step_size=0.0, steps=1)
    adapted = still.adapt(meta | always | {"optimizer.second": pointing}, support)
    assert furthest(adapted, {name: t - 0.03 for name, t in still.model(meta).items()}) < 1e-12


def test_magnitude_and_sign_are_told_apart_without_a_jump() -> None:
    floor = math.exp(-10)
    gradient = torch.tensor([1.0, -math.e, 0.0, floor * 0.5, floor, floor * (1 - 1e-9)], dtype=torch.float64)
    magnitude, sign = preprocessed(gradient)
    expected = torch.tensor([0.0, 0.1, -1.0, -1.0, -1.0, -1.0], dtype=torch.float64)
    assert (magnitude - expected).abs().max() < 1e-8
    assert (sign - torch.tensor([1.0, -1.0, 0.0, 0.5, 1.0, 1.0], dtype=torch.float64)).abs().max() < 1e-8


def test_the_meta_gradient_is_that_of_differences_given_what_the_network_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    algorithm, (support, query) = optimizer(), task()
    meta, none = trained(algorithm), torch.zeros(0, dtype=torch.float64)
    gradient = torch.func.grad(algorithm.task_loss)(meta, support, query, none)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def record(slope: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(preprocessed(slope))
        return seen[-1]

    monkeypatch.setattr(learned_optimizer, "preprocessed", record)
    algorithm.task_loss(meta, support, query, none)
    assert len(seen) == algorithm.steps

    def loss(meta: Params) -> torch.Tensor:
        again = iter(seen)
        monkeypatch.setattr(learned_optimizer, "preprocessed", lambda _: next(again))
        return algorithm.task_loss(meta, support, query, none)

    assert furthest(gradient, differences(loss, meta)) < 1e-7
    assert min(float(gradient[name].abs().max()) for name in meta) > 1e-6


def test_first_order_adapts_alike_and_learns_otherwise() -> None:
    second, first = optimizer(), replace(optimizer(), first_order=True)
    meta, batch = trained(second), episodes(torch.Generator().manual_seed(2))
    assert furthest(second.adapt(meta, task()[0]), first.adapt(meta, task()[0])) == 0
    gradients = [each.meta_gradient(meta, batch, torch.Generator())[0] for each in (second, first)]
    assert furthest(*gradients) > 1e-3


def test_every_coordinate_is_treated_alike() -> None:
    """Exchange two units of the body: the adapted parameters are exchanged too."""
    meta, (support, _) = trained(optimizer()), task()
    swapped = dict(meta)
    order = torch.tensor([1, 0, 2, 3])
    for name, axis in (("0.weight", 0), ("0.bias", 0), ("2.weight", 1)):
        swapped[f"model.{name}"] = meta[f"model.{name}"].index_select(axis, order)
    plain, exchanged = (optimizer().adapt(some, support) for some in (meta, swapped))
    for name, axis in (("0.weight", 0), ("0.bias", 0), ("2.weight", 1)):
        assert (plain[name].index_select(axis, order) - exchanged[name]).abs().max() < 1e-12
