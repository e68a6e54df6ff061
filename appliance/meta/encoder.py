"""The encoder: planes of any channels → one embedding of the window; trained here, exported for the service.

::

    planes [n, channel, 4, time] ─ shared trunk ─ [n, channel, 32] ─┬─ mean ────────┐
    mask   [n, channel, time]                                       ├─ logsumexp ───┼─ mix ─ [n, 32]
                                                                    └─ attention ───┘

The trunk sees one channel at a time and the pooling only sums, so the number and order of the channels do not matter
(Zaheer et al. 2017, "Deep Sets"). Nothing keeps running statistics, so it may be called under ``torch.func.vmap``.
"""

from __future__ import annotations

import torch
from torch import nn

from appliance.detect.planes import PLANES

EMBEDDING = 32
_NARROW, _WIDE = 16, 32
_WIDTH = 5
_LEAST_LENGTH = 16
"""Cells: two strides leave four."""
_GROUPS = 4
_BOUND = 4.0
"""Largest feature of a channel: its exponential stays small, and eight bits can hold it."""
_NOTHING = 1e-6
"""Added to what may be a sum over no channel at all."""


class Encoder(nn.Module):
    """Windows of any number of channels and 16 to 256 cells → embeddings; 20 thousand weights.

    The first layer is not normalised and is pooled too: GroupNorm takes away how large something is, and that is what
    most faults are known by.
    """

    def __init__(self, embedding: int = EMBEDDING) -> None:
        super().__init__()
        self.first = nn.Conv1d(PLANES + 1, _NARROW, _WIDTH, stride=2, padding=_WIDTH // 2)
        self.second = nn.Conv1d(_NARROW, _WIDE, _WIDTH, stride=2, padding=_WIDTH // 2)
        self.second_norm = nn.GroupNorm(_GROUPS, _WIDE)
        self.third = nn.Conv1d(_WIDE, _WIDE, 3, padding=1)
        self.third_norm = nn.GroupNorm(_GROUPS, _WIDE)
        self.channel = nn.Linear(2 * _NARROW + 2 * _WIDE, _WIDE)
        self.attend = nn.Linear(_WIDE, 1)
        self.mix = nn.Sequential(nn.Linear(3 * _WIDE, 2 * _WIDE), nn.ReLU(), nn.Linear(2 * _WIDE, embedding))

    def forward(self, cells: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Encode windows.

        Parameters
        ----------
        cells, mask
            As in `planes.Planes`: [n, channel, plane, time] and [n, channel, time].

        Returns
        -------
        embeddings
            [n, embedding].
        """
        n, channels = mask.shape[:2]
        known = mask[:, :, None]  # (n, channel, 1, time)
        rows = torch.cat([cells * known, known], dim=2).flatten(0, 1)  # (n x channel, plane + 1, time)
        each = self._channels(rows).unflatten(0, (n, channels))  # (n, channel, feature)
        present = mask.amax(dim=2, keepdim=True)  # (n, channel, 1)
        mean = (each * present).sum(dim=1) / (present.sum(dim=1) + _NOTHING)
        loudest = (each.exp() * present).sum(dim=1).add(_NOTHING).log()
        weight = self.attend(each).clamp(-_BOUND, _BOUND).exp() * present
        attended = (each * weight).sum(dim=1) / (weight.sum(dim=1) + _NOTHING)
        embeddings: torch.Tensor = self.mix(torch.cat([mean, loudest, attended], dim=1))
        return embeddings

    def _channels(self, rows: torch.Tensor) -> torch.Tensor:
        """Describe single channels [row, plane + 1, time]: [row, feature]."""
        near = torch.relu(self.first(rows))
        wide = torch.relu(self.second_norm(self.second(near)))
        wide = wide + torch.relu(self.third_norm(self.third(wide)))
        pooled = torch.cat([near.mean(dim=2), near.amax(dim=2), wide.mean(dim=2), wide.amax(dim=2)], dim=1)
        described: torch.Tensor = _BOUND * torch.tanh(self.channel(pooled) / _BOUND)
        return described


def weights_of(encoder: nn.Module) -> int:
    """Count what is learned."""
    return sum(weights.numel() for weights in encoder.parameters())
