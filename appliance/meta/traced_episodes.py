"""Traced machines → tasks for heads that descend: k labelled events and what was normal until then, later windows.

::

    number ─ generator ─┬─ real       a machine's own events: k in a row, then what came after them
                        └─ synthetic  the same on its struck copy: some families are called faults in this task,
                                      some are routine, of the others nothing is known; only the labels tell

Nothing is detected anew: a task is made of indices into traces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.adapt.adapters.base import examples_of
from appliance.adapt.adapters.task import Task, task_of
from appliance.adapt.support import Span, Support
from appliance.detect.head import heard
from appliance.detect.tail import TailRank
from appliance.detect.traces import Traces
from appliance.meta.episodes import KS, by_dataset, drawn, roles
from appliance.meta.machines import Indices
from appliance.meta.synthesis import FAMILIES
from appliance.meta.traced import TracedMachine, Watched
from appliance.meta.train import VALIDATION_SEED

POOL = 1500
"""Different tasks that a training has: to make one costs more than to learn from it, so they come again."""
_MOST_NORMALS = 2000
"""Windows that ranks are made of."""
_QUERY = 32
"""Windows of events in the query, and as many others."""
_QUERY_EVENTS = 6
_TRIES = 100
_FIRST_HALF = tuple(FAMILIES)[: len(FAMILIES) // 2]
"""Families that are always faults where their roles are not drawn."""

Hops = NDArray[np.bool_]


class TracedEpisode(NamedTuple):
    """One task: learn from the support, be judged on the query."""

    machine: str
    kind: Literal["real", "synthetic"]
    k: int
    """Labelled events."""
    support: Task
    """What the adapter would be given."""
    query: Task
    """Later windows, in the same form."""


class TracedEpisodes:
    """A pure function from (seed, number) to a task over a fixed list of machines.

    Parameters
    ----------
    real_share
        Of the tasks, as far as machines have events of their own.
    semantics
        Whether the families called faults are drawn anew each time; else those of the first half always are.
    """

    def __init__(
        self, machines: Sequence[TracedMachine], seed: int, *, real_share: float = 0.5, semantics: bool = True
    ) -> None:
        self._seed, self._real_share, self._semantics = seed, real_share, semantics
        self._own = by_dataset([machine for machine in machines if machine.own is not None])
        self._struck = by_dataset([machine for machine in machines if machine.struck is not None])
        if not self._own and not self._struck:
            raise ValueError("episodes need at least one machine")
        self._made: dict[int, TracedEpisode] = {}

    def __getitem__(self, number: int) -> TracedEpisode:
        number %= POOL
        if number not in self._made:
            self._made[number] = self._episode(number)
        return self._made[number]

    def _episode(self, number: int) -> TracedEpisode:
        rng = np.random.default_rng([self._seed, number])
        for _ in range(_TRIES):
            real = not self._struck or (bool(self._own) and rng.random() < self._real_share)
            machine = drawn(self._own if real else self._struck, rng)
            k = int(rng.choice(KS))
            made = self._real(machine, k, rng) if real else self._synthetic(machine, k, rng)
            if made is not None:
                name = f"{machine.dataset}/{machine.name}"
                return TracedEpisode(name, "real" if real else "synthetic", k, *made)
        raise ValueError(f"none of {_TRIES} draws made a task: the machines have too few events that were scored")

    def _real(self, machine: TracedMachine, k: int, rng: np.random.Generator) -> tuple[Task, Task] | None:
        assert machine.own is not None
        return _task(machine.own, machine.own.events, np.zeros(len(machine.own.test), dtype=bool), k, rng)

    def _synthetic(self, machine: TracedMachine, k: int, rng: np.random.Generator) -> tuple[Task, Task] | None:
        """Of a struck machine: families that play no role are unknown, routine is normal and asked about for sure."""
        watched = machine.struck
        assert watched is not None
        names = [name for name in FAMILIES if name in watched.families]
        fixed = sum(name in _FIRST_HALF for name in names)
        faults, routine = roles(names, rng, None if self._semantics else fixed)
        of_family = list(zip(watched.events, watched.families, strict=True))
        is_routine = _inside([span for span, family in of_family if family in routine], watched)
        unknown = _inside([span for span, family in of_family if family not in [*faults, *routine]], watched)
        chosen = [span for span, family in of_family if family in faults]
        return _task(watched._replace(unknown=watched.unknown | unknown), chosen, is_routine, k, rng)


def episodes_of(
    machines: Sequence[TracedMachine],
    validation: Sequence[TracedMachine],
    seed: int,
    real_share: float,
    *,
    semantics: bool,
) -> tuple[TracedEpisodes, TracedEpisodes]:
    """Make the tasks to learn from, and those that validate: as many real ones there, and roles drawn, in any case."""
    return (
        TracedEpisodes(machines, seed, real_share=real_share, semantics=semantics),
        TracedEpisodes(validation, seed + VALIDATION_SEED),
    )


def _task(
    watched: Watched, events: Sequence[Span], is_routine: Hops, k: int, rng: np.random.Generator
) -> tuple[Task, Task] | None:
    """Label k events in a row, ask about what comes after them; None where too few are left, or none was scored."""
    if len(events) <= k:
        return None
    first = int(rng.integers(len(events) - k))
    labelled, later = events[first : first + k], events[first + k :]
    seen = max(span.end for span in labelled)
    hidden = watched.unknown | _inside(events[:first], watched)
    test = replace(watched.test, strangeness=np.where(hidden, np.nan, watched.test.strangeness))
    support = _thinned(Support.of(watched.warm_up, test[:seen], labelled, straddle=watched.straddle))
    scored = ~np.isnan(test.strangeness)
    scored[:seen] = False
    asked = [np.flatnonzero(scored[span.first : span.end]) + span.first for span in later[:_QUERY_EVENTS]]
    faults = np.concatenate([_some(each, -(-_QUERY // len(asked)), rng) for each in asked])
    others = np.flatnonzero(scored & ~_inside(events, watched))
    if not support.k or not len(faults) or not len(others):
        return None
    routine = _some(others[is_routine[others]], _QUERY // 2, rng)
    normal = _some(others[~is_routine[others]], _QUERY - len(routine), rng)
    examples, ranks = examples_of(support)
    return task_of(examples), _query(ranks, test, faults, np.concatenate([normal, routine]))


def _thinned(support: Support) -> Support:
    every = -(-(len(support.warm_up) + len(support.normal)) // _MOST_NORMALS)
    return replace(support, warm_up=support.warm_up[::every], normal=support.normal[::every])


def _query(ranks: TailRank, test: Traces, faults: Indices, others: Indices) -> Task:
    asked = test[np.concatenate([others, faults])]
    features = heard(np.log1p(ranks.energies(asked.loudness)), asked)
    is_fault = np.repeat([0.0, 1.0], [len(others), len(faults)])
    return Task(features, is_fault, np.where(is_fault > 0, 0.5 / len(faults), 0.5 / len(others)))


def _inside(spans: Sequence[Span], watched: Watched) -> Hops:
    """Hops of events, and those after them whose windows still hold a cell of them."""
    inside = np.zeros(len(watched.test), dtype=bool)
    for span in spans:
        inside[span.first : span.end + watched.straddle] = True
    return inside


def _some(places: Indices, most: int, rng: np.random.Generator) -> Indices:
    """Draw at most so many, in order."""
    return places if len(places) <= most else np.sort(rng.choice(places, size=most, replace=False))
