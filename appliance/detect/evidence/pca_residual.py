"""Evidence: channels no longer move together as they do."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector
from appliance.detect.evidence.subspace import Residual, impute, principal_subspace
from appliance.detect.windows import Windows
from appliance.records import Floats

_EXPLAINED = 0.97
"""A machine that is stopped now and then varies mostly between on and off: 0.9 would leave all else to the residual."""
_MAX_RANK = 12
_MAX_CELLS = 20_000
"""Instants used to fit; more change nothing."""
_NOISE_FLOOR = 0.005
"""Variance of a residual that is always near 0, as where two channels are copies: in squared normal spreads."""


class PcaResidual(EvidenceDetector):
    """Squared distance of each instant from the plane in which the channels usually move (the Q statistic, SPE).

    Jackson and Mudholkar 1979; each channel's residual is measured in its own residual variance.
    """

    weight: ClassVar[float] = 1.5
    """It alone sees that a relation broke while every channel by itself stays where it was."""
    FITTED: ClassVar[tuple[str, ...]] = ("centre", "components", "precision")

    def fit(self, windows: Windows, seed: int) -> None:
        """Find the plane and the usual residual of every channel."""
        instants = instants_of(windows, _MAX_CELLS)
        self.centre = np.median(instants, axis=0)
        self.components = principal_subspace(instants - self.centre, _EXPLAINED, _MAX_RANK).components
        self._prepare()
        self.precision = 1.0 / (np.median(self._mean_square(windows), axis=0) + _NOISE_FLOOR)

    def energy(self, windows: Windows) -> Floats:
        """Mean squared residual, in usual residuals."""
        return self._mean_square(windows) * self.precision

    def residuals(self, windows: Windows) -> Floats:
        """[n, channel, time] of each cell, in usual residuals."""
        return self._residuals(windows) * np.sqrt(self.precision)[:, None]

    def _mean_square(self, windows: Windows) -> Floats:
        """[n, channel] of the residual over time."""
        residual = self._residuals(windows)
        if windows.mask is not None:
            return windows.average(np.square(residual))
        mean: Floats = np.vecdot(residual, residual) / residual.shape[2]
        return mean

    def _residuals(self, windows: Windows) -> Floats:
        """[n, channel, time] in normal spreads."""
        offsets = windows.values - self.centre[:, None]
        if windows.mask is not None:
            offsets = impute(offsets.swapaxes(1, 2), windows.present, self.components).swapaxes(1, 2)
        return self._residual.of_columns(offsets)

    def _prepare(self) -> None:
        self._residual = Residual(self.components)


def instants_of(windows: Windows, most: int) -> Floats:
    """[n, channel] evenly chosen instants at which every channel that ever speaks does speak, if there are enough."""
    instants = windows.values.swapaxes(1, 2)
    if windows.mask is not None:
        speaks = windows.present.max(axis=0) > 0
        whole = windows.mask[:, speaks].all(axis=1)
        instants = instants[whole] if whole.sum() >= len(windows) else instants.reshape(-1, instants.shape[2])
    else:
        instants = instants.reshape(-1, instants.shape[2])
    return instants[:: max(1, len(instants) // most)]
