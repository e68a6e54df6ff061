"""What the baselines in torch share: one thread, seeds that reach nobody else, batches of features."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from appliance.evaluation.baselines.taught import Examples
from appliance.records import Floats

torch.set_num_threads(1)  # the networks are too small for more, and sums then always come out the same


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw all that torch draws from a seed, and leave its own generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def squashed(rows: Floats) -> torch.Tensor:
    """Features, or cells, [n, ...] on a scale that networks bear: thirty spreads become four."""
    return torch.from_numpy(np.arcsinh(rows)).float()


def draws(examples: Examples, batch: int, steps: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches (rows [batch, ...], 1 for a fault [batch]) in which each example comes up as often as it counts."""
    rows, is_fault = squashed(examples.rows), torch.from_numpy(examples.is_fault).float()
    chosen = torch.multinomial(torch.from_numpy(examples.weight), batch * steps, replacement=True)
    for these in chosen.reshape(steps, batch):
        yield rows[these], is_fault[these]
