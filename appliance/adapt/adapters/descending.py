"""Gradient descent from meta-learned parameters: a task → a solver elsewhere → the bent part of a head.

The service has no torch. What descends is handed in as a function, in service `solver.py` with its process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from appliance.adapt.adapters.base import Adapter, Examples
from appliance.adapt.adapters.ridge import Ridge
from appliance.adapt.adapters.task import Task, task_of
from appliance.adapt.prior import Prior
from appliance.detect.head import Bent, Part
from appliance.errors import AdaptationError
from appliance.records import Floats

Meta = Mapping[str, Floats]
"""Meta-parameters by name, as the algorithms of `meta/algorithms` have them."""
Solver = Callable[[str, Meta, Task], Bent]
"""Method, meta-parameters, task → what it descends to. Raises `AdaptationError`."""

SIZED_BY = "model.linear.weight"
"""The parameter [1, feature] that every method has, by which the sizes of all others follow."""
_UNITS, _LATENTS, _OPTIMIZER_UNITS, _RELATION_LAYERS = 16, 16, 20, 3
_TRIAL = 128
"""Examples of each kind: about as many as a task has."""


def _maml(model: dict[str, tuple[int, ...]], _: int) -> dict[str, tuple[int, ...]]:
    return {f"step_size.{name}": shape for name, shape in model.items()}


def _leo(_: dict[str, tuple[int, ...]], features: int) -> dict[str, tuple[int, ...]]:
    row, both = features + 1, 2 * _LATENTS  # the linear part's weights and its bias
    relations = {f"leo.relation{layer}": (both, both) for layer in range(_RELATION_LAYERS)}
    return {
        "leo.encoder": (row, _LATENTS),
        "leo.encoder_bias": (_LATENTS,),
        **relations,
        **{f"{name}_bias": (both,) for name in relations},
        "leo.decoder": (_LATENTS, 2 * row),
        "leo.spread": (row,),
        "leo.step_size": (_LATENTS,),
        "leo.finetuning_step_size": (row,),
    }


def _learned_optimizer(_: dict[str, tuple[int, ...]], __: int) -> dict[str, tuple[int, ...]]:
    return {
        "optimizer.first": (4, _OPTIMIZER_UNITS),
        "optimizer.bias": (_OPTIMIZER_UNITS,),
        "optimizer.second": (_OPTIMIZER_UNITS, 2),
    }


METHODS: dict[str, Callable[[dict[str, tuple[int, ...]], int], dict[str, tuple[int, ...]]]] = {
    "maml": _maml,
    "reptile": lambda _, __: {},
    "leo": _leo,
    "learned_optimizer": _learned_optimizer,
}
"""Name → what it has beside the network's own parameters, of those and the number of features."""


def shapes(method: str, features: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each meta-parameter of a method for windows of so many features."""
    model = {
        "linear.weight": (1, features),
        "linear.bias": (1,),
        "hidden.weight": (_UNITS, features),
        "hidden.bias": (_UNITS,),
        "bend.weight": (1, _UNITS),
        "bend.bias": (1,),
    }
    return {f"model.{name}": shape for name, shape in model.items()} | METHODS[method](model, features)


class Descending(Adapter):
    """A few steps from a start, and by rules, that were learned on other machines.

    Where a machine has another number of detectors than those had, it has nothing to start from: then `Ridge` makes the
    parts, and the head's words say so.

    Parameters
    ----------
    method
        One of `METHODS`.
    meta
        Its meta-parameters: names and shapes of `shapes`.
    solver
        Descends.
    """

    name: ClassVar[str] = "descending"

    def __init__(self, method: str, meta: Meta, solver: Solver) -> None:
        self.method = method
        self._meta = meta
        self._solver = solver
        self._features: int = meta[SIZED_BY].shape[1]

    def parts(self, prior: Prior, examples: Examples) -> tuple[tuple[Part, ...], tuple[float, ...]]:
        """Descend; raises `AdaptationError` where nothing came of it that can judge."""
        if self.remark(examples.normal.detectors) is not None:
            return Ridge().parts(prior, examples)
        return (self._descend(task_of(examples)),), (1.0,)

    def remark(self, detectors: int) -> str | None:
        """Say that ridge stands in for it."""
        if 2 * detectors == self._features:
            return None
        trained = self._features // 2
        return f"by {Ridge.name}: {self.method} was trained with {trained} detectors, this machine has {detectors}"

    def try_out(self) -> None:
        """Descend once on made-up examples; raises `AdaptationError` where the real ones would fail, too."""
        rows = np.linspace(-1.0, 1.0, 2 * _TRIAL * self._features).reshape(2 * _TRIAL, self._features)
        half = np.repeat([0.0, 1.0], _TRIAL)
        self._descend(Task(rows, half, np.full(2 * _TRIAL, 0.5 / _TRIAL)))

    def _descend(self, task: Task) -> Bent:
        part = self._solver(self.method, self._meta, task)
        wanted = {
            "linear": (self._features,),
            "hidden": (_UNITS, self._features),
            "offset": (_UNITS,),
            "bend": (_UNITS,),
        }
        found = {name: np.asarray(getattr(part, name)) for name in wanted}
        if any(found[name].shape != shape for name, shape in wanted.items()):
            raise AdaptationError(
                f"{self.method} gave a head of other shapes than asked for; install one version of it"
            )
        if not all(np.isfinite(each).all() for each in found.values()):
            raise AdaptationError(
                f"{self.method} ran off to infinity; install a bundle that was trained on like machines, "
                f'or set adaptation.method = "{Ridge.name}"'
            )
        return part
