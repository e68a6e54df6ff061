"""Baseline: deep semi-supervised anomaly detection (Ruff et al. 2020)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import nn

from appliance.evaluation.baselines.nets import draws, seeded, squashed
from appliance.evaluation.baselines.taught import Examples, Taught
from appliance.records import Floats

_HIDDEN, _EMBEDDED = 64, 16
_RATE, _DECAY = 1e-3, 1e-4
_BATCH, _STEPS = 128, 400
_EPSILON = 1e-6
_LEAST_CENTRE = 0.1
"""A coordinate of the centre closer to 0 could be reached with all weights 0, as the authors' code notes."""


class DeepSad(Taught):
    """An encoder that maps what is normal close to a centre and faults far from it: equation 7, with eta 1.

    The authors' pre-training as an autoencoder is left out. No layer has a bias, and what is normal because somebody
    said so counts as what is taken to be normal.
    """

    name = "deepsad"
    extra: ClassVar = "train"
    seeds: ClassVar = 5

    def fit(self, examples: Examples, seed: int) -> None:
        """Put the centre where the untrained encoder maps what is normal, then train."""
        with seeded(seed):
            self._net = nn.Sequential(
                nn.Linear(examples.rows.shape[1], _HIDDEN, bias=False),
                nn.LeakyReLU(),
                nn.Linear(_HIDDEN, _EMBEDDED, bias=False),
            )
            with torch.no_grad():
                centre = self._net(squashed(examples.rows[~examples.is_fault])).mean(dim=0)
            self._centre = torch.where(centre < 0, centre.clamp(max=-_LEAST_CENTRE), centre.clamp(min=_LEAST_CENTRE))
            optimiser = torch.optim.Adam(self._net.parameters(), lr=_RATE, weight_decay=_DECAY)
            for rows, is_fault in draws(examples, _BATCH, _STEPS):
                distance = self._distance(rows)
                loss = torch.where(is_fault > 0, 1 / (distance + _EPSILON), distance)
                optimiser.zero_grad()
                loss.mean().backward()
                optimiser.step()

    @torch.no_grad()
    def oddity(self, rows: Floats) -> Floats:
        """Squared distance from the centre."""
        return np.asarray(self._distance(squashed(rows)).numpy(), dtype=np.float64)

    def _distance(self, rows: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self._net(rows)
        return (embedded - self._centre).square().sum(dim=1)
