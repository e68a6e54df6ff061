"""Baseline: a small convolutional forecaster, whose error is the score."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import nn

from appliance.detect.windows import Windows
from appliance.evaluation.baselines.nets import seeded
from appliance.evaluation.methods import Batch, Unsuited
from appliance.records import Floats

_AHEAD_SHARE = 8
"""An eighth of the window is forecast, at least one sample: one hop where windows are cut as usual."""
_FILTERS, _WIDTH = 32, 3
_RATE = 2e-3
_BATCH, _EPOCHS = 128, 10
"""Twice the epochs with half the batch and rate take three times as long and rank no better: a mean VUS-PR of 0.381
against 0.378 on thirteen machines of six datasets with two seeds, where a single seed moves a machine by 0.03."""
_MOST_CELLS = 75_000_000
"""Cells seen in training: a few seconds on one slow core, and unlike seconds the same in every run."""


class CnnForecaster(Batch):
    """Mean squared error of the window's end as forecast from what comes before it, over the cells that were read.

    Two convolutions and a linear layer, after the CNN of Munir et al. 2019 (DeepAnT), with all channels at once.
    """

    name = "cnn_forecaster"
    extra: ClassVar = "train"
    seeds: ClassVar = 5

    def fit(self, windows: Windows, seed: int) -> None:
        """Train on normal windows.

        Raises
        ------
        Unsuited
            A window of one sample has nothing to forecast from.
        """
        n, channels, length = windows.values.shape
        if length < 2:
            raise Unsuited("windows of one sample have no past to forecast from")
        self._ahead = max(1, length // _AHEAD_SHARE)
        past = length - self._ahead
        cells = torch.from_numpy(windows.values.astype(np.float32))
        epochs = max(1, min(_EPOCHS, _MOST_CELLS // windows.values.size))
        with seeded(seed):
            self._net = nn.Sequential(
                nn.Conv1d(channels, _FILTERS, _WIDTH, padding="same"),
                nn.ReLU(),
                nn.Conv1d(_FILTERS, _FILTERS, _WIDTH, padding="same"),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(_FILTERS * past, channels * self._ahead),
            )
            optimiser = torch.optim.Adam(self._net.parameters(), lr=_RATE)
            for _ in range(epochs):
                for these in torch.split(torch.randperm(n), _BATCH):
                    loss = self._squared_error(cells[these]).mean()
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()

    @torch.no_grad()
    def oddity(self, windows: Windows) -> Floats:
        """Mean squared error in normal spreads."""
        squared = self._squared_error(torch.from_numpy(windows.values.astype(np.float32))).numpy().astype(np.float64)
        if windows.mask is None:
            return np.asarray(squared.mean(axis=(1, 2)))
        read = windows.mask[:, :, -self._ahead :]
        return np.asarray((squared * read).sum(axis=(1, 2)) / np.maximum(read.sum(axis=(1, 2)), 1))

    def _squared_error(self, cells: torch.Tensor) -> torch.Tensor:
        """[n, channel, time ahead]."""
        past, ahead = cells[:, :, : -self._ahead], cells[:, :, -self._ahead :]
        forecast: torch.Tensor = self._net(past)
        return (forecast.reshape(ahead.shape) - ahead).square()
