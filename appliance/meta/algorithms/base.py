"""What every meta-learning algorithm is: meta-parameters and a support set → parameters for one task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from appliance.meta.learning import Episodes, Examples, Learner, Params, part

MODEL = "model."
"""Prefix of the meta-parameters that are the network's own, at the point from which every task starts."""


@dataclass(frozen=True, kw_only=True)
class Algorithm(ABC):
    """Learns meta-parameters over many tasks such that few examples of another suffice.

    It holds settings and no tensors: what is learned is handed in and out as named tensors. Of :meth:`adapt` there is
    one, for training, evaluation and service. With no example that weighs anything it returns the start unchanged.
    """

    learner: Learner

    @abstractmethod
    def initial(self, params: Params, generator: torch.Generator) -> Params:
        """Make the meta-parameters before any training, from a network's fresh parameters."""

    @abstractmethod
    def adapt(self, meta: Params, support: Examples, noise: Tensor | None = None) -> Params:
        """Adapt to one task.

        Parameters
        ----------
        meta
            Meta-parameters.
        support
            One task's examples. Their order does not matter.
        noise
            Standard normal [noise_size] for algorithms that draw while they train; ``None`` takes the mean instead.

        Returns
        -------
        Params
            All of the network's parameters, for this task; differentiable with respect to ``meta`` and ``noise``.
        """

    @property
    def noise_size(self) -> int:
        """How many standard normal numbers a task draws."""
        return 0

    def task_loss(self, meta: Params, support: Examples, query: Examples, noise: Tensor) -> Tensor:
        """Return the loss [] that the outer loop minimises, of one task."""
        return self.learner.mean_loss(self.adapt(meta, support, noise), query)

    def penalty(self, meta: Params) -> Tensor:
        """Return what meta-parameters cost whatever the tasks are []."""
        return torch.zeros((), dtype=next(iter(meta.values())).dtype)

    def meta_gradient(self, meta: Params, episodes: Episodes, generator: torch.Generator) -> tuple[Params, Tensor]:
        """Return what an optimiser of the meta-parameters should follow, and the loss [], for a batch of tasks."""
        noise = self.draw(episodes, generator)

        def loss(meta: Params) -> Tensor:
            each = vmap(self.task_loss, in_dims=(None, 0, 0, 0))(meta, *episodes, noise)
            return each.mean() + self.penalty(meta)

        gradient, value = grad_and_value(loss)(meta)
        return gradient, value

    def draw(self, episodes: Episodes, generator: torch.Generator) -> Tensor:
        """Draw every task's noise [task, noise_size]."""
        x = episodes.support.weight
        return torch.randn(len(x), self.noise_size, generator=generator, dtype=x.dtype)

    def adapt_all(self, meta: Params, support: Examples) -> Params:
        """Adapt to a batch of tasks; every parameter gets the task as its first dimension."""
        with torch.no_grad():  # derivatives of the adapted parameters are not wanted; those inside are still taken
            adapted: Params = vmap(self.adapt, in_dims=(None, 0))(meta, support)
        return adapted

    def predict(self, meta: Params, support: Examples, x: Tensor) -> Tensor:
        """Adapt to a batch of tasks, and return outputs [task, example, ...] for inputs [task, example, ...]."""
        with torch.no_grad():
            outputs: Tensor = vmap(self.learner.apply)(self.adapt_all(meta, support), x)
        return outputs

    def model(self, meta: Params) -> Params:
        """Return the network's own parameters among the meta-parameters."""
        return part(meta, MODEL)
