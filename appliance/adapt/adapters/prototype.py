"""Nearest prototype: how far a window goes in the direction of the mean window of a labelled event."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.adapt.adapters.base import Adapter, Examples, typical
from appliance.adapt.prior import Prior
from appliance.detect.head import Likeness, Part, signed_log


class Prototype(Adapter):
    """One prototype for each event (Snell et al. 2017, with an event for a class), in the features of the window.

    It can only find again what was labelled, and needs features in which a fault looks alike each time.
    """

    name: ClassVar[str] = "prototype"

    def parts(self, prior: Prior, examples: Examples) -> tuple[tuple[Part, ...], tuple[float, ...]]:
        """Average each event's windows."""
        prototypes = np.stack([signed_log(typical(event)).mean(axis=0) for event in examples.events])
        return (Likeness(prototypes),), (1.0,)
