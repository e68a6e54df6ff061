"""Reptile's meta-gradient is no derivative, but a way."""

from __future__ import annotations

import torch

from appliance.meta.learning import Examples
from tests.meta.problems import algorithms, episodes, learner, trained


def test_the_meta_gradient_is_the_mean_difference_between_start_and_ends() -> None:
    """Against torch's own SGD on each task by itself."""
    algorithm = algorithms()["reptile"]
    meta, batch = trained(algorithm), episodes(torch.Generator().manual_seed(2))
    gradient, loss = algorithm.meta_gradient(meta, batch, torch.Generator())
    ways, losses = [], []
    for i in range(4):
        support, query = (Examples(*(t[i] for t in some)) for some in batch)
        both = Examples(*(torch.cat(pair) for pair in zip(support, query, strict=True)))
        params = {name: t.clone().requires_grad_() for name, t in algorithm.model(meta).items()}
        optimiser = torch.optim.SGD(params.values(), lr=0.2)
        for _ in range(3):
            optimiser.zero_grad()
            learner()[0].mean_loss(params, both).backward()
            optimiser.step()
        ways.append({name: meta[f"model.{name}"] - t.detach() for name, t in params.items()})
        losses.append(learner()[0].mean_loss(params, query).detach())
    for name in algorithm.model(meta):
        assert (gradient[f"model.{name}"] - torch.stack([way[name] for way in ways]).mean(0)).abs().max() < 1e-12
    assert abs(loss - torch.stack(losses).mean()) < 1e-12
