"""Gradient descent from meta-learned parameters: a task → a solver elsewhere → the bent part of a head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from appliance.adapt.adapters.base import Adapter, Examples
from appliance.adapt.prior import Prior
from appliance.adapt.task import Task, task_of
from appliance.detect.head import Bent, Part
from appliance.records import Floats

Meta = Mapping[str, Floats]
"""Meta-parameters by name, as the algorithms of `meta/algorithms` have them."""
Solver = Callable[[str, Meta, Task], Bent]
"""Method, meta-parameters, task → what it descends to."""
METHODS = ("maml", "reptile", "leo", "learned_optimizer")


class Descending(Adapter):
    """A few steps from a start, and by rules, that were learned on other machines.

    Parameters
    ----------
    method
        One of `METHODS`.
    meta
        Its meta-parameters.
    solver
        Descends.
    """

    name: ClassVar[str] = "descending"

    def __init__(self, method: str, meta: Meta, solver: Solver) -> None:
        self.method = method
        self._meta = meta
        self._solver = solver

    def parts(self, prior: Prior, examples: Examples) -> tuple[tuple[Part, ...], tuple[float, ...]]:
        """Descend."""
        return (self._solver(self.method, self._meta, task_of(examples)),), (1.0,)
