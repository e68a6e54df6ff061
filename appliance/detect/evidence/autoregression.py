"""Evidence: a channel no longer follows from its own last readings."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector, Oddity
from appliance.detect.robust import robust_centre_and_scale
from appliance.detect.windows import Windows
from appliance.records import Floats

_ORDER = 4
_RIDGE = 0.01
"""Of the variance: near-constant channels have nothing to predict from."""
_FIT_LIMIT = 6.0
_LOG_FLOOR = 1e-4


class Autoregression(EvidenceDetector):
    """Energy of the one-step prediction error of an autoregressive model per channel (Box and Jenkins 1970)."""

    least_length: ClassVar[int] = 8
    FITTED: ClassVar[tuple[str, ...]] = ("weights", "centre", "per_spread")

    def fit(self, windows: Windows, seed: int) -> None:
        """Least squares on all the windows; errors in their usual spread."""
        order = min(_ORDER, windows.values.shape[2] - 1)
        values = np.clip(windows.values, -_FIT_LIMIT, _FIT_LIMIT)
        past = _past(values, order)  # (n, channel, step, order)
        target = values[:, :, order:]
        gram = np.einsum("ncto,nctp->cop", past, past)
        moment = np.einsum("ncto,nct->co", past, target)
        power = np.trace(gram, axis1=1, axis2=2) / order
        gram += (_RIDGE * power + 1e-9)[:, None, None] * np.eye(order)
        self.weights = np.linalg.solve(gram, moment[..., None])[..., 0]  # (channel, order)
        known = np.where(windows.present > 0, self._log_errors(windows), np.nan)
        self.centre, scale = robust_centre_and_scale(known)
        self.per_spread = 1.0 / scale

    def oddity(self, windows: Windows) -> Oddity:
        """Log mean squared excess of the error over its usual size, over the channels that are present."""
        excess = np.maximum((self._log_errors(windows) - self.centre) * self.per_spread, 0.0)
        share = np.square(excess) * windows.present_share
        return Oddity(np.log1p(np.add.reduce(share, axis=1)), share)

    def _log_errors(self, windows: Windows) -> Floats:
        """[n, channel]."""
        order = self.weights.shape[1]
        values = windows.values
        error = values[:, :, order:].copy()
        for lag in range(order):
            error -= values[:, :, lag : values.shape[2] - order + lag] * self.weights[:, lag, None]
        np.square(error, out=error)
        logs: Floats = np.log(np.add.reduce(error, axis=2) / error.shape[2] + _LOG_FLOOR)
        return logs


def _past(values: Floats, order: int) -> Floats:
    view: Floats = np.lib.stride_tricks.sliding_window_view(values, order, axis=2)[:, :, :-1]
    return view
