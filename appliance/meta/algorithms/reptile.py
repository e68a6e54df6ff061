"""Reptile: move the start towards where each task's descent ends."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad, vmap

from appliance.meta.algorithms.base import MODEL, Algorithm
from appliance.meta.learning import Episodes, Examples, Params, named


@dataclass(frozen=True, kw_only=True)
class Reptile(Algorithm):
    """Reptile (Nichol et al. 2018, algorithm 2): the meta-gradient is the mean of θ − θ' over tasks.

    It needs no second derivatives and no split of a task: in training a task descends on support and query together.

    Parameters
    ----------
    steps, step_size
        How often, and how far, a task descends when it adapts.
    training_steps
        The same while training, where more steps tell more about where a task wants to go.
    """

    steps: int = 32
    step_size: float = 0.01
    training_steps: int = 32

    def initial(self, params: Params, generator: torch.Generator) -> Params:
        """Start at the network's own parameters."""
        return named(MODEL, params)

    def adapt(self, meta: Params, support: Examples, noise: Tensor | None = None) -> Params:
        """Descend the support's loss."""
        return self._descend(self.model(meta), support, self.steps)

    def meta_gradient(self, meta: Params, episodes: Episodes, generator: torch.Generator) -> tuple[Params, Tensor]:
        """Return the mean way back from where the tasks end, and the loss [] that they end with."""
        start = self.model(meta)

        def travel(support: Examples, query: Examples) -> tuple[Params, Tensor]:
            together = Examples(*(torch.cat(pair) for pair in zip(support, query, strict=True)))
            end = self._descend(start, together, self.training_steps)
            return {name: start[name] - end[name] for name in start}, self.learner.mean_loss(end, query)

        with torch.no_grad():
            ways, losses = vmap(travel)(*episodes)
            return named(MODEL, {name: way.mean(0) for name, way in ways.items()}), losses.mean()

    def _descend(self, params: Params, examples: Examples, steps: int) -> Params:
        slope = grad(self.learner.mean_loss)
        for _ in range(steps):
            params = {name: params[name] - self.step_size * g for name, g in slope(params, examples).items()}
        return params
