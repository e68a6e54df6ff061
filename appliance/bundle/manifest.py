"""What a bundle says of itself: the JSON manifest, and its check against the members."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}\Z")]
"""It becomes part of a file's name on the shelf."""
Version = Annotated[int, Meta(ge=1, le=2**31 - 1)]
"""Counts up; a lower one than that in service is refused."""
Text = Annotated[str, Meta(min_length=1, max_length=1000)]
Dtype = Literal["bool", "uint8", "int32", "int64", "float16", "float32", "float64"]

TENSORS = "tensors.safetensors"
NETWORK = "network.onnx"


class Dataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A dataset the prior was trained on."""

    name: Text
    licence: Text


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What whoever trained the prior says about it."""

    name: Name
    version: Version
    made_at: Annotated[datetime, Meta(tz=True)]
    datasets: tuple[Dataset, ...]
    metrics: dict[Text, float]
    """Measured on machines that were held out of the training."""
    software: dict[Text, Text] = {}
    """Versions of what made it."""
    training: dict[str, Any] = {}
    """The training's configuration, as it was run."""


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Shape and type of one tensor."""

    dtype: Dtype
    shape: tuple[Annotated[int, Meta(ge=0)], ...]

    def __str__(self) -> str:
        return describe(self.dtype, self.shape)


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file in the bundle."""

    name: Text
    bytes: Annotated[int, Meta(ge=0)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Manifest(About, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of it."""

    tensors: dict[Text, TensorSpec]
    members: tuple[Member, ...]


def describe(dtype: str, shape: tuple[int | None, ...]) -> str:
    """Write type and shape for a person.

    Examples
    --------
    >>> describe("float32", (None, 64))
    'float32 (any, 64)'
    """
    return f"{dtype} ({', '.join('any' if each is None else str(each) for each in shape)})"
