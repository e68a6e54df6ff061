"""Prototypical networks: each class's row of the head is read off the mean embedding of its examples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from appliance.meta.algorithms.base import MODEL, Algorithm
from appliance.meta.learning import Examples, Params, named, shares

LOG_SCALE = "prototypes.log_scale"


@dataclass(frozen=True, kw_only=True)
class Prototypes(Algorithm):
    """Prototypical networks (Snell et al. 2017): nothing descends, only the embedding is learned, by the outer loop.

    With c the mean embedding of a class's examples (equation 1 there), the logit −s |f(x) − c|² differs from that of a
    linear head with weight 2 s c and bias −s |c|² by what all classes have in common (equation 8), so the head gets
    these. The scale s is learned too, as in TADAM (Oreshkin et al. 2018, section 3.1): the loss depends on it, the
    nearest prototype does not. A class without examples keeps its row of the start's head.

    Parameters
    ----------
    feature_size
        Numbers in an embedding; the learner's head is a linear layer of weight [class, feature_size] and bias [class].
    features
        Network parameters, examples → embeddings [example, feature_size], which the head takes.
    groups
        Targets → how far each example belongs to each class [example, class].
    scale
        s at the start, times ``feature_size``: so it is one of mean squares.
    """

    feature_size: int
    features: Callable[[Params, Examples], Tensor]
    groups: Callable[[Tensor], Tensor]
    scale: float = 10.0

    def initial(self, params: Params, generator: torch.Generator) -> Params:
        """Start at the network's own parameters."""
        like = next(iter(params.values()))
        return named(MODEL, params) | {LOG_SCALE: like.new_tensor(math.log(self.scale / self.feature_size))}

    def adapt(self, meta: Params, support: Examples, noise: Tensor | None = None) -> Params:
        """Make the head of the prototypes."""
        start, scale = self.model(meta), meta[LOG_SCALE].exp()
        member = self.groups(support.y) * support.weight[:, None]  # (example, class)
        prototypes = shares(member).mT @ self.features(start, support)  # (class, feature)
        weight, bias = self.learner.head
        there = member.sum(0) > 0
        head = {
            weight: torch.where(there[:, None], 2 * scale * prototypes, start[weight]),
            bias: torch.where(there, -scale * prototypes.square().sum(-1), start[bias]),
        }
        return start | head
