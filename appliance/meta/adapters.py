"""Heads that descend: the algorithms of `algorithms/`, set up for what a machine's detectors say.

Trained by `adapter_training.py`, asked about one machine at a time by `descend.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from appliance.meta.algorithms.base import Algorithm
from appliance.meta.algorithms.learned_optimizer import LearnedOptimizer
from appliance.meta.algorithms.leo import Leo
from appliance.meta.algorithms.maml import Maml
from appliance.meta.algorithms.reptile import Reptile
from appliance.meta.learning import Learner, Params, learner_of, seeded

METHODS = ("maml", "reptile", "leo", "learned_optimizer")
_HIDDEN = 16
_STEPS, _STEP_SIZE = 10, 0.5
_OUTPUT = ("linear.weight", "linear.bias")


class Bent(nn.Module):
    """What `appliance.detect.head.Bent` is in service: features [..., feature] → log odds of a fault [...].

    Parameters
    ----------
    prior
        [feature] weights of the linear part at the start, where nothing is bent.
    """

    def __init__(self, prior: Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(len(prior), 1)
        self.hidden = nn.Linear(len(prior), _HIDDEN)
        self.bend = nn.Linear(_HIDDEN, 1)
        with torch.no_grad():
            self.linear.weight.copy_(prior[None])
            self.linear.bias.zero_()
            self.bend.weight.zero_()
            self.bend.bias.zero_()

    def forward(self, features: Tensor) -> Tensor:
        """Return the log odds of a fault."""
        odds: Tensor = (self.linear(features) + self.bend(torch.tanh(self.hidden(features))))[..., 0]
        return odds


def cross_entropy(odds: Tensor, is_fault: Tensor) -> Tensor:
    """Return the loss of each example [example]."""
    return binary_cross_entropy_with_logits(odds, is_fault, reduction="none")


def mean_loudness(features: int) -> Tensor:
    """Return the weights [feature] of what judges without labels: features are loudness, then the same by ranks."""
    loudness = torch.arange(features) < features // 2
    return loudness / loudness.sum()


def algorithm(method: str, prior: Tensor, seed: int) -> tuple[Algorithm, Params]:
    """Make a method for heads that start from weights [feature], and the parameters it starts from."""
    features = len(prior)
    with seeded(seed):
        learner, params = learner_of(Bent(prior), cross_entropy, _OUTPUT)
    makers: dict[str, Callable[[Learner], Algorithm]] = {
        "maml": lambda own: Maml(learner=own, steps=_STEPS, step_size=_STEP_SIZE, learned_steps=True),
        "reptile": lambda own: Reptile(learner=own, steps=2 * _STEPS, step_size=_STEP_SIZE, training_steps=2 * _STEPS),
        "leo": lambda own: Leo(
            learner=own,
            feature_size=features + 1,
            features=lambda _, examples: torch.cat([examples.x, examples.y[:, None]], dim=-1),
            groups=lambda is_fault: torch.ones_like(is_fault)[:, None],
            shape=(1, features + 1),
            finetuning_step_size=_STEP_SIZE,
        ),
        "learned_optimizer": lambda own: LearnedOptimizer(learner=own, steps=_STEPS, step_size=_STEP_SIZE),
    }
    return makers[method](learner), params


def untrained(method: str, features: int, seed: int) -> Params:
    """Return meta-parameters before any training: what remains of a method is its descent."""
    made, params = algorithm(method, mean_loudness(features), seed)
    return made.initial(params, torch.Generator().manual_seed(seed))
