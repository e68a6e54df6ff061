"""Few-shot handwritten digits: learn from seven classes how to tell three others apart, from 1 or 5 images of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from appliance.meta.algorithms.base import MODEL, Algorithm
from appliance.meta.algorithms.leo import Leo
from appliance.meta.algorithms.maml import Maml
from appliance.meta.algorithms.prototypes import Prototypes
from appliance.meta.algorithms.reptile import Reptile
from appliance.meta.learning import Episodes, Examples, Learner, Params, learner_of, named, part
from appliance.meta.outer import Schedule
from appliance.meta.sanity.figures import Figure, Watch, figure, train
from appliance.meta.sanity.images import (
    SHOTS,
    TEST_TASKS,
    UNSEEN,
    WAYS,
    ordinary_batch,
    split,
    tasks_of_unseen,
    training_batch,
)

PROBLEM, UNIT = "digits", "accuracy"
CHANNELS = (16, 32)
FEATURES = CHANNELS[-1] * 4 * 4
BODY = "body."
HEAD = ("head.weight", "head.bias")
SPLITS, QUICK_SPLITS = tuple(range(1, len(UNSEEN))), (0,)
"""The quick run has the split on which everything was chosen, the whole run all others."""
QUICK, QUICK_TASKS = 1 / 6, 50
"""Share of the training in a quick run, and tasks that it measures on."""
RATE = 2e-3
PRETRAINED, PRETRAINING_STEPS = "pre-trained", 300


Trained = tuple[Algorithm, Params]
"""What adapts to unseen classes, and the meta-parameters from where."""


class Method(NamedTuple):
    """An algorithm and how it is trained."""

    algorithm: Algorithm
    steps: int
    """Batches of tasks."""
    tasks: int = 4
    """In a batch."""
    pretrained: bool = False
    """Start from the pre-trained body (Meta-Baseline, Chen et al. 2021) and not from a fresh one."""
    at_test: Algorithm | None = None
    """What adapts to classes that were never seen, if other than while training: with few shots more steps help."""


def body() -> nn.Sequential:
    """Two small convolutions, normalised over each image's own channels and not over a batch."""
    first, second = CHANNELS
    return nn.Sequential(
        nn.Conv2d(1, first, 3, padding=1),
        nn.GroupNorm(4, first),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1),
        nn.GroupNorm(4, second),
        nn.ReLU(),
        nn.Flatten(),
    )


def network(outputs: int = WAYS) -> tuple[Learner, Params]:
    """Make a classifier."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential()
        net.add_module("body", body())
        net.add_module("head", nn.Linear(FEATURES, outputs))
    learner, params = learner_of(net, _cross_entropy, HEAD)
    return learner, params | {name: torch.zeros_like(params[name]) for name in HEAD}


def _cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, y, reduction="none")


def methods(learner: Learner) -> dict[str, Method]:
    """Every method by name."""
    maml = Maml(learner=learner, steps=5, step_size=0.03)
    anil = replace(maml, head_only=True, step_size=0.1)
    leo = Leo(
        learner=learner,
        feature_size=FEATURES,
        features=embedding(),
        groups=one_hot,
        shape=(WAYS, FEATURES + 1),
        steps=3,
        step_size=0.1,
        finetuning_steps=5,
        finetuning_step_size=0.03,
    )
    reptile = Reptile(learner=learner, steps=20, step_size=0.1, training_steps=5)
    return {
        "prototypical networks": Method(prototypes(learner), 500, tasks=8),
        f"{PRETRAINED}, then prototypical networks": Method(prototypes(learner), 200, tasks=8, pretrained=True),
        "MAML": Method(maml, 150, at_test=replace(maml, steps=10)),
        "ANIL": Method(anil, 150, at_test=replace(anil, steps=10)),
        "Reptile": Method(reptile, 150),
        "LEO": Method(leo, 150, at_test=replace(leo, finetuning_steps=10)),
    }


def prototypes(learner: Learner) -> Prototypes:
    """Classify by the nearest mean embedding."""
    return Prototypes(learner=learner, feature_size=FEATURES, features=embedding(), groups=one_hot)


def embedding() -> Callable[[Params, Examples], Tensor]:
    """Make the function from a classifier's parameters and images to what its head sees [image, feature]."""
    net = body()

    def features(params: Params, examples: Examples) -> Tensor:
        seen: Tensor = functional_call(net, part(params, BODY), (examples.x,))
        return seen

    return features


