"""MAML and its switches against a library and against what the papers promise."""

from __future__ import annotations

from dataclasses import replace

import higher
import pytest
import torch

from appliance.meta.algorithms.maml import Maml
from appliance.meta.learning import Params, named
from tests.meta.problems import HEAD, algorithms, cross_entropy, episodes, furthest, network, task, trained


def by_higher(algorithm: Maml, meta: Params) -> Params:
    """Return the meta-gradient as the library higher computes it, one task after the other."""
    batch = episodes(torch.Generator().manual_seed(2))
    net = network()
    net.load_state_dict(algorithm.model(meta))
    sizes = (
        {name: meta[f"step_size.{name}"].clone().requires_grad_() for name in net.state_dict()}
        if (algorithm.learned_steps)
        else {}
    )
    optimiser = torch.optim.SGD(net.parameters(), lr=algorithm.step_size)
    total = torch.zeros((), dtype=torch.float64)
    for i in range(4):
        with higher.innerloop_ctx(net, optimiser, copy_initial_weights=False) as (functional, descent):
            for _ in range(algorithm.steps):
                losses = cross_entropy(functional(batch.support.x[i]), batch.support.y[i])
                loss = (batch.support.weight[i] * losses).sum() / batch.support.weight[i].sum()
                if sizes:  # the library has one step size for each group of parameters, not for each parameter
                    now = list(functional.parameters(time=-1))
                    slopes = torch.autograd.grad(loss, now, create_graph=True)
                    functional.update_params(
                        [p - size * slope for p, size, slope in zip(now, sizes.values(), slopes, strict=True)]
                    )
                else:
                    descent.step(loss)
            losses = cross_entropy(functional(batch.query.x[i]), batch.query.y[i])
            total = total + (batch.query.weight[i] * losses).sum() / batch.query.weight[i].sum() / 4
    total.backward()
    gradients = named("model.", {name: p.grad for name, p in net.named_parameters() if p.grad is not None})
    return gradients | named("step_size.", {name: s.grad for name, s in sizes.items() if s.grad is not None})


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("name", ["maml", "meta_sgd"])
def test_the_second_order_meta_gradient_is_that_of_the_library_higher(name: str, steps: int) -> None:
    algorithm = algorithms()[name]
    assert isinstance(algorithm, Maml)
    algorithm = replace(algorithm, steps=steps)
    meta = trained(algorithm)
    gradient, _ = algorithm.meta_gradient(meta, episodes(torch.Generator().manual_seed(2)), torch.Generator())
    assert furthest(gradient, by_higher(algorithm, meta)) < 1e-10


def test_first_order_adapts_alike_and_learns_otherwise() -> None:
    second, first = (algorithms()[name] for name in ("maml", "first_order"))
    meta, batch = trained(second), episodes(torch.Generator().manual_seed(2))
    assert furthest(second.adapt(meta, task()[0]), first.adapt(meta, task()[0])) == 0
    gradients = [each.meta_gradient(meta, batch, torch.Generator())[0] for each in (second, first)]
    assert furthest(*gradients) > 1e-2


def test_the_first_order_gradient_is_the_one_at_the_adapted_parameters() -> None:
    algorithm = algorithms()["first_order"]
    meta, batch = trained(algorithm), episodes(torch.Generator().manual_seed(2), tasks=1)
    gradient, _ = algorithm.meta_gradient(meta, batch, torch.Generator())
    support, query = (type(some)(*(t[0] for t in some)) for some in batch)
    there = {name: t.detach().requires_grad_() for name, t in algorithm.adapt(meta, support).items()}
    slopes = torch.autograd.grad(algorithm.learner.mean_loss(there, query), list(there.values()))
    assert furthest(gradient, named("model.", dict(zip(there, slopes, strict=True)))) < 1e-12


def test_anil_leaves_the_body_alone_and_learns_it_in_the_outer_loop() -> None:
    algorithm = algorithms()["anil"]
    meta, (support, _) = trained(algorithm), task()
    start, adapted = algorithm.model(meta), algorithm.adapt(meta, support)
    moved = {name for name in start if not torch.equal(start[name], adapted[name])}
    assert moved == set(HEAD)
    gradient, _ = algorithm.meta_gradient(meta, episodes(torch.Generator().manual_seed(2)), torch.Generator())
    assert float(gradient["model.0.weight"].abs().max()) > 1e-3


def test_equal_learned_steps_are_plain_maml_and_a_step_of_zero_freezes() -> None:
    plain, learned = (algorithms()[name] for name in ("maml", "meta_sgd"))
    meta, (support, _) = trained(plain), task()
    whole = learned.initial(plain.model(meta), torch.Generator())
    assert furthest(learned.adapt(whole, support), plain.adapt(meta, support)) == 0
    frozen = whole | {"step_size.0.weight": torch.zeros(4, 3, dtype=torch.float64)}
    assert torch.equal(learned.adapt(frozen, support)["0.weight"], meta["model.0.weight"])
