"""MAML: a start from which a few gradient steps suffice; with ANIL and Meta-SGD as switches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad

from appliance.meta.algorithms.base import MODEL, Algorithm
from appliance.meta.learning import Examples, Params, named, part

STEP_SIZE = "step_size."


@dataclass(frozen=True, kw_only=True)
class Maml(Algorithm):
    """Model-agnostic meta-learning (Finn et al. 2017, algorithm 1): θ' = θ − α ∇L(θ), ``steps`` times, then ∂L(θ')/∂θ.

    Parameters
    ----------
    steps, step_size
        How often, and how far, a task descends.
    first_order
        Take the inner gradients as constants (FOMAML, section 5.2 there).
    head_only
        Adapt the learner's head and no more (ANIL, Raghu et al. 2020).
    learned_steps
        Learn α too, one for each parameter and of either sign (Meta-SGD, Li et al. 2017, equation 2).
    """

    steps: int = 1
    step_size: float = 0.01
    first_order: bool = False
    head_only: bool = False
    learned_steps: bool = False

    def initial(self, params: Params, generator: torch.Generator) -> Params:
        """Start at the network's own parameters, and the same step size for each."""
        if not self.learned_steps:
            return named(MODEL, params)
        sizes = {name: torch.full_like(params[name], self.step_size) for name in self._adapted(params)}
        return named(MODEL, params) | named(STEP_SIZE, sizes)

    def adapt(self, meta: Params, support: Examples, noise: Tensor | None = None) -> Params:
        """Descend the support's loss."""
        start, sizes = self.model(meta), part(meta, STEP_SIZE)
        adapted = {name: start[name] for name in self._adapted(start)}
        slope = grad(lambda some: self.learner.mean_loss(start | some, support))
        for _ in range(self.steps):
            for name, gradient in slope(adapted).items():
                step = sizes.get(name, self.step_size) * (gradient.detach() if self.first_order else gradient)
                adapted[name] = adapted[name] - step
        return start | adapted

    def _adapted(self, params: Params) -> tuple[str, ...]:
        return self.learner.head if self.head_only else tuple(params)
