"""What an operator called a false alarm: a window that repeats it → less strange; one that repeats a fault stays.

Unlike `precedents.py`, which goes by what the warm-up happened to hold, this rests on somebody's word.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from appliance.detect.state import Fitted
from appliance.records import Floats

Singles = NDArray[np.float32]

_MOST = 500
"""Windows of false alarms kept: the strangest."""
_LIKE, _VERY_LIKE = 0.75, 0.9
"""Likeness from which something is forgiven, and from which all is. Between two goes at the same routine of a simulated
pump it is 0.84 to 0.98, and no other window of it comes above 0.63."""
_ENOUGH_FEATURES = 32
"""Of eight channels. With fewer, strange windows are alike by chance: on one channel a single false alarm was like half
of all strange windows, so there only a close repeat is forgiven."""
_LESS_LIKE_A_FAULT = 0.2
"""By so much a window must be more like a false alarm than like any labelled fault: in doubt it is the fault."""


class Forgiveness(Fitted):
    """Forgives a window as far as it repeats a false alarm, and no more than that was strange.

    How far one window repeats another is the share of its squared distance from the usual that the other explains:
    1 − |x − r|² / |x|², as a coefficient of determination.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("usual", "false_alarms", "excess", "faults")

    def __init__(self, false_alarms: Floats, strangeness: Floats, usual: float, faults: Floats) -> None:
        """Keep what was called false.

        Parameters
        ----------
        false_alarms, strangeness
            Standard features [n, feature] and strangeness [n] of the windows.
        usual
            Strangeness that there is nothing to forgive about.
        faults
            [m, feature] of windows that show a labelled fault; m may be 0.
        """
        kept = np.sort(np.argsort(-strangeness, kind="stable")[:_MOST])
        self.usual = usual
        self.false_alarms: Singles = false_alarms[kept].astype(np.float32)
        self.excess = np.maximum(strangeness[kept] - usual, 0.0)
        self.faults: Singles = faults.astype(np.float32)

    def forgive(self, features: Floats, strangeness: Floats) -> Floats:
        """Return what is left of windows' strangeness [n], given their standard features [n, feature]."""
        left = strangeness.copy()
        strange = np.flatnonzero(strangeness > self.usual)  # not where it is NaN
        if not len(strange):
            return left
        rows = features[strange].astype(np.float32)
        like, nearest = likeness(rows, self.false_alarms)
        like_fault = likeness(rows, self.faults)[0]
        slack = detail(features.shape[1])
        least, all_of_it = (1.0 - slack * (1.0 - each) for each in (_LIKE, _VERY_LIKE))
        share = np.clip((like - least) / (all_of_it - least), 0.0, 1.0)
        share[like < like_fault + _LESS_LIKE_A_FAULT] = 0.0
        left[strange] -= share * np.minimum(strangeness[strange] - self.usual, self.excess[nearest])
        return left


def detail(features: int) -> float:
    """Return how far so many features tell strange windows apart, 0 to 1."""
    return min(1.0, features / _ENOUGH_FEATURES)


def likeness(rows: Singles, references: Singles) -> tuple[Floats, NDArray[np.intp]]:
    """Return how far each row [n, feature] repeats the reference it repeats most, and which that is: two [n]."""
    if not len(references):
        return np.full(len(rows), -np.inf), np.zeros(len(rows), dtype=np.intp)
    explained = 2.0 * rows @ references.T - np.square(references).sum(axis=1)
    nearest = explained.argmax(axis=1)
    unusual = np.maximum(np.square(rows).sum(axis=1), 1e-9)
    return (explained[np.arange(len(rows)), nearest] / unusual).astype(np.float64), nearest
