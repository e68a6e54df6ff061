"""How a detector is made: a machine's warm-up → windows on every scale → detectors, ranks, precedents, calibration.

Each window of the warm-up is judged by what was fitted without it: only so is it as strange as one that is to come.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from appliance.detect.calibrate import Calibrator, block_windows
from appliance.detect.detector import LEAST_COVERAGE, Detector, DetectorOptions, nearly_whole
from appliance.detect.lens import FOLDS, MOST_PARTS, Lens, folds
from appliance.detect.normalise import Normaliser, spread_of_means
from appliance.detect.precedents import Precedents
from appliance.detect.scales import Scale, hops_held, pool, scales_for, unit_of
from appliance.detect.traces import Traces
from appliance.detect.windows import Windows, cut
from appliance.records import Floats

Indices = NDArray[np.intp]

_LEAST_WINDOWS = 8 * FOLDS
_MOST_CELLS = 6_000_000
"""Cells of warm-up windows held at once, 48 MB and a few copies: a machine of 100 channels is fitted on fewer of them,
in seconds and on a gateway."""


def fit(series: Floats, *, length: int, hop: int, seed: int, options: DetectorOptions) -> tuple[Detector, Traces]:
    """Fit on a machine's warm-up.

    Parameters
    ----------
    series
        [channel, time] on the machine's grid in raw units, NaN for missing; a few per cent of it may be strange.
    length, hop
        Cells per window, and from window to window.
    seed
        Of everything that is drawn at random.

    Returns
    -------
    detector, traces
        And what it makes of the warm-up's windows, each judged by what was fitted without it: for `adapt`.

    Raises
    ------
    ValueError
        Fewer than 32 windows are at least half covered, or there is no channel.
    """
    if not len(series):
        raise ValueError("cannot fit a machine without a channel")
    total = (series.shape[1] - length) // hop + 1
    most = max(2 * _LEAST_WINDOWS, min(options.max_windows, _MOST_CELLS // (len(series) * length)))
    per_hop = 2 if hop % 2 == 0 and 2 * total <= most else 1
    step = hop // per_hop * max(1, -(-total // most))
    raw = cut(series, length, step)
    ends = length + step * np.arange(len(raw))
    usable = np.isfinite(raw).mean(axis=(1, 2)) >= LEAST_COVERAGE if len(raw) else np.empty(0, dtype=bool)
    ends = ends[usable]
    if len(ends) < _LEAST_WINDOWS:
        msg = (
            f"warm-up of {series.shape[1]} cells has {len(ends)} usable windows of {length} cells, "
            f"needs {_LEAST_WINDOWS}: let it run longer"
        )
        raise ValueError(msg)
    normaliser = Normaliser(series, rate=1.0 / (options.memory * max(total, _LEAST_WINDOWS)))
    windows = normaliser.apply(raw if usable.all() else raw[usable])
    lenses: dict[str, Lens] = {}
    narrower: dict[str, Floats] = {}
    combined = np.zeros(len(ends))
    traits: list[Floats] = []

    def look(scale: Scale, at_scale: Windows, seen: Indices) -> None:
        lens, loud = Lens.fit(scale, at_scale, series.shape[1] / (length * scale.stride), seed)
        lenses[scale.suffix] = lens
        if scale.stride > 1:  # held over some hops, as it will be
            _, first, turn = np.unique(
                ends[seen] // (hop * hops_held(scale, length, hop)), return_index=True, return_inverse=True
            )
            loud = loud[first][turn]
        combined[seen] += lens.combine(loud)
        traits.append(np.zeros((len(ends), loud.shape[1])))
        traits[-1][seen] = loud

    scales = scales_for(length)
    for scale in (each for each in scales if each.stride == 1):
        cells = scale.cells(length)
        look(scale, windows if cells == length else windows.last(cells), np.arange(len(ends)))
    standard = windows.standard
    del windows  # of thousands of channels each scale's take hundreds of megabytes
    for scale in (each for each in scales if each.stride > 1):
        stretches = _stretches(series, ends, length, scale, unit_of(hop))
        seen = np.flatnonzero(np.isfinite(stretches).mean(axis=(1, 2)) >= LEAST_COVERAGE)
        if len(seen) < _LEAST_WINDOWS:
            continue
        if len(seen) < len(stretches):
            stretches = stretches[seen]
        narrower[scale.suffix] = spread_of_means(stretches, normaliser)
        at_scale = normaliser.apply(stretches, narrower[scale.suffix])
        del stretches
        look(scale, at_scale, seen)
        del at_scale
    strangeness = combined / sum(lens.scale.weight for lens in lenses.values())
    precedents = Precedents(standard, strangeness)
    new = _without_precedent(standard, strangeness)
    calibrator = Calibrator(new[::per_hop], block_windows(length, hop), options.confirm, options.of)
    detectors = sum(len(lens.detectors) for lens in lenses.values())
    warm_up = Traces(new, np.hstack([*traits, standard]), detectors)[::per_hop]
    return Detector(unit_of(hop), normaliser, lenses, narrower, precedents, calibrator), warm_up


def _stretches(series: Floats, ends: Indices, length: int, scale: Scale, unit: int) -> Floats:
    """Means [n, channel, length] over the cells of a slow scale up to each end; NaN before the series began."""
    wanted = length * scale.stride // unit
    whole = pool(series[:, : series.shape[1] // unit * unit], unit)
    padded = np.pad(whole, ((0, 0), (wanted, 0)), constant_values=np.nan)
    views = np.lib.stride_tricks.sliding_window_view(padded, wanted, axis=1)  # (channel, last unit, unit)
    chunk = max(1, _MOST_CELLS // (len(series) * wanted))
    means: Floats = np.empty((len(ends), len(series), length), dtype=whole.dtype)
    for first in range(0, len(ends), chunk):
        some = ends[first : first + chunk] // unit
        means[first : first + chunk] = pool(views[:, some].swapaxes(0, 1), scale.stride // unit)
        nearly_whole(means[first : first + chunk])
    return means


def _without_precedent(standard: Floats, strangeness: Floats) -> Floats:
    """Strangeness [n] of each window less what the other parts of the warm-up have shown."""
    fold = folds(len(standard), MOST_PARTS)
    new = strangeness.copy()
    for number in range(FOLDS):
        precedents = Precedents(standard[fold != number], strangeness[fold != number])
        for i in np.flatnonzero(fold == number):
            new[i] = precedents.forgive(standard[i], float(strangeness[i]))
    return new
