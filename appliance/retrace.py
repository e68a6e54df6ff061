"""What a new fit makes of stretches read before it: history → here → traces, so that old labels teach it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from appliance.detect.detector import Detector
from appliance.detect.scales import LONGEST, Past
from appliance.history import Stretch
from appliance.records import Floats, Trace
from appliance.windows import GridSpec, fill_gaps

MOST_WINDOWS = 1000
"""Looked at again at a fit, the latest: about a second."""


def retrace(
    detector: Detector,
    grid: GridSpec,
    stretches: Iterable[Stretch],
    read: Callable[[Stretch], Floats],
    *,
    until: float,
) -> Iterator[tuple[float, Trace]]:
    """Judge the windows of stretches again, each with what came before it; yields the end of a window and its trace.

    Parameters
    ----------
    stretches
        Unix seconds, in order of time.
    read
        Returns [channel, time] in raw units with NaN for missing, of the channels that the detector knows.
    until
        Unix seconds: the end of the last window that was judged.
    """
    hop_secs, length_secs = grid.hop * grid.period_secs, grid.length * grid.period_secs
    done = -math.inf
    for start, end in _latest(stretches, hop_secs):
        first = max(
            math.floor((start - length_secs) / hop_secs) * hop_secs, done
        )  # of the first window that reaches in
        begin = first - (LONGEST - 1) * length_secs
        last = min(math.ceil(end / hop_secs) * hop_secs, until - length_secs + hop_secs)  # no window begins later
        series = read((begin, last + length_secs))
        filled = fill_gaps(series.T, grid.fill, grid.hold_cells).T
        past = Past(grid.length, grid.hop)
        at = 0
        while at + grid.length <= filled.shape[1] and begin + at * grid.period_secs < last:
            window = filled[:, at : at + grid.length]
            if begin + at * grid.period_secs >= first and np.isfinite(window).any():
                verdict = detector.score(window, past)
                yield begin + (at + grid.length) * grid.period_secs, Trace(verdict.unlabelled, verdict.traits)
            past.extend(series[:, at : at + grid.hop].astype(np.float32))
            at += grid.hop
        done = last


def _latest(stretches: Iterable[Stretch], hop_secs: float) -> list[Stretch]:
    """Return the last stretches that hold no more windows than are looked at again."""
    kept: list[Stretch] = []
    windows = 0.0
    for start, end in sorted(stretches, reverse=True):
        windows += (end - start) / hop_secs
        if windows > MOST_WINDOWS and kept:
            break
        kept.append((max(start, end - MOST_WINDOWS * hop_secs), end))
    return kept[::-1]
