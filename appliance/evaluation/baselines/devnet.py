"""Baseline: a deviation network (Pang, Shen and van den Hengel 2019)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import nn

from appliance.evaluation.baselines.nets import draws, seeded, squashed
from appliance.evaluation.baselines.taught import Examples, Taught
from appliance.records import Floats

_HIDDEN = 20
_MARGIN = 5.0
"""Deviations by which a fault should stand out: equation 7."""
_RATE, _DECAY = 1e-3, 1e-2
"""As the authors train it, with RMSprop."""
_BATCH, _STEPS = 128, 400
"""The authors take 1000 steps of 512: on some machines that ranks better than this, on as many worse."""


class DevNet(Taught):
    """A network whose score is near 0 for normal windows, as standard normal noise is, and above a margin for faults.

    The reference of the deviation is its limit, mean 0 and spread 1, instead of 5000 draws.
    """

    name = "devnet"
    extra: ClassVar = "train"
    seeds: ClassVar = 5

    def fit(self, examples: Examples, seed: int) -> None:
        """Minimise the deviation loss."""
        with seeded(seed):
            self._net = nn.Sequential(nn.Linear(examples.rows.shape[1], _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 1))
            optimiser = torch.optim.RMSprop(self._net.parameters(), lr=_RATE, weight_decay=_DECAY)
            for rows, is_fault in draws(examples, _BATCH, _STEPS):
                deviation = self._net(rows)[:, 0]
                loss = (1 - is_fault) * deviation.abs() + is_fault * (_MARGIN - deviation).clamp(min=0)
                optimiser.zero_grad()
                loss.mean().backward()
                optimiser.step()

    @torch.no_grad()
    def oddity(self, rows: Floats) -> Floats:
        """Deviation."""
        return np.asarray(self._net(squashed(rows))[:, 0].numpy(), dtype=np.float64)
