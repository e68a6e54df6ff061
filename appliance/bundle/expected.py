"""What the software expects of a bundle's tensors: their names, types and shapes, and finite numbers throughout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.bundle.manifest import describe
from appliance.errors import BundleRefused

ADAPTER = "adapter."
"""Of the names of tensors that are meta-parameters of a method: `adapter.maml.…`; a trained prior has those of one."""
SOFTWARE = "pack the bundle for this version of the appliance, or install the version it was made for"


class Spec(NamedTuple):
    """What one tensor must be."""

    dtype: str
    shape: tuple[int | None, ...]
    """None for an axis of any length."""

    def fits(self, dtype: str, shape: tuple[int, ...]) -> bool:
        """Say whether a tensor of this type and shape will do."""
        return (
            dtype == self.dtype
            and len(shape) == len(self.shape)
            and all(wanted in {None, found} for wanted, found in zip(self.shape, shape, strict=True))
        )

    def __str__(self) -> str:
        return describe(self.dtype, self.shape)


class Ports(NamedTuple):
    """What a network takes and gives, by name."""

    inputs: Mapping[str, Spec]
    outputs: Mapping[str, Spec]


class Family(NamedTuple):
    """Tensors of which a bundle holds all or none, of a size that is theirs to choose."""

    prefix: str
    """Of all their names, and of no others'."""
    sized_by: str
    """The tensor whose last axis is that size."""
    specs: Callable[[int], Mapping[str, Spec]]
    """Size → what they must be."""

    def expected(self, tensors: Mapping[str, NDArray[Any]], file: str) -> Mapping[str, Spec]:
        """Return what they must be, nothing where there is none of them."""
        if not any(name.startswith(self.prefix) for name in tensors):
            return {}
        if self.sized_by not in tensors or not tensors[self.sized_by].ndim:
            raise BundleRefused(
                file, "wrong_tensors", f"tensor {self.sized_by} is missing or a single number; {SOFTWARE}"
            )
        return self.specs(tensors[self.sized_by].shape[-1])


class Expected(NamedTuple):
    """What the software expects of a bundle, no more and no less."""

    tensors: Mapping[str, Spec]
    network: Ports | None = None
    """None: there must be none."""
    families: tuple[Family, ...] = ()
    """That there may be beside the tensors."""


def check_tensors(tensors: Mapping[str, NDArray[Any]], expected: Expected | None, file: str) -> None:
    """Refuse tensors that are not what is expected, and any that hold something else than finite numbers.

    Raises
    ------
    BundleRefused
        With the first tensor at fault.
    """
    if expected is not None:
        wanted = dict(expected.tensors)
        for family in expected.families:
            wanted |= family.expected(tensors, file)
        check_ports("tensor", {name: (each.dtype.name, each.shape) for name, each in tensors.items()}, wanted, file)
    for name, each in tensors.items():
        if not np.isfinite(each).all():
            position = ", ".join(str(axis[0]) for axis in np.nonzero(~np.isfinite(each)))
            found = f"tensor {name} holds {each[~np.isfinite(each)][0]} at ({position})"
            raise BundleRefused(file, "not_finite", f"{found}; train the prior again")


def check_ports(
    kind: str, found: Mapping[str, tuple[str, tuple[int, ...]]], expected: Mapping[str, Spec], file: str
) -> None:
    """Refuse tensors, inputs or outputs that are not those expected: ``found`` has the type and shape of each."""
    for name, spec in expected.items():
        if name not in found:
            raise BundleRefused(file, "wrong_tensors", f"{kind} {name}, {spec}, is missing; {SOFTWARE}")
        if not spec.fits(*found[name]):
            is_not = f"{kind} {name} is {describe(*found[name])} and should be {spec}"
            raise BundleRefused(file, "wrong_tensors", f"{is_not}; {SOFTWARE}")
    for name in found:
        if name not in expected:
            raise BundleRefused(file, "wrong_tensors", f"{kind} {name} is not known here; {SOFTWARE}")
