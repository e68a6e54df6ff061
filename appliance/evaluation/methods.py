"""What everything that is compared promises: a trial's windows and the labels of its past in, scores out.

::

    Views ─┐
    Support ─ Method ─ Judged ─ metrics
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from appliance.detect.windows import Windows
from appliance.errors import ApplianceError
from appliance.evaluation.trials import Views
from appliance.records import Floats

Hops = NDArray[np.intp]
T = TypeVar("T")

_CHUNK = 2048
"""Windows judged at once: of a long recording of many channels a few copies of all windows would not fit in memory."""


class MissingExtra(ApplianceError):  # noqa: N818 - it names what to do
    """A method needs packages that are not installed; the text says how to install them."""


class Unsuited(ApplianceError):  # noqa: N818 - not a failure: the method is listed without a figure
    """A method cannot judge windows such as these, and why."""


def _no_hops() -> Hops:
    return np.empty(0, dtype=np.intp)


@dataclass(frozen=True)
class Support:
    """What is known of a machine's past: the first k labelled events, and the alerts that were called false.

    Raises
    ------
    ValueError
        A label is not from the past, or the faults and their events are not equally many.
    """

    k: int
    """Labelled events."""
    fault: Hops = field(default_factory=_no_hops)
    """Scored hops, as indices into ``views.test``, inside one of those events."""
    event: Hops = field(default_factory=_no_hops)
    """[fault] which event each belongs to."""
    false_alarm: Hops = field(default_factory=_no_hops)
    """Scored hops of false alarms."""
    seen: int = 0
    """Scored hops before this are the past: free to be used, and taken to be normal unless labelled."""

    def __post_init__(self) -> None:
        if len(self.fault) != len(self.event):
            raise ValueError(f"{len(self.fault)} hops of faults belong to {len(self.event)} events")
        latest = max(self.fault.max(initial=-1), self.false_alarm.max(initial=-1))
        if latest >= self.seen:
            raise ValueError(f"hop {latest} is labelled, but only the hops before {self.seen} are the past")

    @classmethod
    def none(cls) -> Self:
        """No label and no past: k = 0."""
        return cls(0)

    @property
    def normal(self) -> Hops:
        """Hops of the past that are not labelled a fault, false alarms among them."""
        return np.setdiff1d(np.arange(self.seen), self.fault)


class Judged(NamedTuple):
    """Scores, higher = stranger; among normal windows their tail falls about like an exponential, as -ln p does."""

    warm_up: Floats
    """[m] of warm-up windows, by what was fitted or learned without them, in time order: to calibrate with."""
    test: Floats
    """[hops]."""
    fit_cpu_secs: float | None = None
    """In which it learned the whole warm-up, or with labels what they add; its trial with a part left out apart."""
    hop_cpu_secs: float | None = None
    """For each scored hop, once its window is cut and normalised."""

    def rounded(self) -> Judged:
        """Return it in the precision in which it is kept: what is kept gives the same figures as what is new."""
        warm_up, test = (scores.astype(np.float32).astype(np.float64) for scores in (self.warm_up, self.test))
        return self._replace(warm_up=warm_up, test=test)


class Method(ABC):
    """Something that is compared. It may be asked more than once and gives the same answer to the same question."""

    name: str
    extra: ClassVar[str | None] = None
    """The group of optional dependencies that it needs."""
    seeds: ClassVar[int] = 1
    """Seeds worth running: 1 where nothing is drawn."""
    uses_labels: ClassVar[bool] = False
    """Whether it learns from a support; the others are given one too, and ignore it."""
    needs_labels: ClassVar[bool] = False
    """Whether it can do nothing without at least one labelled event."""

    @abstractmethod
    def judge(self, views: Views, support: Support, seed: int) -> Judged:
        """Score a trial.

        The score of a hop depends on the warm-up, the labels, the hops before ``support.seen``, and no hop after it.

        Raises
        ------
        Unsuited
            It cannot judge windows such as these.
        """


class Batch(Method):
    """A method that is fitted once, on normal windows, and then judges each window alone."""

    @abstractmethod
    def fit(self, windows: Windows, seed: int) -> None:
        """Learn what is normal; forgets an earlier fit."""

    @abstractmethod
    def oddity(self, windows: Windows) -> Floats:
        """Score windows: [n]."""

    def judge(self, views: Views, support: Support, seed: int) -> Judged:
        """Judge the warm-up's last quarter as fitted on the rest, the test as fitted on all of it."""
        rest, last_quarter = held_out(views.train)
        self.fit(rest, seed)
        warm_up = chunked(last_quarter, self.oddity)
        _, fit_secs = timed(lambda: self.fit(views.train, seed))
        test, secs = timed(lambda: chunked(views.test, self.oddity))
        return Judged(warm_up, test, fit_secs, secs / len(test))


class Streaming(Method):
    """A method that scores each window and then learns it, from the first of the warm-up to the last of the test."""

    @abstractmethod
    def start(self, warm_up: Windows, seed: int) -> None:
        """Begin anew; of the warm-up only how many windows there are and where they lie may be used."""

    @abstractmethod
    def take(self, windows: Windows) -> Floats:
        """Score and learn one window after the other: [n]."""

    def judge(self, views: Views, support: Support, seed: int) -> Judged:
        """Judge everything in order; the first three quarters of the warm-up are only learned."""
        rest, last_quarter = held_out(views.train)

        def learn() -> Floats:
            self.start(views.train, seed)
            self.take(rest)
            return self.take(last_quarter)

        warm_up, fit_secs = timed(learn)
        test, secs = timed(lambda: self.take(views.test))
        return Judged(warm_up, test, fit_secs, secs / len(test))


def held_out(warm_up: Windows) -> tuple[Windows, Windows]:
    """Split the warm-up windows into the first three quarters and the last."""
    border = max(1, len(warm_up) * 3 // 4)
    return warm_up[slice(None, border)], warm_up[slice(border, None)]


def chunked(windows: Windows, judge: Callable[[Windows], Floats]) -> Floats:
    """Judge windows a few at a time: [n]."""
    chunks = [judge(windows[slice(first, first + _CHUNK)]) for first in range(0, len(windows), _CHUNK)]
    return np.concatenate([np.empty(0), *chunks])


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Do something; return what came of it and the CPU seconds it took."""
    began = time.process_time()
    return work(), time.process_time() - began
