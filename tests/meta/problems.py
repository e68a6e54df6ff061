"""Small problems in double precision, and derivatives by differences, for the tests of meta-learning."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from appliance.meta.algorithms.base import Algorithm
from appliance.meta.algorithms.learned_optimizer import LearnedOptimizer
from appliance.meta.algorithms.leo import Leo
from appliance.meta.algorithms.maml import Maml
from appliance.meta.algorithms.prototypes import Prototypes
from appliance.meta.algorithms.reptile import Reptile
from appliance.meta.learning import Episodes, Examples, Learner, Params, learner_of

FEATURES, CLASSES = 3, 2
HEAD = ("2.weight", "2.bias")


def network() -> nn.Sequential:
    """Smooth, so that differences come close to derivatives."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return nn.Sequential(nn.Linear(FEATURES, 4), nn.Tanh(), nn.Linear(4, CLASSES)).double()


def cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, y, reduction="none")


def learner() -> tuple[Learner, Params]:
    return learner_of(network(), cross_entropy, HEAD)


def leo() -> Leo:
    return Leo(
        learner=learner()[0],
        feature_size=FEATURES,
        features=lambda _, examples: examples.x,
        groups=lambda y: nn.functional.one_hot(y, CLASSES).double(),
        shape=(CLASSES, 5),
        latents=3,
        steps=2,
        step_size=0.3,
        finetuning_steps=2,
        finetuning_step_size=0.1,
    )


def prototypes() -> Prototypes:
    hidden = network()[:2]

    def features(params: Params, examples: Examples) -> Tensor:
        embedded: Tensor = functional_call(
            hidden, {name: t for name, t in params.items() if name not in HEAD}, (examples.x,)
        )
        return embedded

    return Prototypes(
        learner=learner()[0],
        feature_size=4,
        features=features,
        groups=lambda y: nn.functional.one_hot(y, CLASSES).double(),
    )


def algorithms() -> dict[str, Algorithm]:
    about = learner()[0]
    return {
        "maml": Maml(learner=about, steps=2, step_size=0.3),
        "first_order": Maml(learner=about, steps=2, step_size=0.3, first_order=True),
        "anil": Maml(learner=about, steps=2, step_size=0.3, head_only=True),
        "meta_sgd": Maml(learner=about, steps=2, step_size=0.3, learned_steps=True),
        "reptile": Reptile(learner=about, steps=3, step_size=0.2, training_steps=3),
        "leo": leo(),
        "prototypes": prototypes(),
        "learned_optimizer": LearnedOptimizer(learner=about, steps=2, step_size=0.3, hidden=4),
    }


def episodes(generator: torch.Generator, tasks: int = 4, n: int = 6) -> Episodes:
    """Tasks that differ in which side of which plane is which class; the weights differ too."""

    def draw() -> Examples:
        x = torch.randn(tasks, n, FEATURES, generator=generator, dtype=torch.float64)
        y = ((x * planes).sum(-1) > 0).long()
        return Examples(x, y, torch.rand(tasks, n, generator=generator, dtype=torch.float64) + 0.5)

    planes = torch.randn(tasks, 1, FEATURES, generator=generator, dtype=torch.float64)
    return Episodes(draw(), draw())


def task(seed: int = 0) -> tuple[Examples, Examples]:
    """One task's support and query."""
    support, query = episodes(torch.Generator().manual_seed(seed), tasks=1)
    return Examples(*(t[0] for t in support)), Examples(*(t[0] for t in query))


def trained(algorithm: Algorithm) -> Params:
    """Return meta-parameters somewhere, not at the start where many derivatives are 0."""
    generator = torch.Generator().manual_seed(3)
    meta = algorithm.initial(learner()[1], generator)
    return {
        name: t + 0.2 * torch.randn(t.shape, generator=generator, dtype=t.dtype) for name, t in sorted(meta.items())
    }


def differences(function: Callable[[Params], Tensor], at: Params, step: float = 1e-5) -> Params:
    """Return the gradient by central differences, one number at a time."""
    gradient = {name: torch.zeros_like(t) for name, t in at.items()}
    for name, tensor in at.items():
        for i in range(tensor.numel()):
            sides = []
            for sign in (1, -1):
                moved = tensor.clone()
                moved.view(-1)[i] += sign * step
                sides.append(function(at | {name: moved}))
            gradient[name].view(-1)[i] = (sides[0] - sides[1]) / (2 * step)
    return gradient


def furthest(left: Params, right: Params) -> float:
    """Return the largest difference between two sets of parameters that have the same names."""
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)
