"""What the baselines that learn from labels share: which windows teach what, and how much each counts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.detect.windows import Windows
from appliance.evaluation.methods import Judged, Method, Support, chunked, held_out, timed
from appliance.evaluation.trials import Views
from appliance.records import Floats

_MOST_NORMALS = 4000
"""Warm-up and past windows that teach what is normal, evenly thinned: more change nothing but the time it takes."""
_FALSE_ALARM_SHARE = 0.25
"""Of all that is normal, what somebody has looked at and called normal counts for this much."""


class Examples(NamedTuple):
    """Windows to learn from."""

    rows: Floats
    """[n, ...] what is seen of each: features, unless the method looks at the windows themselves."""
    is_fault: NDArray[np.bool_]
    """[n]."""
    weight: Floats
    """[n] mean 1. Each event counts for the same, however long it lasts, and all of them for as much as all that is
    normal: scikit-learn's balanced weights, with events in the place of windows."""


class Taught(Method):
    """A method that is trained from scratch on the machine's labelled past; needs k ≥ 1."""

    uses_labels: ClassVar = True
    needs_labels: ClassVar = True

    @abstractmethod
    def fit(self, examples: Examples, seed: int) -> None:
        """Train; forgets an earlier training."""

    @abstractmethod
    def oddity(self, rows: Floats) -> Floats:
        """Score windows by their features [n, feature x channel]: [n]."""

    def judge(self, views: Views, support: Support, seed: int) -> Judged:
        """Judge the warm-up's last quarter as trained without it, the test as trained on all of the past.

        Raises
        ------
        ValueError
            Nothing is labelled a fault.
        """
        if not support.fault.size:
            raise ValueError(f"{self.name} learns from labelled events and was given none")
        rest, last_quarter = held_out(views.train)
        self.fit(examples(rest, views.test, support), seed)
        warm_up = self.oddity(last_quarter.standard)
        _, fit_secs = timed(lambda: self.fit(examples(views.train, views.test, support), seed))
        test, secs = timed(lambda: chunked(views.test, lambda some: self.oddity(some.standard)))
        return Judged(warm_up, test, fit_secs, secs / len(test))


def features(windows: Windows) -> Floats:
    """[n, feature x channel] in their usual spreads."""
    return windows.standard


def examples(
    warm_up: Windows, test: Windows, support: Support, rows_of: Callable[[Windows], Floats] = features
) -> Examples:
    """Gather what a method is to learn from; ``rows_of`` says what it sees of windows: [n, ...]."""
    normals = np.concatenate([rows_of(warm_up), rows_of(test)[support.normal]])
    normals = normals[:: -(-len(normals) // _MOST_NORMALS)]
    false_alarms = rows_of(test)[support.false_alarm]
    _, event, sizes = np.unique(support.event, return_inverse=True, return_counts=True)
    doubted = _FALSE_ALARM_SHARE if len(false_alarms) else 0.0
    weight = np.concatenate(
        [
            1.0 / (len(sizes) * sizes[event]),
            np.full(len(normals), (1.0 - doubted) / len(normals)),
            np.full(len(false_alarms), doubted / max(len(false_alarms), 1)),
        ]
    )
    rows = np.concatenate([rows_of(test)[support.fault], normals, false_alarms])
    return Examples(rows, np.arange(len(rows)) < len(support.fault), weight / weight.mean())
