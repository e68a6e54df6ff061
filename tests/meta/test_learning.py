"""Learners: weighted losses, and modules as functions."""

from __future__ import annotations

import torch

from appliance.meta.learning import Examples, learner_of
from tests.meta.problems import HEAD, cross_entropy, network, task


def test_a_learner_answers_as_its_module_and_leaves_it_alone() -> None:
    net = network()
    about, params = learner_of(net, cross_entropy, HEAD)
    x = task()[0].x
    assert torch.equal(about.apply(params, x), net(x))
    moved = {name: t + 1 for name, t in params.items()}
    assert not torch.equal(about.apply(moved, x), net(x))
    assert torch.equal(about.apply(params, x), net(x))


def test_the_mean_loss_is_by_weight_and_nothing_where_nothing_weighs() -> None:
    about, params = learner_of(network(), cross_entropy, HEAD)
    support, _ = task()
    losses = about.loss(about.apply(params, support.x), support.y)
    expected = (losses * support.weight).sum() / support.weight.sum()
    assert abs(about.mean_loss(params, support) - expected) < 1e-15
    assert about.mean_loss(params, support._replace(weight=torch.zeros(6))) == 0
    assert about.mean_loss(params, Examples(*(t[:0] for t in support))) == 0
