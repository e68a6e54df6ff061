"""What every algorithm promises."""

from __future__ import annotations

import pytest
import torch
from torch.func import vmap

from appliance.meta.algorithms.base import Algorithm
from appliance.meta.learning import Episodes, Examples, named
from tests.meta.problems import algorithms, differences, episodes, furthest, learner, task, trained


@pytest.fixture(params=list(algorithms()))
def algorithm(request: pytest.FixtureRequest) -> Algorithm:
    return algorithms()[request.param]


def test_adapting_lowers_the_loss_on_the_support(algorithm: Algorithm) -> None:
    meta = algorithm.initial(learner()[1], torch.Generator().manual_seed(0))
    support, _ = task()
    before = algorithm.learner.mean_loss(algorithm.model(meta), support)
    after = algorithm.learner.mean_loss(algorithm.adapt(meta, support), support)
    assert after < before - 0.005


def test_adapting_returns_every_parameter_of_the_network(algorithm: Algorithm) -> None:
    adapted = algorithm.adapt(trained(algorithm), task()[0])
    assert {name: t.shape for name, t in adapted.items()} == {name: t.shape for name, t in learner()[1].items()}


def test_examples_that_weigh_nothing_change_nothing(algorithm: Algorithm) -> None:
    meta, (support, query) = trained(algorithm), task()
    strange = torch.full_like(support.x, 1e3)
    padded = Examples(
        torch.cat([support.x, strange]),
        torch.cat([support.y, 1 - support.y]),
        torch.cat([support.weight, torch.zeros_like(support.weight)]),
    )
    assert furthest(algorithm.adapt(meta, padded), algorithm.adapt(meta, support)) < 1e-12
    noise = torch.randn(algorithm.noise_size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    losses = [algorithm.task_loss(meta, some, query, noise) for some in (support, padded)]
    assert abs(losses[0] - losses[1]) < 1e-12


def test_an_example_of_weight_two_counts_as_two(algorithm: Algorithm) -> None:
    meta, (support, _) = trained(algorithm), task()
    twice = Examples(*(torch.cat([t, t[:1]]) for t in support))
    heavy = support._replace(weight=torch.cat([2 * support.weight[:1], support.weight[1:]]))
    assert furthest(algorithm.adapt(meta, twice), algorithm.adapt(meta, heavy)) < 1e-12
    assert furthest(algorithm.adapt(meta, support), algorithm.adapt(meta, heavy)) > 1e-4


def test_the_order_of_the_support_does_not_matter(algorithm: Algorithm) -> None:
    meta, (support, _) = trained(algorithm), task()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    assert (
        furthest(algorithm.adapt(meta, Examples(*(t[order] for t in support))), algorithm.adapt(meta, support)) < 1e-12
    )


@pytest.mark.parametrize("n", [0, 6])
def test_without_an_example_that_weighs_anything_the_start_remains(algorithm: Algorithm, n: int) -> None:
    meta = trained(algorithm)
    support = Examples(*(t[:n] for t in task()[0]))
    nothing = support._replace(weight=torch.zeros_like(support.weight))
    start = algorithm.model(algorithm.initial(learner()[1], torch.Generator()))
    assert furthest(algorithm.adapt(named("model.", start) | _rest(meta), nothing), start) == 0


def _rest(meta: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: t for name, t in meta.items() if not name.startswith("model.")}


def test_tasks_of_a_batch_do_not_know_each_other(algorithm: Algorithm) -> None:
    meta = trained(algorithm)
    batch = episodes(torch.Generator().manual_seed(2))
    together = algorithm.adapt_all(meta, batch.support)
    outputs = algorithm.predict(meta, batch.support, batch.query.x)
    for i in range(4):
        alone = algorithm.adapt(meta, Examples(*(t[i] for t in batch.support)))
        assert furthest({name: t[i] for name, t in together.items()}, alone) < 1e-12
        assert (outputs[i] - algorithm.learner.apply(alone, batch.query.x[i])).abs().max() < 1e-12


def test_the_meta_gradient_of_a_batch_is_the_mean_over_its_tasks(
    algorithm: Algorithm, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta, batch = trained(algorithm), episodes(torch.Generator().manual_seed(2), tasks=2)
    noise = algorithm.draw(batch, torch.Generator().manual_seed(4))
    whole, _ = algorithm.meta_gradient(meta, batch, torch.Generator().manual_seed(4))
    parts = []
    for i in range(2):
        monkeypatch.setattr(type(algorithm), "draw", lambda *_, i=i: noise[i : i + 1])
        one = Episodes(*(Examples(*(t[i : i + 1] for t in some)) for some in batch))
        parts.append(algorithm.meta_gradient(meta, one, torch.Generator())[0])
    assert furthest(whole, {name: (parts[0][name] + parts[1][name]) / 2 for name in meta}) < 1e-12


@pytest.mark.parametrize("name", ["maml", "anil", "meta_sgd"])
def test_the_meta_gradient_is_that_of_differences(name: str) -> None:
    algorithm = algorithms()[name]
    meta, batch = trained(algorithm), episodes(torch.Generator().manual_seed(2))

    def loss(meta: dict[str, torch.Tensor]) -> torch.Tensor:
        none = torch.zeros(4, 0, dtype=torch.float64)
        return vmap(algorithm.task_loss, in_dims=(None, 0, 0, 0))(meta, *batch, none).mean() + algorithm.penalty(meta)

    gradient, value = algorithm.meta_gradient(meta, batch, torch.Generator())
    assert value == loss(meta)
    assert furthest(gradient, differences(loss, meta)) < 1e-7
    assert min(float(gradient[name].abs().max()) for name in meta) > 1e-4
