"""Prototypical networks: the head says which mean embedding is nearest."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.func import grad

from appliance.meta.algorithms.prototypes import LOG_SCALE
from appliance.meta.learning import Params
from tests.meta.problems import CLASSES, HEAD, differences, episodes, furthest, prototypes, task, trained


def test_logits_differ_as_scaled_squared_distances_to_the_weighted_means_do() -> None:
    algorithm, (support, query) = prototypes(), task()
    meta = trained(algorithm)
    model = algorithm.model(meta)
    seen, asked = (algorithm.features(model, some) for some in (support, query))
    means = [
        torch.stack([w * e for w, e in zip(support.weight, seen, strict=True)])[support.y == label].sum(0)
        / support.weight[support.y == label].sum()
        for label in range(CLASSES)
    ]
    distances = torch.stack([(asked - mean).square().sum(-1) for mean in means], -1)
    logits = algorithm.learner.apply(algorithm.adapt(meta, support), query.x)
    expected = -meta[LOG_SCALE].exp() * (distances[:, 0] - distances[:, 1])
    assert (logits[:, 0] - logits[:, 1] - expected).abs().max() < 1e-12


def test_the_body_stays_and_a_class_without_examples_keeps_its_row() -> None:
    algorithm, (support, _) = prototypes(), task()
    meta = trained(algorithm)
    start = algorithm.model(meta)
    adapted = algorithm.adapt(meta, support._replace(weight=support.weight * (support.y == 0)))
    for name in start.keys() - set(HEAD):
        assert torch.equal(adapted[name], start[name])
    for name in HEAD:
        assert torch.equal(adapted[name][1], start[name][1])
        assert not torch.equal(adapted[name][0], start[name][0])


def test_the_scale_at_the_start_is_one_of_mean_squares() -> None:
    narrow, wide = (replace(prototypes(), feature_size=size) for size in (4, 8))
    scales = [some.initial({"a": torch.zeros(1)}, torch.Generator())[LOG_SCALE].exp() for some in (narrow, wide)]
    assert abs(scales[0] - 2 * scales[1]) < 1e-6


def test_the_meta_gradient_is_that_of_differences_and_the_starts_head_does_not_matter() -> None:
    algorithm, (support, query) = prototypes(), task()
    meta, none = trained(algorithm), torch.zeros(0, dtype=torch.float64)
    gradient = grad(algorithm.task_loss)(meta, support, query, none)

    def loss(meta: Params) -> torch.Tensor:
        return algorithm.task_loss(meta, support, query, none)

    assert furthest(gradient, differences(loss, meta)) < 1e-7
    heads = {f"model.{name}" for name in HEAD}
    assert all(bool((gradient[name] == 0).all()) for name in heads)
    assert min(float(gradient[name].abs().max()) for name in gradient.keys() - heads) > 1e-4


def test_it_learns_an_embedding_in_which_means_are_far_apart() -> None:
    algorithm = prototypes()
    meta, batch = trained(algorithm), episodes(torch.Generator().manual_seed(2))
    losses = []
    for _ in range(60):
        gradient, loss = algorithm.meta_gradient(meta, batch, torch.Generator())
        meta = {name: t - 0.1 * gradient[name] for name, t in meta.items()}
        losses.append(float(loss))
    assert losses[-1] < 0.8 * losses[0]
