"""Evidence: a channel no longer follows from its own last readings."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector
from appliance.detect.robust import robust_centre_and_scale, squared_excess
from appliance.detect.windows import Windows
from appliance.records import Floats

_ORDER = 4
_RIDGE = 0.01
"""Of the variance: near-constant channels have nothing to predict from."""
_FIT_LIMIT = 6.0
_LOG_FLOOR = 1e-4
_AT_ONCE = 500
"""Channels that are copied at once."""


class Autoregression(EvidenceDetector):
    """Energy of the one-step prediction error of an autoregressive model per channel (Box and Jenkins 1970)."""

    least_length: ClassVar[int] = 8
    FITTED: ClassVar[tuple[str, ...]] = ("weights", "centre", "per_spread")

    def fit(self, windows: Windows, seed: int) -> None:
        """Least squares on all the windows; errors in their usual spread."""
        order = min(_ORDER, windows.values.shape[2] - 1)
        channels = windows.values.shape[1]
        gram, moment = np.empty((channels, order, order)), np.empty((channels, order))
        for some in (slice(first, first + _AT_ONCE) for first in range(0, channels, _AT_ONCE)):
            values = np.clip(windows.values[:, some], -_FIT_LIMIT, _FIT_LIMIT)
            past = _past(values, order)  # (n, channel, step, order)
            np.einsum("ncto,nctp->cop", past, past, out=gram[some])
            np.einsum("ncto,nct->co", past, values[:, :, order:], out=moment[some])
        power = np.trace(gram, axis1=1, axis2=2) / order
        gram += (_RIDGE * power + 1e-9)[:, None, None] * np.eye(order)
        self.weights = np.linalg.solve(gram, moment[..., None])[..., 0]  # (channel, order)
        known = np.where(windows.present > 0, windows.by_parts(self._log_errors), np.nan)
        self.centre, scale = robust_centre_and_scale(known)
        self.per_spread = 1.0 / scale

    def energy(self, windows: Windows) -> Floats:
        """Squared excess of the error over its usual size."""
        return squared_excess(windows.by_parts(self._log_errors), self.centre, self.per_spread)

    def _log_errors(self, windows: Windows) -> Floats:
        """[n, channel]."""
        channels, order = self.weights.shape
        values = np.ascontiguousarray(windows.values)
        step, cells = values.itemsize, values.shape[2] - order
        lagged: Floats = np.ndarray(
            (len(values), channels, order + 1, cells), values.dtype, values, strides=(*values.strides[:2], step, step)
        )  # a view: each row one cell later than the one before
        filter_ = np.empty((channels, 1, order + 1))
        filter_[:, 0, :order], filter_[:, 0, order] = self.weights, -1.0
        error = (filter_ @ lagged)[:, :, 0]
        logs: Floats = np.log(np.vecdot(error, error) / cells + _LOG_FLOOR)
        return logs


def _past(values: Floats, order: int) -> Floats:
    view: Floats = np.lib.stride_tricks.sliding_window_view(values, order, axis=2)[:, :, :-1]
    return view
