"""Evidence: the end of the window does not follow from its beginning."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector, Oddity
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
        past, ahead = np.clip(past, -_FIT_LIMIT, _FIT_LIMIT), np.clip(ahead, -_FIT_LIMIT, _FIT_LIMIT)
        gram = past.T @ past
        gram += _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
        self.weights = np.linalg.solve(gram, past.T @ ahead.reshape(len(ahead), -1)).astype(np.float32)

    def oddity(self, windows: Windows) -> Oddity:
        """Log mean squared error over the channels that are present."""
        past, ahead = self._split(windows)
        error = ahead - (past @ self.weights).reshape(ahead.shape)
        share = np.add.reduce(np.square(error, out=error), axis=2) / ahead.shape[2] * windows.present_share
        return Oddity(np.log1p(np.add.reduce(share, axis=1)), share)

    def _split(self, windows: Windows) -> tuple[Floats, Floats]:
        """Predictors [n, predictor] and what is to be forecast [n, channel, time]."""
        values = windows.values
        ahead = values.shape[2] // _AHEAD
        before = values[:, :_MOST_CHANNELS, :-ahead]
        reaches = [*(reach for reach in _REACHES if reach < before.shape[2]), before.shape[2]]
        past = np.ones((len(values), len(reaches) * before.shape[1] + 1))
        for number, reach in enumerate(reaches):
            columns = slice(number * before.shape[1], (number + 1) * before.shape[1])
            np.divide(np.add.reduce(before[:, :, -reach:], axis=2), reach, out=past[:, columns])
        return past, values[:, :, -ahead:]
