"""Windows stacked for the detectors, with the features that several of them share: normalise → here → evidence."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from appliance.detect.robust import robust_centre_and_scale
from appliance.detect.state import Fitted
from appliance.records import Floats

Mask = NDArray[np.bool_]
Made = TypeVar("Made")

_LOG_FLOOR = 0.05
"""Added before a logarithm, in normal spreads: what lies far below the channel's own noise is all the same."""
_STANDARD_LIMIT = 30.0
"""No single feature counts for more than this many of its usual spreads."""
_PART_CELLS = 1 << 17
"""Of as many windows at once is anything made, 1 MB: all that lies between stays in the processor's cache, and a
machine of thousands of channels needs no more memory than its windows."""


class Windows:
    """A batch of normalised windows of one machine; nobody may write into any of the arrays.

    Parameters
    ----------
    values
        [n, channel, time] in normal spreads from the normal level; gaps hold the last reading before them (or the
        first after), and a channel without any reading is 0.
    mask
        [n, channel, time] where there was a reading; None where nothing is missing.
    """

    def __init__(self, values: Floats, mask: Mask | None = None) -> None:
        self.values = values
        self.mask = mask
        if mask is None:
            self.present, self.present_share = _everyone(*values.shape[:2])
        else:
            self.present = np.where(mask.any(axis=2), 1.0, 0.0)
            self.present_share = self.present / np.maximum(self.present.sum(axis=1, keepdims=True), 1.0)
        self.standard = np.empty(0)
        self._mean: Floats | None = None
        self._peaks: Floats | None = None
        self._spectrum: NDArray[np.complex128] | None = None
        self._made: dict[Callable[[Windows], Any], Any] = {}
        self._chosen: tuple[Windows, slice | NDArray[np.intp]] | None = None

    present: Floats
    """[n, channel] 1 where the channel has at least one reading in the window, else 0."""
    present_share: Floats
    """[n, channel] weights that average over the channels that are present."""
    standard: Floats
    """[n, kind of feature x channel] features in their usual spreads, 0 for a silent channel: see `FeatureScale`."""

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, which: slice | NDArray[np.intp]) -> Windows:
        chosen = self._bare(which)
        chosen.standard = self.standard[which]
        chosen._chosen = self, which
        return chosen

    def _bare(self, which: slice | NDArray[np.intp]) -> Windows:
        return Windows(self.values[which], None if self.mask is None else self.mask[which])

    def last(self, cells: int) -> Windows:
        """Return the windows' last cells only, without features."""
        return Windows(self.values[:, :, -cells:], None if self.mask is None else self.mask[:, :, -cells:])

    def each(self, make: Callable[[Windows], Floats]) -> Floats:
        """[n, ...] what a function makes of each window alone: once for these windows and all that are chosen of them.

        Nobody may write into it.
        """
        if make not in self._made:
            if self._chosen is None:
                self._made[make] = self.by_parts(make)
            else:
                whole, which = self._chosen
                self._made[make] = whole.each(make)[which]
        made: Floats = self._made[make]
        return made

    def once(self, make: Callable[[Windows], Made]) -> Made:
        """Return what a function makes of all the windows together, made when it is first asked for."""
        if make not in self._made:
            self._made[make] = make(self)
        made: Made = self._made[make]
        return made

    def by_parts(self, make: Callable[[Windows], Floats]) -> Floats:
        """[n, ...] what a function makes of each window alone, made of a few at a time; it gets no features."""
        some = parts(*self.values.shape)
        return make(self) if len(some) <= 1 else np.concatenate([make(self._bare(part)) for part in some])

    @property
    def mean(self) -> Floats:
        """[n, channel]."""
        if self._mean is None:
            self._mean = self.average(self.values)
        return self._mean

    @property
    def peaks(self) -> Floats:
        """[n, 2, channel] the highest reading, and the lowest with its sign turned."""
        if self._peaks is None:
            self._peaks = np.empty((len(self.values), 2, self.values.shape[1]))
            np.maximum.reduce(self.values, axis=2, out=self._peaks[:, 0])
            np.minimum.reduce(self.values, axis=2, out=self._peaks[:, 1])
            np.negative(self._peaks[:, 1], out=self._peaks[:, 1])
        return self._peaks

    @property
    def spectrum(self) -> NDArray[np.complex128]:
        """[n, channel, frequency] Fourier transform of the values."""
        if self._spectrum is None:
            self._spectrum = np.fft.rfft(self.values)
        return self._spectrum

    @property
    def coverage(self) -> Floats:
        """[n] share of the cells that hold a reading."""
        return np.ones(len(self.values)) if self.mask is None else self.mask.mean(axis=(1, 2))

    def average(self, cells: Floats) -> Floats:
        """Average over time the cells [n, channel, time] that hold a reading: [n, channel]."""
        average: Floats
        if self.mask is None:
            average = cells @ averaging(cells.shape[2])
        else:
            average = np.einsum("nct,nct->nc", cells, self.mask) / np.maximum(self.mask.sum(axis=2), 1)
        return average

    def features(self) -> Floats:
        """Return [n, kind of feature, channel]: mean, log spread, log roughness, trend.

        Spread is the standard deviation inside the window, roughness the mean absolute step from cell to cell, and
        trend the mean of the second half minus the mean of the first.
        """
        values, mean = self.values, self.mean
        length = values.shape[2]
        features = np.empty((len(values), 4, values.shape[1]))
        features[:, 0] = mean
        squares = np.vecdot(values, values) / length if self.mask is None else self.average(np.square(values))
        squares -= np.square(mean)
        np.sqrt(np.maximum(squares, 0.0, out=squares), out=features[:, 1])
        steps = values[:, :, 1:] - values[:, :, :-1]
        np.abs(steps, out=steps)
        np.matmul(steps, averaging(length - 1), out=features[:, 2])
        logs = features[:, 1:3]
        logs += _LOG_FLOOR
        np.log(logs, out=logs)
        np.matmul(values, _halves(length), out=features[:, 3])
        return features


