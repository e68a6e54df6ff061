"""Evidence: channels no longer move together as they do."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector
from appliance.detect.evidence.instants import instants_of
from appliance.detect.evidence.subspace import Residual, impute, principal_subspace
from appliance.detect.windows import Windows
from appliance.records import Floats

_EXPLAINED = 0.97
"""A machine that is stopped now and then varies mostly between on and off: 0.9 would leave all else to the residual."""
_MAX_RANK = 12
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
        instants = windows.once(instants_of)
        self.centre = instants.centre
        self.components = principal_subspace(instants.offsets, _EXPLAINED, _MAX_RANK).components
        self._prepare()
        self.precision = 1.0 / (np.median(windows.by_parts(self._mean_square), axis=0) + _NOISE_FLOOR)

    def energy(self, windows: Windows) -> Floats:
        """Mean squared residual, in usual residuals."""
        return windows.by_parts(self._mean_square) * self.precision

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
