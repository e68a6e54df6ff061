"""How heads that descend are trained: tasks of traced machines → here → meta-parameters, stopped by held-out machines.

::

    TracedEpisodes ─ batches of tasks ─ OuterLoop ─┬─ validation on held-out machines ─ best so far
                                                   └─ checkpoint
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from appliance.adapt.adapters.task import Task
from appliance.evaluation.metrics import auc_pr
from appliance.meta import checkpoint
from appliance.meta.adapters import algorithm, mean_loudness, untrained
from appliance.meta.algorithms.base import Algorithm
from appliance.meta.learning import Episodes as Tasks
from appliance.meta.learning import Examples, Params
from appliance.meta.outer import OuterLoop, Schedule
from appliance.meta.traced_episodes import TracedEpisode, TracedEpisodes

torch.set_num_threads(1)  # the networks are too small for more, and sums then always come out the same

_AT_ONCE = 16
"""Tasks that are validated together."""


@dataclass(frozen=True)
class DescentOptions:
    """All that a training follows from, beside the recordings; kept with what it makes."""

    method: str
    seed: int = 0
    steps: int = 100
    batch: int = 8
    """Tasks whose gradients make a step."""
    rate: float = 1e-2
    validate_every: int = 25
    validation_episodes: int = 120
    patience: int = 4
    """Validations without a better one, after which it ends."""
    real_share: float = 0.5
    """Of tasks with a machine's own events."""
    semantics: bool = True
    """Draw anew in every task which made-up faults are called faults."""


@dataclass(frozen=True)
class Validated:
    """One point of the validation curve."""

    step: int
    loss: float | None
    """Of the last batch; None before the first."""
    average_precision: float
    """On held-out machines, mean over tasks."""


class AdapterTraining:
    """Trains a method's meta-parameters; resumable, stopped early by held-out machines.

    Parameters
    ----------
    features
        Of each window: twice the machines' detectors.
    episodes
        To learn from.
    validation
        On machines that are not among those of ``episodes``.
    """

    def __init__(
        self, options: DescentOptions, features: int, episodes: TracedEpisodes, validation: TracedEpisodes
    ) -> None:
        self._made, params = algorithm(options.method, mean_loudness(features), options.seed)
        self._start = untrained(options.method, features, options.seed)
        known = [validation[number] for number in range(options.validation_episodes)]
        known.sort(key=lambda each: len(each.support.weight))  # little is to be filled up
        self._known = [_batch(known[first : first + _AT_ONCE]) for first in range(0, len(known), _AT_ONCE)]
        self.options = options
        self.curve: list[Validated] = []
        self.step = 0

        def sample(generator: torch.Generator) -> Tasks:
            numbers = torch.randint(2**31, (options.batch,), generator=generator).tolist()
            return _batch([episodes[number] for number in numbers])

        schedule = Schedule(
            steps=options.steps, rate=options.rate, validate_every=options.validate_every, patience=options.patience
        )
        self._loop = OuterLoop(self._made, params, sample, schedule, self._missed, options.seed)
        self._held_out = 0.0

    @property
    def best(self) -> Validated:
        """The point of the curve whose meta-parameters are kept; the start where training made it only worse."""
        return max(self.curve, key=lambda point: point.average_precision)

    def run(self, report: Callable[[Validated], None], stepped: Callable[[], None] = lambda: None) -> Params:
        """Go on until finished; return what did best on the held-out machines."""
        if not self.curve:
            self._missed(self._start)
            self._note(0, None, report)

        def progress(step: int, loss: float) -> None:
            self.step = step
            if step % self.options.validate_every == 0 or step == self.options.steps:
                self._note(step, round(loss, 4), report)
            stepped()

        trained = self._loop.run(progress)
        return trained if self.best.step else self._start

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        curve = [asdict(point) for point in self.curve]
        checkpoint.write(path, self._loop.snapshot(), asdict(self.options), {"curve": curve})

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; raises `TrainingError` as `Training.resume` does."""
        tensors, progress = checkpoint.read(path, asdict(self.options))
        self.curve = [Validated(**point) for point in progress["curve"]]
        self.step = self.curve[-1].step
        self._loop.restore(tensors)

    def _missed(self, meta: Params) -> float:
        self._held_out = float(np.nanmean([area for some in self._known for area in precision(self._made, meta, some)]))
        return 1.0 - self._held_out

    def _note(self, step: int, loss: float | None, report: Callable[[Validated], None]) -> None:
        self.curve.append(Validated(step, loss, round(self._held_out, 4)))
        report(self.curve[-1])


def precision(made: Algorithm, meta: Params, tasks: Tasks) -> list[float]:
    """Average precision of the query of each task."""
    odds = made.predict(meta, tasks.support, tasks.query.x)
    return [
        auc_pr(own[asked].double().numpy(), y[asked].numpy() > 0)
        for own, y, asked in zip(odds, tasks.query.y, tasks.query.weight > 0, strict=True)
    ]


def examples_in(task: Task) -> Examples:
    """Turn a task into tensors."""
    return Examples(*(torch.from_numpy(array).float() for array in task))


def _batch(episodes: Sequence[TracedEpisode]) -> Tasks:
    return stacked([(examples_in(each.support), examples_in(each.query)) for each in episodes])


def stacked(tasks: Sequence[tuple[Examples, Examples]]) -> Tasks:
    """Make one batch of tasks of different sizes: the shorter are filled up with examples of weight 0."""
    return Tasks(*(Examples(*map(_padded, zip(*side, strict=True))) for side in zip(*tasks, strict=True)))


def _padded(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return nn.utils.rnn.pad_sequence(list(tensors), batch_first=True)
