"""What the sanity problems have in common: a figure with its interval, and training that tells how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats
from torch import Tensor

from appliance.meta.algorithms.base import Algorithm
from appliance.meta.learning import Params
from appliance.meta.outer import OuterLoop, Sample, Schedule

Watch = Callable[[str, int], None]
"""Told what is being trained, and how many of its steps are done since it was last told."""


class Figure(NamedTuple):
    """One measured value."""

    problem: str
    unit: str
    method: str
    """As a person should read it."""
    shots: int
    """Labelled examples of each task, or of each class of a task."""
    value: float
    low: float | None
    high: float | None
    """Ends of the 95 % interval over tasks, or over splits of the classes; unknown of a single one."""
    samples: int
    """How many tasks, or splits."""
    published: str = ""
    """What a paper prints for the same, with its source; nothing where none does."""


def figure(
    problem: str, unit: str, method: str, shots: int, values: Tensor | list[float], published: str = ""
) -> Figure:
    """Average independent values, with the t interval of their mean."""
    array = np.asarray(values, dtype=float)
    mean, n = float(array.mean()), len(array)
    if n == 1:
        return Figure(problem, unit, method, shots, mean, None, None, n, published)
    half = float(stats.t.ppf(0.975, n - 1) * array.std(ddof=1) / np.sqrt(n))
    return Figure(problem, unit, method, shots, mean, mean - half, mean + half, n, published)


def train(
    algorithm: Algorithm, params: Params, sample: Sample, schedule: Schedule, watch: Watch, name: str, seed: int = 0
) -> Params:
    """Run the outer loop to its end."""
    return OuterLoop(algorithm, params, sample, schedule, seed=seed).run(lambda *_: watch(name, 1))
