"""Windows stacked for the detectors, with the statistics that several of them share: normalise → here → evidence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from appliance.records import Floats

Mask = NDArray[np.bool_]

_LOG_FLOOR = 0.05
"""Added before a logarithm, in normal spreads: what lies far below the channel's own noise is all the same."""


@dataclass(frozen=True)
class Windows:
    """A batch of normalised windows of one machine.

    Statistics are computed when first asked for and shared by all the detectors that look at the batch; nobody may
    write into any of the arrays.

    Parameters
    ----------
    values
        [n, channel, time] in normal spreads from the normal level; gaps hold the last reading before them (or the
        first after), and a channel without any reading is 0.
    mask
        [n, channel, time] where there was a reading; None where nothing is missing.
    """

    values: Floats
    mask: Mask | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, which: slice | NDArray[np.intp]) -> Windows:
        return Windows(self.values[which], None if self.mask is None else self.mask[which])

    @cached_property
    def present(self) -> Floats:
        """[n, channel] 1 where the channel has at least one reading in the window, else 0."""
        if self.mask is None:
            return np.ones(self.values.shape[:2])
        return np.where(self.mask.any(axis=2), 1.0, 0.0)

    @cached_property
    def present_share(self) -> Floats:
        """[n, channel] weights that average over the channels that are present."""
        share: Floats = self.present / np.maximum(self.present.sum(axis=1, keepdims=True), 1.0)
        return share

    def average(self, cells: Floats) -> Floats:
        """Average over time the cells [n, channel, time] that hold a reading: [n, channel]."""
        average: Floats
        if self.mask is None:
            average = np.add.reduce(cells, axis=2) / cells.shape[2]
        else:
            average = np.einsum("nct,nct->nc", cells, self.mask) / np.maximum(self.mask.sum(axis=2), 1)
        return average

    @cached_property
    def mean(self) -> Floats:
        """[n, channel]."""
        return self.average(self.values)

    @cached_property
    def centred(self) -> Floats:
        """[n, channel, time] values minus their window's mean."""
        return self.values - self.mean[:, :, None]

    @cached_property
    def log_spread(self) -> Floats:
        """[n, channel] log of the standard deviation inside the window."""
        return np.log(np.sqrt(self.average(np.square(self.centred))) + _LOG_FLOOR)

    @cached_property
    def log_roughness(self) -> Floats:
        """[n, channel] log of the mean absolute step from cell to cell."""
        steps = np.abs(self.values[:, :, 1:] - self.values[:, :, :-1])
        roughness: Floats = np.log(np.add.reduce(steps, axis=2) / max(steps.shape[2], 1) + _LOG_FLOOR)
        return roughness

    @cached_property
    def peak(self) -> Floats:
        """[n, channel] largest distance from the normal level."""
        peak: Floats = np.maximum.reduce(np.abs(self.values), axis=2)
        return peak

    @cached_property
    def trend(self) -> Floats:
        """[n, channel] mean of the second half minus mean of the first."""
        half = self.values.shape[2] // 2
        if half == 0:
            return np.zeros(self.values.shape[:2])
        first, second = self.values[:, :, :half], self.values[:, :, -half:]
        trend: Floats = (np.add.reduce(second, axis=2) - np.add.reduce(first, axis=2)) / half
        return trend

    @cached_property
    def features(self) -> Floats:
        """[n, kind of feature, channel]: mean, log spread, log roughness, trend."""
        return np.stack((self.mean, self.log_spread, self.log_roughness, self.trend), axis=1)

    @cached_property
    def known_features(self) -> Floats:
        """[n, kind of feature, channel] features, NaN for a channel without readings: to fit on."""
        return np.where(self.present[:, None, :] > 0, self.features, np.nan)


def cut(series: Floats, length: int, hop: int) -> Floats:
    """Cut a series into its overlapping windows.

    Parameters
    ----------
    series
        [channel, time].
    length, hop
        Cells per window, and cells from one window's start to the next.

    Returns
    -------
    view
        [n, channel, time], oldest first; n is 0 where the series is shorter than one window. A view: do not write.
    """
    if series.shape[1] < length:
        return np.empty((0, series.shape[0], length))
    return np.lib.stride_tricks.sliding_window_view(series, length, axis=1)[:, ::hop].transpose(1, 0, 2)


def hold(values: Floats, mask: Mask) -> Floats:
    """Fill every gap with the reading before it, a leading gap with the first reading, a silent channel with 0.

    Parameters
    ----------
    values, mask
        [..., time]; what is not in the mask is ignored.
    """
    time = np.arange(values.shape[-1])
    last = np.maximum.accumulate(np.where(mask, time, -1), axis=-1)
    first = mask.argmax(axis=-1)[..., None]
    filled = np.take_along_axis(values, np.where(last < 0, first, last), axis=-1)
    return np.where(mask.any(axis=-1, keepdims=True), filled, 0.0)