def one_hot(y: Tensor) -> Tensor:
    """Turn classes [image] into how far each image belongs to each class [image, class]."""
    return nn.functional.one_hot(y, WAYS).float()


def total_steps(quick: bool) -> int:
    """Return how many batches :func:`measure` trains on."""
    each = [PRETRAINING_STEPS, *(method.steps for method in methods(network()[0]).values())]
    share, splits = (QUICK, QUICK_SPLITS) if quick else (1, SPLITS)
    return len(splits) * sum(round(share * steps) for steps in each)


def measure(watch: Watch, quick: bool = False) -> Iterator[Figure]:
    """Train every method on each split's seven classes, once for both numbers of shots, and measure it on the others.

    ``quick`` trains on the split of choice alone, and a sixth as long.
    """
    share, splits, tasks = (QUICK, QUICK_SPLITS, QUICK_TASKS) if quick else (1, SPLITS, TEST_TASKS)
    found: dict[tuple[str, int], list[float]] = {}
    for number in splits:
        known, unseen = split(number)
        body_trained = pretrained(known, share, watch)
        runs = baselines(body_trained) | trained(known, body_trained, share, watch)
        for shots in SHOTS:
            test = tasks_of_unseen(unseen, shots, tasks)
            found.setdefault(("prototypes of pixels", shots), []).append(accuracy(nearest(test), test.query.y))
            for name, (algorithm, meta) in runs.items():
                outputs = algorithm.predict(meta, test.support, test.query.x)
                found.setdefault((name, shots), []).append(accuracy(outputs, test.query.y))
    for (name, shots), values in found.items():
        yield figure(PROBLEM, UNIT, name, shots, values)


def pretrained(known: list[Tensor], share: float, watch: Watch) -> Params:
    """Train an ordinary classifier of all known classes, without meta-learning, and return its body with a new head."""
    ordinary, fresh = network(len(known))
    schedule = Schedule(steps=round(PRETRAINING_STEPS * share), rate=RATE)
    sample = partial(ordinary_batch, known=known)
    meta = train(Maml(learner=ordinary, steps=0), fresh, sample, schedule, watch, PRETRAINED)
    return network()[1] | named(BODY, part(meta, MODEL + BODY))


def baselines(body_trained: Params) -> dict[str, Trained]:
    """Return what does without meta-learning: the same body, untrained or trained to tell all known classes apart."""
    learner, fresh = network()
    nearest_mean, descent = prototypes(learner), Maml(learner=learner, steps=20, step_size=0.03)

    def start(algorithm: Algorithm, params: Params) -> Trained:
        return algorithm, algorithm.initial(params, torch.Generator())

    return {
        "untrained, prototypes": start(nearest_mean, fresh),
        "untrained, fine-tuned": start(descent, fresh),
        f"{PRETRAINED}, prototypes": start(nearest_mean, body_trained),
        f"{PRETRAINED}, fine-tuned": start(descent, body_trained),
    }


def trained(known: list[Tensor], body_trained: Params, share: float, watch: Watch) -> dict[str, Trained]:
    """Train every method."""
    learner, fresh = network()
    runs: dict[str, Trained] = {}
    for name, method in methods(learner).items():
        schedule = Schedule(steps=round(method.steps * share), rate=RATE)
        sample = partial(training_batch, known=known, tasks=method.tasks)
        start = body_trained if method.pretrained else fresh
        runs[name] = method.at_test or method.algorithm, train(method.algorithm, start, sample, schedule, watch, name)
    return runs


def accuracy(outputs: Tensor, y: Tensor) -> float:
    """Return the share of images whose largest output [..., class] is their class [...]."""
    return float((outputs.argmax(-1) == y).float().mean())


def nearest(tasks: Episodes) -> Tensor:
    """Return minus the distance [task, image, class] of each pixel image to each class's mean (Snell et al. 2017)."""
    support, weight = tasks.support.x.flatten(2).unflatten(1, (WAYS, -1)), tasks.support.weight.unflatten(1, (WAYS, -1))
    prototypes = torch.einsum("tcnp,tcn->tcp", support, weight) / weight.sum(2, keepdim=True)
    return -torch.cdist(tasks.query.x.flatten(2), prototypes)
