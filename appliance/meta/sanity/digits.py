"""Few-shot handwritten digits: learn from seven classes how to tell three others apart, from 1 or 5 images of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.func import functional_call

from appliance.meta.algorithms.base import MODEL, Algorithm
from appliance.meta.algorithms.leo import Leo
from appliance.meta.algorithms.maml import Maml
from appliance.meta.algorithms.reptile import Reptile
from appliance.meta.learning import Episodes, Examples, Learner, Params, learner_of, named
from appliance.meta.outer import Schedule
from appliance.meta.sanity.figures import Figure, Watch, figure, train

PROBLEM, UNIT = "digits", "accuracy"
WAYS = 3
SHOTS = (1, 5)
WIDTH = 128
TASKS, QUERIES, TEST_TASKS = 8, 10, 200
"""Tasks in a batch; images of each class to be judged on; tasks of each split that a method is measured on."""
SPLITS, QUICK_SPLITS = 10, 1
QUICK = 1 / 2
"""Share of the training in a quick run."""
HEAD = ("4.weight", "4.bias")
TEST_SEED = 2**31
PRETRAINED, PRETRAINING_STEPS = "pre-trained, fine-tuned", 200


class Split(NamedTuple):
    """Images [image, 1, 8, 8] of seven classes to learn from and of three that training never sees."""

    known: list[Tensor]
    unseen: list[Tensor]


class Method(NamedTuple):
    """An algorithm and how it is trained."""

    algorithm: Algorithm
    steps: int
    """Batches of tasks."""
    test_steps: int
    """Inner steps for a class that was never seen; training uses the algorithm's own."""
    rate: float = 2e-3


@cache
def images() -> tuple[Tensor, ...]:
    """Return the images of each digit [image, 1, 8, 8], from 0 to 1."""
    digits = load_digits()
    x = torch.from_numpy(digits.images).float()[:, None] / 16
    target = torch.from_numpy(digits.target)
    return tuple(x[target == digit] for digit in range(10))


def split(number: int) -> Split:
    """Keep three neighbouring digits back: over ten splits each digit as often as any other."""
    unseen = [(number + next_one) % 10 for next_one in range(WAYS)]
    return Split([x for digit, x in enumerate(images()) if digit not in unseen], [images()[digit] for digit in unseen])


def bent(x: Tensor, generator: torch.Generator) -> Tensor:
    """Turn, stretch, shear and mirror each task's images [task, class, image, 1, 8, 8] in a way of its own."""
    tasks, per_task = len(x), x.shape[1] * x.shape[2]
    angle = torch.rand(tasks, generator=generator) * 2 * torch.pi
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).reshape(-1, 2, 2)
    stretch = torch.diag_embed(0.7 + 0.6 * torch.rand(tasks, 2, generator=generator))
    stretch[:, 0, 0] *= torch.randint(2, (tasks,), generator=generator) * 2 - 1
    stretch[:, 0, 1] = 0.8 * (torch.rand(tasks, generator=generator) - 0.5)
    maps = torch.cat([turn @ stretch, torch.zeros(tasks, 2, 1)], -1).repeat_interleave(per_task, 0)
    grid = nn.functional.affine_grid(maps, [len(maps), 1, 8, 8], align_corners=False)
    moved: Tensor = nn.functional.grid_sample(x.flatten(0, 2), grid, align_corners=False)
    return moved.reshape(x.shape)


def draw(generator: torch.Generator, classes: list[Tensor], tasks: int) -> Tensor:
    """Draw images [task, class, image, 1, 8, 8] of some classes for each task, in an order of its own."""
    drawn = []
    for _ in range(tasks):
        for digit in torch.randperm(len(classes), generator=generator)[:WAYS].tolist():
            chosen = torch.randperm(len(classes[digit]), generator=generator)[: max(SHOTS) + QUERIES]
            drawn.append(classes[digit][chosen])
    return torch.stack(drawn).reshape(tasks, WAYS, -1, 1, 8, 8)


def episodes(x: Tensor, shots: Tensor) -> Episodes:
    """Part images [task, class, image, 1, 8, 8] into support and query.

    A task with fewer shots [task] than others has as many images as they, of which the last ones weigh nothing.
    """
    most = max(SHOTS)
    counts = (torch.arange(most) < shots[:, None, None]).float().expand(-1, WAYS, -1)

    def examples(x: Tensor, weight: Tensor) -> Examples:
        y = torch.arange(WAYS)[:, None].expand(weight.shape)
        return Examples(x.flatten(1, 2), y.flatten(1), weight.flatten(1))

    query = x[:, :, most:]
    return Episodes(examples(x[:, :, :most], counts), examples(query, torch.ones(query.shape[:3])))


def training_batch(generator: torch.Generator, known: list[Tensor]) -> Episodes:
    """Draw tasks of either number of shots."""
    shots = torch.tensor(SHOTS)[torch.randint(len(SHOTS), (TASKS,), generator=generator)]
    return episodes(bent(draw(generator, known, TASKS), generator), shots)


