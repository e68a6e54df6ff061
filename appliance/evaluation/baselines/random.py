"""Baseline: a score that knows nothing, to show where a figure starts."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.evaluation.methods import Judged, Method, Support
from appliance.evaluation.trials import Views


class Random(Method):
    """Exponential noise."""

    name = "random"
    seeds: ClassVar = 5

    def judge(self, views: Views, support: Support, seed: int) -> Judged:
        """Draw."""
        rng = np.random.default_rng(seed)
        return Judged(rng.exponential(size=len(views.train)), rng.exponential(size=len(views.test)))
