"""Normalised windows → the planes that the encoder looks at, the same in training and in the service."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.detect.evidence.pca_residual import PcaResidual
from appliance.detect.state import Fitted, State
from appliance.detect.windows import Windows

PLANES = 4
"""Level, step, shape, residual."""
_STEP_FLOOR = 0.05
"""Of a channel's usual step, in normal spreads: what hardly moves from cell to cell must not make noise of rounding."""
_SHAPE_FLOOR = 0.2
"""Added to a window's own spread, in normal spreads: a channel at rest has no shape worth enlarging."""


class Planes(NamedTuple):
    """What the encoder is given of some windows."""

    cells: NDArray[np.float32]
    """[n, channel, plane, time] on a scale of about ±5; 0 where there is no reading."""
    mask: NDArray[np.float32]
    """[n, channel, time] 1 where there was a reading, else 0."""


class PlaneScale(Fitted):
    """A machine's usual steps from cell to cell and the plane in which its channels move, over the warm-up.

    The planes of a channel are its value in normal spreads, the step from the cell before in usual steps, the value
    less the window's mean in the window's spread, and the residual from the principal plane in usual residuals; each
    through asinh. A channel without any reading is filled in for the others' residuals (`subspace.impute`) and left
    out by its mask.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("per_step",)

    def __init__(self, windows: Windows, seed: int) -> None:
        steps = np.abs(np.diff(windows.values, axis=2)).mean(axis=2) if windows.values.shape[2] > 1 else windows.mean
        self.per_step = 1.0 / np.maximum(np.abs(steps).mean(axis=0), _STEP_FLOOR)  # (channel)
        self.residual = PcaResidual()
        self.residual.fit(windows, seed)

    def of(self, windows: Windows) -> Planes:
        """Make the planes of a batch of windows."""
        values = windows.values
        cells = np.empty((len(values), values.shape[1], PLANES, values.shape[2]), dtype=np.float32)
        offsets = values - windows.mean[:, :, None]
        spread = np.sqrt(windows.average(np.square(offsets)))
        cells[:, :, 0] = values
        cells[:, :, 1, 0] = 0.0
        cells[:, :, 1, 1:] = np.diff(values, axis=2) * self.per_step[:, None]
        cells[:, :, 2] = offsets / (spread + _SHAPE_FLOOR)[:, :, None]
        cells[:, :, 3] = self.residual.residuals(windows)
        np.arcsinh(cells, out=cells)
        if windows.mask is None:
            return Planes(cells, np.ones(values.shape, dtype=np.float32))
        mask = windows.mask.astype(np.float32)
        cells *= mask[:, :, None]
        return Planes(cells, mask)

    def snapshot(self) -> tuple[State, State]:
        """Return the fitted values, those of the residual among them."""
        fitted, live = super().snapshot()
        return fitted | {"residual": self.residual.snapshot()[0]}, live

    @classmethod
    def restore(cls, fitted: State, live: State) -> PlaneScale:
        """Build it again."""
        restored = super().restore(fitted, live)
        restored.residual = PcaResidual.restore(fitted["residual"], {})
        return restored