def tasks_of_unseen(unseen: list[Tensor], shots: int) -> Episodes:
    """Draw the tasks that methods are compared on."""
    x = draw(torch.Generator().manual_seed(TEST_SEED), unseen, TEST_TASKS)
    return episodes(x, torch.full((TEST_TASKS,), shots))


def body() -> list[nn.Module]:
    """One hidden layer, normalised over its own units and not over a batch."""
    return [nn.Flatten(), nn.Linear(64, WIDTH), nn.LayerNorm(WIDTH), nn.ReLU()]


def network(outputs: int = WAYS) -> tuple[Learner, Params]:
    """Make a classifier."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return learner_of(nn.Sequential(*body(), nn.Linear(WIDTH, outputs)), _cross_entropy, HEAD)


def _cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, y, reduction="none")


def methods(learner: Learner) -> dict[str, Method]:
    """Every method by name."""
    hidden = nn.Sequential(*body())

    def features(params: Params, examples: Examples) -> Tensor:
        seen: Tensor = functional_call(hidden, {n: params[n] for n in params if n not in HEAD}, (examples.x,))
        return seen

    maml = Maml(learner=learner, steps=5, step_size=0.3)
    leo = Leo(
        learner=learner,
        feature_size=WIDTH,
        features=features,
        groups=lambda y: nn.functional.one_hot(y, WAYS).float(),
        shape=(WAYS, WIDTH + 1),
        steps=3,
        finetuning_steps=3,
        finetuning_step_size=0.1,
    )
    return {
        "MAML": Method(maml, 200, 30),
        "ANIL": Method(replace(maml, head_only=True, step_size=0.5), 200, 30),
        "Reptile": Method(Reptile(learner=learner, steps=30, step_size=0.1, training_steps=10), 200, 30),
        "LEO": Method(leo, 200, 3),
    }


def total_steps(quick: bool) -> int:
    """Return how many batches :func:`measure` trains on."""
    each = sum(method.steps for method in methods(network()[0]).values()) + PRETRAINING_STEPS
    return round(each * (QUICK * QUICK_SPLITS if quick else SPLITS))


def measure(watch: Watch, quick: bool = False) -> Iterator[Figure]:
    """Train every method on each split's seven classes, once for both numbers of shots, and measure it on the others.

    ``quick`` trains on one split, and half as long.
    """
    share, splits = (QUICK, QUICK_SPLITS) if quick else (1.0, SPLITS)
    found: dict[tuple[str, int], list[float]] = {}
    for number in range(splits):
        known, unseen = split(number)
        for shots in SHOTS:
            test = tasks_of_unseen(unseen, shots)
            found.setdefault(("prototypes of pixels", shots), []).append(accuracy(nearest(test), test.query.y))
        learner, params = network()
        runs: dict[str, tuple[Algorithm, Params]] = {}
        runs[PRETRAINED] = (Maml(learner=learner, steps=30, step_size=0.3), _pretrained(known, share, watch))
        for name, method in methods(learner).items():
            schedule = Schedule(steps=round(method.steps * share), rate=method.rate)
            meta = train(method.algorithm, params, partial(training_batch, known=known), schedule, watch, name)
            runs[name] = replace(method.algorithm, steps=method.test_steps), meta  # type: ignore[call-arg]
        for name, (algorithm, meta) in runs.items():
            for shots in SHOTS:
                test = tasks_of_unseen(unseen, shots)
                outputs = algorithm.predict(meta, test.support, test.query.x)
                found.setdefault((name, shots), []).append(accuracy(outputs, test.query.y))
    for (name, shots), values in found.items():
        yield figure(PROBLEM, UNIT, name, shots, values)


def accuracy(outputs: Tensor, y: Tensor) -> float:
    """Return the share of images whose largest output [..., class] is their class [...]."""
    return float((outputs.argmax(-1) == y).float().mean())


def nearest(tasks: Episodes) -> Tensor:
    """Return minus the distance [task, image, class] of each pixel image to each class's mean (Snell et al. 2017)."""
    support, weight = tasks.support.x.flatten(2).unflatten(1, (WAYS, -1)), tasks.support.weight.unflatten(1, (WAYS, -1))
    prototypes = torch.einsum("tcnp,tcn->tcp", support, weight) / weight.sum(2, keepdim=True)
    return -torch.cdist(tasks.query.x.flatten(2), prototypes)


def _pretrained(known: list[Tensor], share: float, watch: Watch) -> Params:
    """Train an ordinary classifier of the known classes, without meta-learning; its head starts anew at 0."""
    learner, params = network(len(known))

    def batch(generator: torch.Generator) -> Episodes:
        chosen = [x[torch.randint(len(x), (QUERIES,), generator=generator)] for x in known]
        y = torch.arange(len(known)).repeat_interleave(QUERIES)
        each = Examples(torch.cat(chosen)[None], y[None], torch.ones(1, len(y)))
        return Episodes(each, each)

    schedule = Schedule(steps=round(PRETRAINING_STEPS * share), rate=2e-3)
    trained = train(Maml(learner=learner, steps=0), params, batch, schedule, watch, PRETRAINED)
    return trained | named(MODEL, {HEAD[0]: torch.zeros(WAYS, WIDTH), HEAD[1]: torch.zeros(WAYS)})
