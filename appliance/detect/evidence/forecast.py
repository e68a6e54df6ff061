"""Evidence: the end of the window does not follow from its beginning."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector
from appliance.detect.windows import Windows
from appliance.records import Floats

_AHEAD = 4
"""The last quarter of the window is forecast."""
_REACHES = (1, 4, 12)
"""Cells before it whose means are looked at, beside the mean of all of them."""
_RIDGE = 0.03
"""Of the mean power of the predictors."""
_FIT_LIMIT = 6.0
_MOST_CHANNELS = 40
"""Of more, all are predicted from these: the equations grow with the square."""
_AT_ONCE = 500
"""Channels whose equations are solved at once: those of ten thousand take half a gigabyte."""


class Forecast(EvidenceDetector):
    """Squared error of a linear forecast of every channel from the recent means of all channels.

    Ridge regression (Hoerl and Kennard 1970), as a vector autoregression over growing reaches. Unlike in most of the
    other views a channel counts as much as it is off in its own normal spreads, whatever its usual error.
    """

    least_length: ClassVar[int] = 8
    FITTED: ClassVar[tuple[str, ...]] = ("weights",)

    def fit(self, windows: Windows, seed: int) -> None:
        """Least squares over the warm-up's windows."""
        past, ahead = self._split(windows)
        past = np.clip(past, -_FIT_LIMIT, _FIT_LIMIT)
        gram = past.T @ past
        gram += _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
        _, channels, cells = ahead.shape
        self.weights = np.empty((len(gram), channels * cells), dtype=np.float32)
        for first in range(0, channels, _AT_ONCE):
            wanted = np.clip(ahead[:, first : first + _AT_ONCE], -_FIT_LIMIT, _FIT_LIMIT).reshape(len(ahead), -1)
            columns = slice(first * cells, first * cells + wanted.shape[1])
            self.weights[:, columns] = np.linalg.solve(gram, past.T @ wanted)
        self._prepare()

    def energy(self, windows: Windows) -> Floats:
        """Mean squared error."""
        past, ahead = self._split(windows)
        error = ahead - (past @ self._weights).reshape(ahead.shape)
        mean: Floats = np.vecdot(error, error) / ahead.shape[2]
        return mean

    def _prepare(self) -> None:
        """Convert once what is saved in half the bytes: it takes longer than the product."""
        self._weights = self.weights.astype(np.float64)

    def _split(self, windows: Windows) -> tuple[Floats, Floats]:
        """Predictors [n, predictor] and what is to be forecast [n, channel, time]."""
        values = windows.values
        ahead = values.shape[2] // _AHEAD
        before = values[:, :_MOST_CHANNELS, :-ahead]
        means = _reaches(before.shape[2]) @ before.swapaxes(1, 2)  # (n, reach, channel)
        past = np.ones((len(values), means.shape[1] * means.shape[2] + 1))
        past[:, :-1] = means.reshape(len(values), -1)
        return past, values[:, :, -ahead:]


@lru_cache
def _reaches(cells: int) -> Floats:
    """[reach, cell] weights of the means over the last cells, one row for each reach."""
    weights = np.zeros((len(_REACHES) + 1, cells))
    reaches = [*(reach for reach in _REACHES if reach < cells), cells]
    for row, reach in zip(weights, reaches, strict=False):
        row[-reach:] = 1.0 / reach
    return weights[: len(reaches)]
