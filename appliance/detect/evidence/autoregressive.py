"""Evidence: a channel no longer follows from its own last few readings."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.evidence.channelwise import ChannelStatistic
from appliance.detect.windows import Windows
from appliance.records import Floats

_ORDER = 3
_RIDGE = 1e-3
"""Share of the lag covariance's trace added to its diagonal: constant and quantised channels stay solvable."""
_LOG_FLOOR = 0.01


class Autoregressive(ChannelStatistic):
    """Log mean absolute error of predicting each reading from the three before it, by a line fitted to the warm-up."""

    FITTED: ClassVar[tuple[str, ...]] = ("coefficients", *ChannelStatistic.FITTED)

    def fit(self, windows: Windows, seed: int) -> None:
        """Fit the prediction line of each channel, then its usual error."""
        lagged, target = _lagged(windows.values)  # (lag, n, channel, time), (n, channel, time)
        covariance = np.einsum("lnct,mnct->clm", lagged, lagged)
        covariance += (_RIDGE * np.trace(covariance, axis1=1, axis2=2) + 1e-9)[:, None, None] * np.eye(len(lagged))
        self.coefficients = np.linalg.solve(covariance, np.einsum("lnct,nct->cl", lagged, target)[:, :, None])[:, :, 0]
        super().fit(windows, seed)

    def statistic(self, windows: Windows) -> Floats:
        """Log mean absolute prediction error."""
        lagged, target = _lagged(windows.values)
        error = target.copy()
        for lag, values in enumerate(lagged):
            error -= values * self.coefficients[:, lag, None]
        np.abs(error, out=error)
        log_error: Floats = np.log(np.add.reduce(error, axis=2) / max(error.shape[2], 1) + _LOG_FLOOR)
        return log_error


def _lagged(values: Floats) -> tuple[list[Floats], Floats]:
    order = min(_ORDER, values.shape[2] - 1)
    time = values.shape[2]
    return [values[:, :, order - lag : time - lag] for lag in range(1, order + 1)], values[:, :, order:]
