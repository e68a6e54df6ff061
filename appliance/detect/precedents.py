"""What the warm-up already showed: strangeness → less that of the strange warm-up windows it repeats → calibrate."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from appliance.detect.state import Fitted
from appliance.records import Floats

_STRANGE_SHARE = 0.2
_MOST = 500
"""Warm-up windows kept: the strangest fifth, at most so many."""
_AGREEING = 2
"""The nearest ones that are averaged, so that a single strange warm-up window forgives little alone."""
_LIKENESS = 0.85
"""A window repeats another when at least this share of its squared distance from the usual is the other's."""


class Precedents(Fitted):
    """Forgives a strange window as far as it repeats one that the warm-up held.

    A machine that stops once a week is far from its usual state whenever it stops. The warm-up's own stop must neither
    make every threshold useless nor the next stop an alarm; a fault has no precedent and keeps its rank. How far one
    window repeats another is the share of its squared distance from the usual that the other explains, as in a
    coefficient of determination; below `_LIKENESS` nothing is forgiven.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("usual", "references", "half_squares", "excess")

    def __init__(self, standard: Floats, strangeness: Floats) -> None:
        """Keep the strangest windows, from the standard features [n, feature] and held-out strangeness [n] of all."""
        self.usual = usual_level(strangeness)
        """The strangeness above which there is something to forgive, and to which it is forgiven."""
        kept = min(_MOST, max(_AGREEING, int(_STRANGE_SHARE * len(strangeness))))
        chosen = np.sort(np.argsort(-strangeness, kind="stable")[:kept])
        self.references = standard[chosen].astype(np.float32)
        self.half_squares = 0.5 * np.square(self.references).sum(axis=1)
        self.excess = np.maximum(strangeness[chosen] - self.usual, 0.0)

    def forgive(self, standard: Floats, strangeness: float) -> float:
        """Return what of a window's strangeness is new, given its standard features [feature]."""
        if strangeness <= self.usual:
            return strangeness
        row = standard.astype(np.float32)
        explained = self.references @ row - self.half_squares
        unusual = float(row @ row)
        forgiven = 0.0
        for nearest in np.argpartition(explained, -_AGREEING)[-_AGREEING:].tolist():
            likeness = 2.0 * float(explained[nearest]) / unusual if unusual > 0.0 else 0.0
            if likeness > _LIKENESS:
                forgiven += (likeness - _LIKENESS) / (1.0 - _LIKENESS) * float(self.excess[nearest]) / _AGREEING
        return max(self.usual, strangeness - forgiven)


def usual_level(strangeness: Floats) -> float:
    """Return the strangeness above which there is something to forgive."""
    return float(np.quantile(strangeness, 1.0 - _STRANGE_SHARE))
