"""What the warm-up already showed: strangeness → less that of the strange warm-up windows it repeats → calibrate."""

from __future__ import annotations

from typing import ClassVar, Self

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
_LIKENESS_OF_CALLED = 0.95
"""The same where a person called the other a false alarm: what is only somewhat like it may be a fault."""


class Precedents(Fitted):
    """Forgives a strange window as far as it repeats one that the warm-up held.

    A machine that stops once a week is far from its usual state whenever it stops. The warm-up's own stop must neither
    make every threshold useless nor the next stop an alarm; a fault has no precedent and keeps its rank. How far one
    window repeats another is the share of its squared distance from the usual that the other explains, as in a
    coefficient of determination; below `_LIKENESS` nothing is forgiven.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("usual", "likeness", "references", "half_squares", "excess")

    def __init__(self, standard: Floats, strangeness: Floats) -> None:
        """Keep the strangest windows, from the standard features [n, feature] and held-out strangeness [n] of all."""
        self._keep(standard, strangeness, usual_level(strangeness), _LIKENESS, _STRANGE_SHARE)

    @classmethod
    def called_false(cls, standard: Floats, strangeness: Floats, usual: float) -> Self:
        """Keep windows that somebody has looked at; ``usual`` is the strangeness to forgive to."""
        precedents = cls.__new__(cls)
        precedents._keep(standard, strangeness, usual, _LIKENESS_OF_CALLED, 1.0)
        return precedents

    def _keep(self, standard: Floats, strangeness: Floats, usual: float, likeness: float, share: float) -> None:
        self.usual = usual
        """The strangeness above which there is something to forgive, and to which it is forgiven."""
        self.likeness = likeness
        kept = min(_MOST, max(_AGREEING, int(share * len(strangeness))))
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
        agreeing = min(_AGREEING, len(explained))
        for nearest in np.argpartition(explained, -agreeing)[-agreeing:].tolist():
            likeness = 2.0 * float(explained[nearest]) / unusual if unusual > 0.0 else 0.0
            if likeness > self.likeness:
                forgiven += (likeness - self.likeness) / (1.0 - self.likeness) * float(self.excess[nearest]) / _AGREEING
        return max(self.usual, strangeness - forgiven)


def usual_level(strangeness: Floats) -> float:
    """Return the strangeness above which there is something to forgive."""
    return float(np.quantile(strangeness, 1.0 - _STRANGE_SHARE))
