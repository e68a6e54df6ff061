"""Which stretches of a machine's past an operator's label would teach most: scores and traces → here → questions.

A label teaches where the detector is in doubt, and where nothing like it has been labelled yet: uncertainty times
novelty, as in active learning for anomaly detection (Das et al. 2016 ask for the strangest; what is far above the
threshold has alerted already, and its label comes by itself).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.detect.head import signed_log
from appliance.detect.traces import Traces
from appliance.records import Floats

_DOUBT = 0.7
"""In scores: so far from the threshold half of the doubt is gone. A factor of five in how rare a window is."""
_LEAST_DOUBT = 0.1
"""Below, there is nothing to ask about."""
_MOST_GAP = 3
"""Windows between two doubtful ones that are still one stretch."""


class Question(NamedTuple):
    """A stretch of windows to show to the operator."""

    first: int
    end: int
    """One after its last window."""
    strangest: int
    """The window to show it by."""
    worth: float
    """0 to 1."""


def questions(
    scores: Floats, thresholds: Floats, traces: Traces, labelled: NDArray[np.bool_], most: int
) -> list[Question]:
    """Choose what to ask, most worth first.

    Parameters
    ----------
    scores, thresholds
        [n] of the windows in time order; NaN where there was no score.
    traces
        The same windows.
    labelled
        [n] windows about which the operator has said something, in either way.
    most
        Questions at most.

    Returns
    -------
    questions
        Fewer than ``most`` where there is no more to be in doubt about. No two of them are about like windows.
    """
    doubt = np.nan_to_num(np.exp2(-np.abs(scores - thresholds) / _DOUBT))
    doubt[labelled] = 0.0
    stretches = _stretches(np.flatnonzero(doubt >= _LEAST_DOUBT))
    peaks = np.array([first + int(np.argmax(doubt[first:end])) for first, end in stretches], dtype=np.intp)
    rows = signed_log(traces.features)
    known = [rows[labelled]] if labelled.any() else []
    chosen: list[Question] = []
    left = list(range(len(stretches)))
    while left and len(chosen) < most:
        novel = novelty(rows[peaks[left]], known)
        worth = doubt[peaks[left]] * novel
        best = int(np.argmax(worth))
        number = left.pop(best)
        if worth[best] <= 0.0:
            break
        first, end = stretches[number]
        strangest = first + int(np.nanargmax(scores[first:end]))
        chosen.append(Question(first, end, strangest, float(worth[best])))
        known.append(rows[peaks[number]][None])
    return chosen


def novelty(rows: Floats, known: list[Floats]) -> Floats:
    """Return [n], 1 for what is like nothing known and 0 for what was seen: the share of it that is not explained.

    Of the squared distance from usual of a row x, a known row r explains (2 x·r − |r|²) / |x|².
    """
    if not known:
        return np.ones(len(rows))
    references = np.concatenate(known)
    explained = (2.0 * rows @ references.T - np.square(references).sum(axis=1)).max(axis=1)
    novel: Floats = np.clip(1.0 - explained / np.maximum(np.square(rows).sum(axis=1), 1e-9), 0.0, 1.0)
    return novel


def _stretches(windows: NDArray[np.intp]) -> list[tuple[int, int]]:
    """Group ascending windows into [first, last + 1), over small gaps."""
    parts = np.split(windows, np.flatnonzero(np.diff(windows) > _MOST_GAP) + 1)
    return [(int(part[0]), int(part[-1]) + 1) for part in parts if len(part)]
