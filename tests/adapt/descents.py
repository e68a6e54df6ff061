"""Methods that descend, from where they start before any training, for machines of any number of detectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from appliance.adapt.adapters.base import Adapter, Examples
from appliance.adapt.adapters.descending import Descending
from appliance.adapt.prior import Prior
from appliance.bundle.signing import SigningKey
from appliance.detect.head import Part
from appliance.meta.adapters import algorithm
from appliance.meta.descend import descend
from appliance.records import Floats
from tests.bundle.made import packed


def untrained(method: str, features: int) -> dict[str, Floats]:
    """Meta-parameters as training would begin with them."""
    made, params = algorithm(method, torch.zeros(features), 0)
    meta = made.initial(params, torch.Generator().manual_seed(0))
    return {name: tensor.numpy().astype(np.float32) for name, tensor in meta.items()}


class Untrained(Adapter):
    """Descends in this process."""

    name: ClassVar[str] = "untrained"

    def __init__(self, method: str) -> None:
        self.method = method

    def parts(self, prior: Prior, examples: Examples) -> tuple[tuple[Part, ...], tuple[float, ...]]:
        """Descend with meta-parameters of the right size."""
        meta = untrained(self.method, 2 * examples.normal.detectors)
        return Descending(self.method, meta, descend).parts(prior, examples)


DETECTORS = 26
"""Of any machine whose windows have several cells and whose warm-up reaches over all scales."""


def bundled(folder: Path, key: SigningKey, *methods: str, version: int = 1) -> Path:
    """Pack a bundle with the meta-parameters of methods, for machines of the usual number of detectors."""
    tensors: dict[str, NDArray[Any]] = dict(Prior().tensors())
    for method in methods:
        tensors |= {f"adapter.{method}.{name}": each for name, each in untrained(method, 2 * DETECTORS).items()}
    return packed(folder, version, key=key, tensors=tensors)