class FeatureScale(Fitted):
    """The usual centre and spread of every feature of a window, over the warm-up."""

    FITTED: ClassVar[tuple[str, ...]] = ("centre", "per_spread")

    def __init__(self, windows: Windows) -> None:
        features = np.where(windows.present[:, None, :] > 0, windows.each(Windows.features), np.nan)
        self.centre, scale = robust_centre_and_scale(features)  # (kind of feature, channel)
        self.per_spread = 1.0 / scale

    def apply(self, windows: Windows) -> None:
        """Give the windows their `standard` features."""
        standard = windows.each(Windows.features) - self.centre
        standard *= self.per_spread
        np.minimum(np.maximum(standard, -_STANDARD_LIMIT, out=standard), _STANDARD_LIMIT, out=standard)
        if windows.mask is not None:
            standard *= windows.present[:, None, :]
        windows.standard = standard.reshape(len(windows), -1)


def parts(windows: int, channels: int, cells: int) -> list[slice]:
    """Return slices of so few windows that what is made of them on the way stays in the processor's cache."""
    few = max(1, _PART_CELLS // max(1, channels * cells))
    return [slice(at, at + few) for at in range(0, windows, few)]


def over_kinds(squares: Floats, channels: int) -> Floats:
    """[n, channel] sum over the kinds of feature of [n, kind of feature x channel]."""
    parts = squares.reshape(len(squares), -1, channels)
    energy: Floats = np.ones(parts.shape[1]) @ parts
    return energy


@lru_cache(maxsize=64)
def averaging(cells: int) -> Floats:
    """[cells] weights of a mean: on arrays this small a matrix product takes half the time of a sum."""
    return np.full(cells, 1.0 / max(cells, 1))


@lru_cache(maxsize=64)
def _halves(cells: int) -> Floats:
    """[cells] weights of the mean of the second half minus the mean of the first."""
    half = max(cells // 2, 1)
    weights = np.zeros(cells)
    weights[-half:] += 1.0 / half
    weights[:half] -= 1.0 / half
    return weights


@lru_cache(maxsize=64)
def _everyone(windows: int, channels: int) -> tuple[Floats, Floats]:
    """`present` and `present_share` where nothing is missing."""
    present = np.ones((windows, channels))
    return present, present / max(channels, 1)


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
