"""A learned optimiser: a small network, the same for every parameter, in place of the rule of gradient descent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad

from appliance.meta.algorithms.base import MODEL, Algorithm
from appliance.meta.learning import Examples, Params, named

NET = "optimizer."
MAGNITUDES = 10.0
"""The p of the preprocessing: gradients below exp(-p) are told apart on a linear scale instead."""
DIRECTION = 0.01
"""How far one unit of the network's own direction goes: as a gradient of 1 at the usual step size."""


@dataclass(frozen=True, kw_only=True)
class LearnedOptimizer(Algorithm):
    """Coordinate-wise learned optimiser (Andrychowicz et al. 2016), with a learned start (Ravi and Larochelle 2017).

    Some texts describe this, a network from parameters and gradients to updates, under the name LEO. The algorithm
    published under that name is another one: :class:`~appliance.meta.algorithms.leo.Leo`.

    Each coordinate's θ, preprocessed gradient g and progress through the descent enter a multilayer perceptron with one
    hidden layer, in place of the paper's LSTM; its outputs (a, d) give θ' = θ − (α eᵃ g + 0.01 d). It starts
    with a = d = 0, which is gradient descent with step size α.

    Parameters
    ----------
    steps, step_size
        How often a task descends; α.
    hidden
        Units of the network.
    first_order
        Take the inner gradients as constants, as that paper does.
    """

    steps: int = 5
    step_size: float = 0.01
    hidden: int = 20
    first_order: bool = False

    def initial(self, params: Params, generator: torch.Generator) -> Params:
        """Start as gradient descent from the network's own parameters."""
        like = next(iter(params.values()))
        first = torch.randn(4, self.hidden, generator=generator, dtype=like.dtype) / math.sqrt(4)
        net = {"first": first, "bias": like.new_zeros(self.hidden), "second": like.new_zeros(self.hidden, 2)}
        return named(MODEL, params) | named(NET, net)

    def adapt(self, meta: Params, support: Examples, noise: Tensor | None = None) -> Params:
        """Let the network descend the support's loss."""
        params = self.model(meta)
        slope = grad(self.learner.mean_loss)
        weighs_anything = (support.weight.sum() > 0).to(support.weight.dtype)
        for step in range(self.steps):
            for name, gradient in slope(params, support).items():
                given = gradient.detach() if self.first_order else gradient
                update = self._update(meta, params[name], given, step / self.steps)
                params[name] = params[name] - weighs_anything * update
        return params

    def _update(self, meta: Params, param: Tensor, gradient: Tensor, progress: float) -> Tensor:
        seen = torch.stack([param, *preprocessed(gradient), torch.full_like(param, progress)], dim=-1)
        hidden = torch.tanh(seen @ meta[NET + "first"] + meta[NET + "bias"])
        gain, direction = (hidden @ meta[NET + "second"]).unbind(-1)
        return self.step_size * gain.exp() * gradient + DIRECTION * direction


def preprocessed(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Tell magnitude and sign of a gradient apart (Andrychowicz et al. 2016, appendix A).

    Returns
    -------
    tuple
        (ln|g| / p, sign g) where |g| ≥ exp(-p), else (-1, exp(p) g); continuous in between.
    """
    floor = math.exp(-MAGNITUDES)
    large = gradient.abs() >= floor
    magnitude = torch.where(large, gradient.abs().clamp_min(floor).log() / MAGNITUDES, -1.0)
    return magnitude, torch.where(large, gradient.sign(), gradient / floor)
