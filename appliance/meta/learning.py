"""What one task is made of: examples, episodes, and a learner without state that works under ``torch.func``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

Params = dict[str, Tensor]
"""Named tensors: the parameters of a network, or all that an outer loop learns."""


class Examples(NamedTuple):
    """Examples of one task; of several tasks where every tensor has the task as its first dimension."""

    x: Tensor
    """[example, ...]."""
    y: Tensor
    """[example, ...]: whatever the learner's loss compares its outputs with."""
    weight: Tensor
    """[example], not negative. What weighs 0 changes nothing: it fills the shorter tasks of a batch up."""


class Episodes(NamedTuple):
    """Tasks to learn from: adapt to the support, be judged on the query; the task is every tensor's first dimension."""

    support: Examples
    query: Examples


@dataclass(frozen=True)
class Learner:
    """A network as a function of its parameters, and what it should do.

    Parameters
    ----------
    apply
        Parameters, inputs [example, ...] → outputs [example, ...]. Pure: no recurrent layers and no running statistics,
        which second derivatives under ``vmap`` do not bear.
    loss
        Outputs, targets → loss of each example [example].
    head
        Names of the final layer's parameters, each with one row per output: what methods adapt that leave the body be.
    """

    apply: Callable[[Params, Tensor], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]
    head: tuple[str, ...] = ()

    def mean_loss(self, params: Params, examples: Examples) -> Tensor:
        """Average the loss over one task's examples by their weights; 0 where nothing weighs anything."""
        losses = self.loss(self.apply(params, examples.x), examples.y)
        total = examples.weight.sum()
        return (examples.weight * losses).sum() / torch.where(total > 0, total, 1.0)


def learner_of(
    module: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], head: tuple[str, ...] = ()
) -> tuple[Learner, Params]:
    """Make a learner of a module, and its parameters as they are."""

    def apply(params: Params, x: Tensor) -> Tensor:
        outputs: Tensor = functional_call(module, params, (x,))
        return outputs

    return Learner(apply, loss, head), {name: tensor.detach().clone() for name, tensor in module.named_parameters()}


def named(prefix: str, params: Mapping[str, Tensor]) -> Params:
    """Put a prefix before every name.

    Examples
    --------
    >>> part(named("model.", {"bias": torch.zeros(1)}), "model.")
    {'bias': tensor([0.])}
    """
    return {prefix + name: tensor for name, tensor in params.items()}


def part(params: Mapping[str, Tensor], prefix: str) -> Params:
    """Return what has a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in params.items() if name.startswith(prefix)}


def shares(weight: Tensor) -> Tensor:
    """Divide weights [example, ...] by their sum over examples; all 0 where that is 0."""
    total = weight.sum(0)
    return weight / torch.where(total > 0, total, 1.0)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw all that torch draws from a seed, and leave its own generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
