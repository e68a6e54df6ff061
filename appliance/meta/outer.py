"""The outer loop: one for all algorithms; it can stop at any step and go on from named tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from appliance.meta.algorithms.base import Algorithm
from appliance.meta.learning import Episodes, Params, named, part

Sample = Callable[[torch.Generator], Episodes]
"""Draws a batch of tasks; all that is random in it comes from the generator."""

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
"""What Adam remembers of each parameter."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast to learn.

    Parameters
    ----------
    steps
        Batches of tasks.
    rate
        Adam's step size at the start; it falls to 0 along a half cosine.
    max_norm
        A longer meta-gradient is shortened to this: single tasks far off must not undo what the others taught.
    validate_every
        Steps between two validations; the best validated meta-parameters are what training returns.
    patience
        Validations without a better one after which it stops early.
    """

    steps: int
    rate: float = 1e-3
    max_norm: float = 10.0
    validate_every: int = 500
    patience: int = 10


class OuterLoop:
    """Adam over meta-parameters.

    Parameters
    ----------
    algorithm
        What is trained.
    params
        The network's fresh parameters.
    sample
        Draws batches of tasks.
    schedule
        How long.
    validate
        Meta-parameters → a figure that should be small, on tasks that training never sees. Without it the last
        meta-parameters are returned.
    seed
        Of all that is random: the start, the tasks, the noise. The same seed gives the same meta-parameters.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        params: Params,
        sample: Sample,
        schedule: Schedule,
        validate: Callable[[Params], float] | None = None,
        seed: int = 0,
    ) -> None:
        self._algorithm, self._sample, self._schedule, self._validate = algorithm, sample, schedule, validate
        self._generator = torch.Generator().manual_seed(seed)
        self._meta = {name: t.clone() for name, t in algorithm.initial(params, self._generator).items()}
        self._adam = torch.optim.Adam(self._meta.values(), lr=schedule.rate)
        self._step, self._worse = 0, 0
        self._best, self._best_meta = math.inf, self._copy()

    @property
    def meta(self) -> Params:
        """The best validated meta-parameters so far; the last ones without validation."""
        return self._best_meta if self._validate and math.isfinite(self._best) else self._copy()

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or validation stopped improving."""
        return self._step >= self._schedule.steps or self._worse >= self._schedule.patience

    def run(self, progress: Callable[[int, float], None] | None = None, until: int | None = None) -> Params:
        """Train to the end, or until so many steps are done in all.

        Parameters
        ----------
        progress
            Called after each step with the number of steps done and the batch's loss.
        """
        while not self.finished and (until is None or self._step < until):
            loss = self._learn()
            if self._validate and (
                self._step % self._schedule.validate_every == 0 or self._step == self._schedule.steps
            ):
                self._judge(self._validate(self._copy()))
            if progress:
                progress(self._step, loss)
        return self.meta

    def snapshot(self) -> dict[str, Tensor]:
        """Return all that :meth:`restore` needs to go on exactly as if nothing had happened, as named tensors."""
        counts = torch.tensor([self._step, self._worse])
        best = torch.tensor(self._best, dtype=torch.float64)
        state = {"counts": counts, "best": best, "generator": self._generator.get_state()}
        for name, tensor in self._meta.items():
            for moment, value in self._adam.state[tensor].items():
                state[f"adam.{moment}.{name}"] = value.clone()
        return state | named("meta.", self._copy()) | named("best_meta.", self._best_meta)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a snapshot of a loop that was made with the same arguments."""
        self._step, self._worse = (int(count) for count in state["counts"])
        self._best, self._best_meta = float(state["best"]), part(state, "best_meta.")
        self._generator.set_state(state["generator"])
        for name, tensor in self._meta.items():
            tensor.copy_(state[f"meta.{name}"])
            if f"adam.step.{name}" in state:
                self._adam.state[tensor] = {key: state[f"adam.{key}.{name}"].clone() for key in _MOMENTS}

    def _learn(self) -> float:
        gradient, loss = self._algorithm.meta_gradient(self._meta, self._sample(self._generator), self._generator)
        for name, tensor in self._meta.items():
            tensor.grad = gradient[name].detach()
        norm = torch.nn.utils.clip_grad_norm_(self._meta.values(), self._schedule.max_norm)
        done = self._step / self._schedule.steps
        self._adam.param_groups[0]["lr"] = self._schedule.rate * (1 + math.cos(math.pi * done)) / 2
        if torch.isfinite(
            norm
        ):  # a task whose descent diverged teaches nothing, and would spoil Adam's memory for good
            self._adam.step()
        self._step += 1
        return float(loss)

    def _judge(self, figure: float) -> None:
        if figure < self._best:
            self._best, self._best_meta, self._worse = figure, self._copy(), 0
        else:
            self._worse += 1

    def _copy(self) -> Params:
        return {name: tensor.detach().clone() for name, tensor in self._meta.items()}
