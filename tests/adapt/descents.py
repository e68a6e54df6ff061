"""Methods that descend, from where they start before any training, for machines of any number of detectors."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from appliance.adapt.adapters.base import Adapter, Examples
from appliance.adapt.adapters.descending import Descending
from appliance.adapt.prior import Prior
from appliance.detect.head import Part
from appliance.meta.adapters import algorithm
from appliance.meta.descend import descend
from appliance.records import Floats


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
