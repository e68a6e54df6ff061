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
    with a = d = 0, which is gradient descent with step size α. What the network sees of a gradient is a constant to the
    outer loop, as in that paper: the derivative of ln|g| is 1/g, beside which all others would be lost.

    Parameters
    ----------
    steps, step_size
        How often a task descends; α.
    hidden
        Units of the network.
    first_order
        Take the g that is multiplied as a constant too.
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
            slopes = slope(params, support)
            gradient = flattened(slopes).detach() if self.first_order else flattened(slopes)
            flat = flattened(params)
            flat = flat - weighs_anything * self._update(meta, flat, gradient, step / self.steps)
            params = shaped(flat, params)
        return params

    def _update(self, meta: Params, param: Tensor, gradient: Tensor, progress: float) -> Tensor:
        seen = torch.stack([param, *preprocessed(gradient.detach()), torch.full_like(param, progress)], dim=-1)
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


def flattened(params: Params) -> Tensor:
    """Lay all parameters end to end [coordinate]."""
    return torch.cat([tensor.flatten() for tensor in params.values()])


def shaped(flat: Tensor, like: Params) -> Params:
    """Cut coordinates [coordinate] into parameters of known names and shapes."""
    pieces = flat.split([tensor.numel() for tensor in like.values()])
    return {name: piece.reshape(like[name].shape) for (name, piece) in zip(like, pieces, strict=True)}
