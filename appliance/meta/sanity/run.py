"""All sanity problems, one after the other, as ``appliance evaluate --sanity`` runs them."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from appliance.meta.sanity import digits, sinusoid
from appliance.meta.sanity.figures import Figure, Watch


def total_steps(quick: bool) -> int:
    """Return how often the watch of :func:`measure` will be told of a step."""
    return sinusoid.total_steps(quick) + digits.total_steps(quick)


def measure(watch: Watch, quick: bool = False) -> Iterator[Figure]:
    """Train and measure every method on every problem; on one core the same figures each time."""
    torch.set_num_threads(1)  # the networks are too small for more, and sums then always come out the same
    yield from sinusoid.measure(watch, quick)
    yield from digits.measure(watch, quick)
