"""Raw units → normal spreads, per channel and machine: the first stage of detection."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from appliance.detect.state import Fitted
from appliance.detect.windows import Windows, hold, parts
from appliance.records import Floats

_KNEE = 4.0
"""Spreads from the normal level up to which the scale is about linear; beyond it grows like a logarithm."""
_LIMIT = 30.0
"""Nothing counts for more than this: about 3,600 spreads."""
_LIMIT_OF_CONSTANT = 4.0
"""And a channel that never moved for no more than this: its spread is unknown, so how far it moved means little. A
status bit that is set for the first time must be heard, and a fault beside it too."""
_LARGEST = 1e150
"""Larger readings count as this in warm-up, so that differences stay finite."""
_NARROWEST = 0.1
"""Means over slow scales are never taken to be known better than this share of a single reading's spread."""
_IQR_OF_NORMAL = 1.349
"""Interquartile range of a standard normal distribution: turns an IQR into a standard deviation."""
_RELATIVE_FLOOR = 0.01
"""A channel that never moved in warm-up is taken to be known to one part in a hundred of its level."""
_ABSOLUTE_FLOOR = 1e-3
"""And where that level is 0, to this much of its unit."""
_TAIL_SHARE = 0.25
"""Weight of the 2nd to 98th percentile: a channel that mostly rests has an IQR of its rest only."""
_TAIL_OF_NORMAL = 4.107
"""2nd to 98th percentile of a standard normal distribution."""


class Normaliser(Fitted):
    """Centre and scale of each channel, robust to a few per cent of strange warm-up.

    The centre is the median and the scale the interquartile range, with floors for channels that are quantised, at
    rest or constant. Centre and scale then follow the machine slowly, through `learn`.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("rate", "limit")
    LIVE: ClassVar[tuple[str, ...]] = ("centre", "scale")

    def __init__(self, series: Floats, rate: float) -> None:
        """Fit on a series [channel, time] with NaN for missing; follow it by the share ``rate`` per learned window."""
        self.rate = rate
        self.centre = np.zeros(len(series))
        self.scale = np.ones(len(series))
        self.limit = np.full(len(series), _LIMIT)
        for channel, values in enumerate(series):
            known = values[np.isfinite(values)]
            if known.size:
                self.centre[channel], self.scale[channel] = _centre_and_scale(
                    np.clip(known.astype(np.float64), -_LARGEST, _LARGEST)
                )
                if known.min() == known.max():
                    self.limit[channel] = _LIMIT_OF_CONSTANT
        self._prepare()

    def _prepare(self) -> None:
        self._per_knee = (1.0 / (_KNEE * self.scale))[:, None]
        self._highest, self._lowest = self.limit[:, None], -self.limit[:, None]

    def apply(self, values: Floats, narrower: Floats | None = None) -> Windows:
        """Normalise raw windows [n, channel, time]; what is not finite is missing.

        Parameters
        ----------
        narrower
            [channel] the spread of these values as a share of that of single readings, where they are means of some.
        """
        per_knee = self._per_knee if narrower is None else self._per_knee / narrower[:, None]
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.subtract(values, self.centre[:, None], order="C")
            scaled *= per_knee
            np.arcsinh(scaled, out=scaled)
        scaled *= _KNEE
        mask = None
        if not math.isfinite(np.vdot(scaled, scaled)):
            mask = np.isfinite(scaled)
            for part in parts(*scaled.shape):
                scaled[part] = hold(scaled[part], mask[part])
        np.minimum(scaled, self._highest, out=scaled)
        np.maximum(scaled, self._lowest, out=scaled)
        return Windows(scaled, mask)

    def learn(self, window: Windows, doubt: float) -> None:
        """Follow one normal window, the less the more it is in ``doubt`` (0 none … 1 learn nothing).

        The centre moves towards the window's level by at most one spread times the rate, so that no single window
        and no slow fault can carry it away quickly.
        """
        step = self.rate * (1.0 - doubt) * window.present[0]
        self.centre += step * self.scale * np.minimum(np.maximum(window.mean[0], -1.0), 1.0)


def _centre_and_scale(known: Floats) -> tuple[float, float]:
    low, quarter, centre, three_quarters, high = np.quantile(known, (0.02, 0.25, 0.5, 0.75, 0.98))
    steps = np.abs(np.diff(known))
    steps = steps[steps > 0]
    quantum = float(np.median(steps)) if steps.size else 0.0
    return float(centre), float(
        max(
            (three_quarters - quarter) / _IQR_OF_NORMAL,
            _TAIL_SHARE * (high - low) / _TAIL_OF_NORMAL,
            quantum / 2 if three_quarters == quarter else 0.0,
            _RELATIVE_FLOOR * abs(centre) if not steps.size else 0.0,
            _ABSOLUTE_FLOOR if not steps.size else np.finfo(float).tiny,
        )
    )


def spread_of_means(means: Floats, normaliser: Normaliser) -> Floats:
    """[channel] spread of means over several cells [n, channel, time] as a share of that of single readings."""
    narrower = np.ones(means.shape[1])
    for channel in range(means.shape[1]):
        known = means[:, channel][np.isfinite(means[:, channel])]
        if known.size:
            scale = _centre_and_scale(np.clip(known, -_LARGEST, _LARGEST))[1]
            narrower[channel] = scale / normaliser.scale[channel]
    return np.clip(narrower, _NARROWEST, 1.0)
