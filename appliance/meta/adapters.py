"""Gradient-adapted heads: the algorithms of `algorithms/` on the features of a trained encoder, over the same episodes.

::

    Episodes ─ features of the prior (frozen) ─ batches of tasks ─ OuterLoop ─ meta-parameters
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from appliance.evaluation.metrics import auc_pr
from appliance.meta import checkpoint
from appliance.meta.algorithms.base import Algorithm
from appliance.meta.algorithms.learned_optimizer import LearnedOptimizer
from appliance.meta.algorithms.leo import Leo
from appliance.meta.algorithms.maml import Maml
from appliance.meta.algorithms.reptile import Reptile
from appliance.meta.episodes import Episode, Episodes
from appliance.meta.learning import Episodes as Tasks
from appliance.meta.learning import Examples, Learner, Params, learner_of
from appliance.meta.outer import OuterLoop, Schedule
from appliance.meta.train import EncoderAndRidge, TrainingOptions, seeded

_HIDDEN = 16
_PATIENCE = 10
"""Validations; there is less to learn than in an encoder."""
_STEPS, _STEP_SIZE = 5, 0.1
_OUTPUT = ("linear.weight", "linear.bias")


class Bent(nn.Module):
    """The prior's linear score plus what a small hidden layer bends of it: features [..., feature] → log odds [...]."""

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


def algorithm(method: str, prior: Tensor, seed: int) -> tuple[Algorithm, Params]:
    """Make a method for heads on a prior's features, and the parameters it starts from."""
    with seeded(seed):
        learner, params = learner_of(Bent(prior), cross_entropy, _OUTPUT)
    makers: dict[str, Callable[[Learner], Algorithm]] = {
        "maml": lambda own: Maml(learner=own, steps=_STEPS, step_size=_STEP_SIZE, learned_steps=True),
        "reptile": lambda own: Reptile(learner=own, steps=_STEPS, step_size=_STEP_SIZE, training_steps=_STEPS),
        "leo": lambda own: Leo(
            learner=own,
            feature_size=len(prior) + 1,
            features=lambda _, examples: torch.cat([examples.x, examples.y[:, None]], dim=-1),
            groups=lambda is_fault: torch.ones_like(is_fault)[:, None],
            shape=(1, len(prior) + 1),
        ),
        "learned_optimizer": lambda own: LearnedOptimizer(learner=own, steps=_STEPS, step_size=_STEP_SIZE),
    }
    return makers[method](learner), params


class AdapterTraining:
    """Trains meta-parameters of a method on a prior's features; resumable, stopped early by held-out machines.

    Parameters
    ----------
    options
        Method, seed and how long; the rest belongs to the prior.
    model
        The prior: it stays as it is.
    """

    def __init__(
        self, options: TrainingOptions, model: EncoderAndRidge, episodes: Episodes, validation: Episodes
    ) -> None:
        made, params = algorithm(options.method, model.head.prior.detach(), options.seed)
        known = [task_of(model, validation[number]) for number in range(options.validation_episodes)]
        self.record = asdict(options)
        self.curve: list[tuple[int, float, float]] = []
        """Step, loss and average precision on held-out machines."""
        self._every = options.validate_every

        def sample(generator: torch.Generator) -> Tasks:
            numbers = torch.randint(2**31, (options.batch,), generator=generator).tolist()
            return stacked([task_of(model, episodes[number]) for number in numbers])

        def missed(meta: Params) -> float:
            self._held_out = float(np.nanmean([precision(made, meta, *task) for task in known]))
            return 1.0 - self._held_out

        patience = min(options.patience, _PATIENCE)
        schedule = Schedule(
            steps=options.steps, rate=options.rate, validate_every=options.validate_every, patience=patience
        )
        self._loop = OuterLoop(made, params, sample, schedule, missed, options.seed)
        self._held_out = 0.0
        self.step = 0

    @property
    def best_step(self) -> int | None:
        """Step of the meta-parameters that are kept."""
        return max(self.curve, key=lambda point: point[2])[0] if self.curve else None

    def run(self, report: Callable[[int, float, float], None], stepped: Callable[[], None] = lambda: None) -> Params:
        """Go on until finished; return what did best on the held-out machines."""

        def progress(step: int, loss: float) -> None:
            self.step = step
            if step % self._every == 0:
                self.curve.append((step, round(loss, 4), round(self._held_out, 4)))
                report(*self.curve[-1])
            stepped()

        return self._loop.run(progress)

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        checkpoint.write(path, self._loop.snapshot(), self.record, {"curve": self.curve})

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; raises `TrainingError` as `Training.resume` does."""
        tensors, progress = checkpoint.read(path, self.record)
        self.curve = [(step, loss, area) for step, loss, area in progress["curve"]]
        self.step = self.curve[-1][0]
        self._loop.restore(tensors)


def precision(made: Algorithm, meta: Params, support: Examples, query: Examples) -> float:
    """Average precision of one task's query."""
    with torch.no_grad():
        odds = made.learner.apply(made.adapt(meta, support), query.x)
    return auc_pr(odds.double().numpy(), query.y.numpy() > 0)


@torch.no_grad()
def task_of(model: EncoderAndRidge, episode: Episode) -> tuple[Examples, Examples]:
    """Turn an episode into examples: features, labels, and weights that sum to 1, faults and others half each."""
    features = model.features(episode)
    weights = torch.from_numpy(episode.support_weight).float()
    support = _examples(features[episode.support], episode.support_is_fault, weights)
    return support, _examples(features[episode.query], episode.query_is_fault, torch.ones(len(episode.query)))


def _examples(features: Tensor, is_fault: np.ndarray[tuple[int], np.dtype[np.bool_]], weight: Tensor) -> Examples:
    y = torch.from_numpy(is_fault).float()
    return Examples(features, y, balanced(y, weight))


def balanced(is_fault: Tensor, weight: Tensor) -> Tensor:
    """Scale weights [example] so that faults and others sum to a half each."""
    halves = [weight * side / (2.0 * (weight * side).sum().clamp_min(1e-9)) for side in (is_fault, 1.0 - is_fault)]
    return halves[0] + halves[1]


def stacked(tasks: Sequence[tuple[Examples, Examples]]) -> Tasks:
    """Make one batch of tasks of different sizes: the shorter are filled up with examples of weight 0."""
    return Tasks(*(Examples(*map(_padded, zip(*side, strict=True))) for side in zip(*tasks, strict=True)))


def _padded(tensors: Sequence[Tensor]) -> Tensor:
    return nn.utils.rnn.pad_sequence(list(tensors), batch_first=True)
