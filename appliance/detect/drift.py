"""Whether normal has changed without an alert: scores of normal windows → here → an early refit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from river.drift import ADWIN

_SURE_ERRORS = 2.0
"""Standard errors by which the later half must lie above the earlier one to be rising."""
_REMEMBERED = 512
"""Means after which the detector is built anew from the last so many: bounds what a restart must hear again."""


class Drift:
    """Follows the mean of a bounded statistic with ADWIN, which keeps the longest past that has the same mean.

    Many windows make one number, so that it costs little. What is saved are these numbers, not the detector: the same
    numbers make the same detector again.

    References
    ----------
    Bifet and Gavaldà, "Learning from Time-Changing Data with Adaptive Windowing", SDM 2007.
    """

    def __init__(self, windows_per_mean: int) -> None:
        self._per_mean = windows_per_mean
        self._waiting: list[float] = []
        self.reset()

    def reset(self) -> None:
        """Forget everything: what is followed is measured anew from here on."""
        self._waiting.clear()
        self._hear_again([])

    def take(self, value: float) -> bool:
        """Take in a normal window's statistic, 0 to 1; return whether its mean has changed."""
        self._waiting.append(value)
        if len(self._waiting) < self._per_mean:
            return False
        if len(self._means) >= 2 * _REMEMBERED:
            self._hear_again(self._means[-_REMEMBERED:])
        mean = float(np.float32(sum(self._waiting) / self._per_mean))  # as it is saved
        self._waiting.clear()
        self._means.append(mean)
        self._adwin.update(mean)
        return bool(self._adwin.drift_detected)

    def rises(self, windows: int) -> bool:
        """Whether the statistic has been rising over the last so many windows, by less than ADWIN is sure of."""
        means = np.array(self._means[-max(windows // self._per_mean, 4) :])
        older, newer = np.array_split(means, 2)
        error = math.sqrt(older.var() / len(older) + newer.var() / len(newer))
        return bool(newer.mean() - older.mean() > _SURE_ERRORS * error)

    def _hear_again(self, means: list[float]) -> None:
        self._means = means
        self._adwin: Any = ADWIN(clock=1)
        for mean in means:
            self._adwin.update(mean)

    def snapshot(self) -> dict[str, Any]:
        """State for a restart."""
        return {"waiting": list(self._waiting), "means": np.array(self._means, dtype=np.float32)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a snapshot."""
        self._waiting = list(state["waiting"])
        self._hear_again(state["means"].tolist())
