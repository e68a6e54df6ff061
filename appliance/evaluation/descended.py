"""Heads that descend, from priors in files: which prior may judge a machine, and what it is compared with.

::

    prior files ─ the first that never saw the machine's like ─ Descending ─ Adapted
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from appliance.adapt.adapters.base import Adapter, Examples
from appliance.adapt.adapters.descending import METHODS, Descending
from appliance.adapt.adapters.ridge import Ridge
from appliance.adapt.prior import Prior
from appliance.detect.head import Part
from appliance.evaluation.adapted import Adapted
from appliance.evaluation.methods import Unsuited
from appliance.evaluation.trials import Trial

if TYPE_CHECKING:
    from appliance.meta.prior import DescentPrior


class WithRidge(Adapter):
    """Half what descends, half what the default adapter makes."""

    name: ClassVar[str] = "with_ridge"

    def __init__(self, descending: Descending) -> None:
        self._descending = descending

    def parts(self, prior: Prior, examples: Examples) -> tuple[tuple[Part, ...], tuple[float, ...]]:
        """Make the parts of both."""
        made = [adapter.parts(prior, examples) for adapter in (self._descending, Ridge())]
        return tuple(part for parts, _ in made for part in parts), tuple(
            share / len(made) for _, shares in made for share in shares
        )


def _trained(prior: DescentPrior) -> Adapter:
    from appliance.meta.descend import descend  # noqa: PLC0415 - torch, only where it is asked for

    return Descending(prior.method, {name: each.double().numpy() for name, each in prior.meta.items()}, descend)


def _untrained(prior: DescentPrior) -> Adapter:
    from appliance.meta.adapters import untrained  # noqa: PLC0415

    start = untrained(prior.method, 2 * prior.detectors, prior.record["options"]["seed"])
    return _trained(prior._replace(meta=start))


def _with_ridge(prior: DescentPrior) -> Adapter:
    trained = _trained(prior)
    assert isinstance(trained, Descending)
    return WithRidge(trained)


_VARIANTS: dict[str, Callable[[DescentPrior], Adapter]] = {
    "": _trained,
    ":untrained": _untrained,
    ":with_ridge": _with_ridge,
}
DESCENDED: dict[str, tuple[str, Callable[[DescentPrior], Adapter]]] = {
    f"adapt:{method}{variant}": (method, make) for method in METHODS for variant, make in _VARIANTS.items()
}
"""Name → method and how its adapter is made of a prior. ``:untrained`` descends from where training began, to tell what
that is worth; ``:with_ridge`` shares what labels have to say with the parts of the default adapter."""


class Chosen(NamedTuple):
    """What judges a machine."""

    adapted: Adapted
    digest: str
    """Of the file of its prior."""


def chosen(name: str, files: Sequence[Path], trial: Trial, detectors: int) -> Chosen:
    """Make the method ``name`` of the first prior that has not seen the machine's dataset, else its cluster.

    Raises
    ------
    Unsuited
        There is none, or it was trained on machines with another number of detectors.
    """
    method, make = DESCENDED[name]
    own = [(path, prior) for path in files if (prior := read(path)).method == method]
    unseen = [each for each in own if trial.dataset not in each[1].datasets]
    unseen += [each for each in own if trial.cluster not in each[1].clusters]
    if not unseen:
        have = f"all {len(own)} priors of {method} have seen its cluster" if own else f"there is no prior of {method}"
        raise Unsuited(f"{have}: name one that has not with --prior, made with meta-train --leave-out")
    path, prior = unseen[0]
    if prior.detectors != detectors:
        raise Unsuited(f"{path.name} was trained with {prior.detectors} detectors, this machine has {detectors}")
    digest = blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return Chosen(Adapted(name, make(prior), Prior()), digest)


@cache
def read(path: Path) -> DescentPrior:
    """Read a prior; raises `TrainingError` where the file is none of a head that descends."""
    from appliance.meta.prior import read_descent  # noqa: PLC0415 - torch, only where it is asked for

    return read_descent(path)
