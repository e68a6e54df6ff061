"""Recordings → trials: one machine as the protocol sees it, cut into hops; the ground that every method stands on.

A **hop** is a few consecutive samples; the window that is judged at a hop ends with it. All methods see the same
windows and are measured on the same hops.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from appliance.detect.normalise import Normaliser
from appliance.detect.windows import FeatureScale, Windows
from appliance.records import Floats

Span = tuple[int, int]
"""[start, end)."""


@dataclass(frozen=True)
class Trial:
    """One machine: what it measured, what of it is declared normal, and what happened to it afterwards."""

    dataset: str
    machine: str
    cluster: str
    """Machines of one cluster are alike: they never stand on both sides of a split and are drawn together."""
    channels: tuple[str, ...]
    values: Floats
    """[T, C] in the machine's own units, NaN for missing."""
    sessions: tuple[Span, ...]
    """Stretches of samples that were recorded without a break; no window reaches over a border."""
    train_end: int
    """That many leading samples are declared normal: the only ones a method may fit on without a label."""
    labels: NDArray[np.bool_]
    """[T] inside an event."""
    events: tuple[Span, ...]
    """In samples, after ``train_end``, in time order."""
    period_secs: float
    length: int
    """Samples in a window."""
    hop: int
    """Samples from one window's end to the next."""
    culprits: tuple[tuple[int, ...], ...] = ()
    """For each event the channels known to be behind it, where the dataset says so, else empty."""
    licence: str = ""
    meta: dict[str, object] = field(default_factory=dict)

    @cached_property
    def ends(self) -> NDArray[np.intp]:
        """[n] sample number after each hop's last sample, warm-up and test, in time order."""
        return np.concatenate([np.arange(a + self.length, b + 1, self.hop) for a, b in self.sessions]).astype(np.intp)

    @cached_property
    def is_test(self) -> NDArray[np.bool_]:
        """[n] whether the hop lies after ``train_end``."""
        return self.ends - self.hop >= self.train_end

    @cached_property
    def test_ends(self) -> NDArray[np.intp]:
        """[hops] as `ends`, the hops that are scored."""
        return self.ends[self.is_test]

    @cached_property
    def test_labels(self) -> NDArray[np.bool_]:
        """[hops] whether any sample of the hop lies inside an event."""
        total = np.concatenate([[0], np.cumsum(self.labels)])
        inside: NDArray[np.bool_] = total[self.test_ends] > total[self.test_ends - self.hop]
        return inside

    @cached_property
    def event_hops(self) -> tuple[Span, ...]:
        """For each event the scored hops [first, last + 1) that hold a sample of it; those without any are left out."""
        return tuple(span for event in self.events if (span := self.hops_of(event)) is not None)

    @property
    def hop_secs(self) -> float:
        """Seconds from one window to the next."""
        return self.hop * self.period_secs

    def hops_of(self, event: Span) -> Span | None:
        """Scored hops [first, last + 1) that hold a sample of an event; None where there is none."""
        start, end = event
        first = int(np.searchsorted(self.test_ends, start, side="right"))
        last = int(np.searchsorted(self.test_ends - self.hop, end, side="left"))
        return (first, last) if last > first else None

    def cut(self, ends: NDArray[np.intp]) -> Floats:
        """Windows [n, channel, time] in raw units that end before the given samples: a copy."""
        rows = ends[:, None] + np.arange(-self.length, 0)
        return np.ascontiguousarray(self.values[rows].transpose(0, 2, 1))


@dataclass(frozen=True)
class Views:
    """A trial's windows, normalised by its own warm-up: what the methods are given."""

    train: Windows
    """Warm-up windows [n], with their ``standard`` features."""
    test: Windows
    """[hops] windows that are scored."""


def views(trial: Trial) -> Views:
    """Cut and normalise a trial's windows; scales come from the warm-up alone."""
    normaliser = Normaliser(trial.values[: trial.train_end].T, rate=0.0)
    train = normaliser.apply(trial.cut(trial.ends[trial.ends <= trial.train_end]))
    features = FeatureScale(train)
    features.apply(train)
    test = normaliser.apply(trial.cut(trial.test_ends))
    features.apply(test)
    return Views(train, test)
