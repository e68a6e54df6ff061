"""Sine waves of unknown amplitude and phase from 5 or 10 points: the regression of the MAML paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from appliance.meta.algorithms.base import Algorithm
from appliance.meta.algorithms.learned_optimizer import LearnedOptimizer
from appliance.meta.algorithms.leo import Leo
from appliance.meta.algorithms.maml import Maml
from appliance.meta.algorithms.reptile import Reptile
from appliance.meta.learning import Episodes, Examples, Learner, Params, learner_of
from appliance.meta.outer import Schedule
from appliance.meta.sanity.figures import Figure, Watch, figure, train

PROBLEM, UNIT = "sinusoid", "mean squared error"
AMPLITUDE, PHASE, X = (0.1, 5.0), (0.0, torch.pi), (-5.0, 5.0)
"""As in section 5.1 of Finn et al. 2017, from where the network, 40-40 with ReLU, and the step size 0.01 are too."""
TASKS, TEST_TASKS, TEST_POINTS = 25, 600, 100
LEARNED_OPTIMIZER_TASKS = 8
"""Its network runs once for every parameter of every task; fewer tasks buy it more steps."""
SHOTS = (5, 10)
RATE = 3e-3
ORACLE_STEPS = 3000
QUICK = 1 / 8
"""Share of the training in a quick run."""
TEST_SEED = 2**31
PRETRAINED = "pre-trained, fine-tuned"


class Method(NamedTuple):
    """An algorithm and how it is trained."""

    algorithm: Algorithm
    steps: int
    """Batches of tasks."""
    variants: tuple[int, ...] = ()
    """Numbers of inner steps that the trained method is tried with; its own if empty."""
    tasks: int = TASKS
    published: str = ""
    """Mean and 95 % interval at 5 points in table 1 of Li et al. 2017; the other papers draw curves."""


def draw(generator: torch.Generator, shots: int, points: int, tasks: int, tell: bool = False) -> Episodes:
    """Draw tasks with so many points in the support and in the query; ``tell`` adds amplitude and phase to x."""

    def uniform(limits: tuple[float, float], *size: int) -> Tensor:
        return limits[0] + (limits[1] - limits[0]) * torch.rand(*size, generator=generator)

    amplitude, phase = uniform(AMPLITUDE, tasks, 1, 1), uniform(PHASE, tasks, 1, 1)
    x = uniform(X, tasks, shots + points, 1)
    y = amplitude * torch.sin(x - phase)
    if tell:
        x = torch.cat([x, amplitude.expand_as(x), phase.expand_as(x)], -1)
    parts = [
        Examples(x[:, part], y[:, part], torch.ones_like(y[:, part, 0])) for part in (slice(shots), slice(shots, None))
    ]
    return Episodes(*parts)


def network(inputs: int = 1) -> tuple[Learner, Params]:
    """Make the paper's network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(inputs, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
    return learner_of(net, _squared_error, ("4.weight", "4.bias"))


def _squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs - y).square().squeeze(-1)


def leo(learner: Learner, params: Params) -> Leo:
    """Decode the whole network from one code for all points, as the LEO paper does for regression (section 4.1)."""
    return Leo(
        learner=learner,
        feature_size=2,
        features=lambda _, examples: torch.cat([examples.x, examples.y], -1),
        groups=torch.ones_like,
        shape=(1, sum(tensor.numel() for tensor in params.values())),
        decoded=tuple(params),
        steps=2,
        step_size=0.1,
        finetuning_steps=1,
        finetuning_step_size=0.01,
    )


def methods(learner: Learner, params: Params) -> dict[str, Method]:
    """Every method by name."""
    maml = Maml(learner=learner)
    optimizer = LearnedOptimizer(learner=learner, hidden=8)
    return {
        PRETRAINED: Method(replace(maml, steps=0), 2000, variants=(1, 10)),
        "MAML": Method(maml, 3000, variants=(1, 10), published="1.13 ± 0.18 (1 step)"),
        "MAML, first order": Method(replace(maml, first_order=True), 2000, variants=(1, 10)),
        "Meta-SGD": Method(replace(maml, learned_steps=True), 3000, variants=(1,), published="0.90 ± 0.16"),
        "Reptile": Method(Reptile(learner=learner, training_steps=10), 1500, variants=(10, 32)),
        "LEO": Method(leo(learner, params), 800),
        "learned optimiser": Method(optimizer, 2000, variants=(5,), tasks=LEARNED_OPTIMIZER_TASKS),
    }


def total_steps(quick: bool) -> int:
    """Return how many batches :func:`measure` trains on."""
    steps = [method.steps for method in methods(*network()).values()]
    return round((sum(steps) + ORACLE_STEPS) * (QUICK if quick else len(SHOTS)))


def measure(watch: Watch, quick: bool = False) -> Iterator[Figure]:
    """Train every method for 5 and for 10 points, and measure it on 600 tasks that training never saw.

    ``quick`` trains for 10 points alone, and an eighth as long.
    """
    for shots in SHOTS[1:] if quick else SHOTS:
        test = draw(torch.Generator().manual_seed(TEST_SEED), shots, TEST_POINTS, TEST_TASKS)
        learner, params = network()
        for name, method in methods(learner, params).items():
            sample = partial(draw, shots=shots, points=shots, tasks=method.tasks)
            schedule = Schedule(steps=round(method.steps * (QUICK if quick else 1)), rate=RATE)
            meta = train(method.algorithm, params, sample, schedule, watch, name)
            for steps in method.variants or (None,):
                algorithm = method.algorithm if steps is None else replace(method.algorithm, steps=steps)  # type: ignore[call-arg]
                label = name if steps is None else f"{name}, {steps} step{'s' * (steps > 1)}"
                outputs = algorithm.predict(meta, test.support, test.query.x)
                errors = (outputs - test.query.y).square().mean((1, 2))
                yield figure(PROBLEM, UNIT, label, shots, errors, method.published if shots == 5 and steps == 1 else "")
        yield _oracle(shots, watch, quick)


def _oracle(shots: int, watch: Watch, quick: bool) -> Figure:
    """Measure a network of the same size that is told amplitude and phase."""
    learner, params = network(inputs=3)
    algorithm = Maml(learner=learner, steps=0)
    schedule = Schedule(steps=round(ORACLE_STEPS * (QUICK if quick else 1)), rate=RATE)
    sample = partial(draw, shots=shots, points=shots, tasks=TASKS, tell=True)
    meta = train(algorithm, params, sample, schedule, watch, "oracle")
    test = draw(torch.Generator().manual_seed(TEST_SEED), shots, TEST_POINTS, TEST_TASKS, tell=True)
    errors = (algorithm.predict(meta, test.support, test.query.x) - test.query.y).square().mean((1, 2))
    return figure(PROBLEM, UNIT, "oracle: told amplitude and phase", shots, errors)
