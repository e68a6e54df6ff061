"""Recordings → what the service sees of each machine, and of a copy that was struck by made-up faults: traced once.

::

    Trial ─┬────────────────────────── operate ─ own      a machine's events, in time order
           └─ strike its calm stretches ─ operate ─ struck   events of families, of which any may be called a fault
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.adapt.support import Span
from appliance.detect.normalise import Normaliser
from appliance.detect.traces import Traces
from appliance.evaluation.adapted import straddle
from appliance.evaluation.cache import Cache, digest_of, source_digest, trial_digest
from appliance.evaluation.datasets import Skipped, spans_of
from appliance.evaluation.measuring import PER_WEEK
from appliance.evaluation.methods import Unsuited
from appliance.evaluation.service import operate
from appliance.evaluation.trials import Trial
from appliance.meta.signature import VISIBLE, Signature
from appliance.meta.synthesis import FAMILIES
from appliance.records import Floats

LEAST_EVENTS = 3
"""That a machine must have for its own to be learned from: one labelled, two to find."""
LEAST_STRIKES = 8
"""That a struck machine must have."""
_MOST_HOPS = 1200
"""Of the struck copy: tracing is the dear part, and every family has come several times by then."""
_FAMILIES = 2
"""From each half of the families, on one machine."""
_BETWEEN = (1.0, 4.0)
"""Windows from one strike to the next."""
_TRACER = "appliance.evaluation.service"


class Watched(NamedTuple):
    """What the service's detector saw of a machine, and when what happened to it."""

    warm_up: Traces
    test: Traces
    """[hops] NaN where there was no score."""
    events: tuple[Span, ...]
    """Hops [first, last + 1) of each event, in time order."""
    families: tuple[str, ...]
    """What struck, for each event; empty text for the machine's own."""
    unknown: NDArray[np.bool_]
    """[hops] to be neither learned from nor asked about."""
    straddle: int
    """Windows after an event's last hop that still hold a cell of it."""


@dataclass(frozen=True)
class TracedMachine:
    """One machine to learn from."""

    dataset: str
    name: str
    cluster: str
    licence: str
    own: Watched | None
    """None where it has too few events."""
    struck: Watched | None
    """None where too little of it is calm."""

    @property
    def detectors(self) -> int:
        """How many there are, over all scales."""
        watched = self.own or self.struck
        assert watched is not None
        return watched.warm_up.detectors


def traced_machines(
    trials: Iterable[Trial], cache: Path, skipped: Callable[[Skipped], None] = lambda _: None
) -> Iterator[TracedMachine]:
    """Trace machines; those that have nothing to learn from, or other detectors than most, are told to ``skipped``.

    Parameters
    ----------
    cache
        Folder of what was traced before: it is valid as long as recording and detector are the same.
    """
    found = []
    for trial in trials:
        machine = _traced(trial, Cache(cache))
        if isinstance(machine, Skipped):
            skipped(machine)
        else:
            found.append(machine)
    usual = _most_frequent([machine.detectors for machine in found])
    for machine in found:
        if machine.detectors == usual:
            yield machine
        else:
            reason = f"it has {machine.detectors} detectors, most machines have {usual}"
            skipped(Skipped(machine.dataset, machine.name, reason))


def _most_frequent(numbers: Sequence[int]) -> int:
    return max(sorted(set(numbers)), key=numbers.count, default=0)


def _traced(trial: Trial, cache: Cache) -> TracedMachine | Skipped:
    own = struck = None
    try:
        if len(trial.event_hops) >= LEAST_EVENTS:
            warm_up, test = _watched(trial, "traces", cache)
            events = trial.event_hops
            unknown = np.zeros(len(test), dtype=bool)
            own = Watched(warm_up, test, _labels(events), ("",) * len(events), unknown, straddle(trial))
        copy, families = struck_copy(trial)
        if len(families) >= LEAST_STRIKES:
            warm_up, test = _watched(copy, "struck", cache)
            unknown = _around(trial.event_hops, len(test), straddle(trial))
            struck = Watched(warm_up, test, _labels(copy.event_hops), families, unknown, straddle(trial))
    except Unsuited as reason:
        return Skipped(trial.dataset, trial.machine, str(reason))
    if own is None and struck is None:
        too_few = "it has too few events, and too little of it is calm enough to make some up"
        return Skipped(trial.dataset, trial.machine, too_few)
    return TracedMachine(trial.dataset, trial.machine, trial.cluster, trial.licence, own, struck)


def _watched(trial: Trial, what: str, cache: Cache) -> tuple[Traces, Traces]:
    """Let the service watch a trial, if that was not done before."""
    name, key = (trial.dataset, trial.machine, what), digest_of(trial_digest(trial), source_digest(_TRACER))
    kept = cache.read_traces(name, key)
    if kept is None:
        run = operate(trial, PER_WEEK["week"])[0].run
        cache.write_traces(name, key, run.warm_up, run.traces)
        kept = cache.read_traces(name, key)  # in the precision of what is kept
        assert kept is not None
    return kept


def _labels(events: Sequence[tuple[int, int]]) -> tuple[Span, ...]:
    return tuple(Span(first, end, "fault") for first, end in events)


def _around(events: Sequence[tuple[int, int]], hops: int, straddles: int) -> NDArray[np.bool_]:
    inside = np.zeros(hops, dtype=bool)
    for first, end in events:
        inside[first : end + straddles] = True
    return inside


def struck_copy(trial: Trial) -> tuple[Trial, tuple[str, ...]]:
    """Make up faults in a trial's calm stretches: the trial with them as its only events, and the family of each.

    The machine's own events stay in it, but nobody knows of them. What is drawn depends on its name alone.
    """
    rng = np.random.default_rng(zlib.crc32(f"{trial.dataset}/{trial.machine}".encode()))
    end = _cut_after(trial)
    scale = Normaliser(trial.values[: trial.train_end].T, rate=0.0)
    centre, spread = scale.centre[:, None], scale.scale[:, None]
    series = (trial.values[:end].T - centre) / spread
    signatures = _signatures(trial, series, rng)
    events: list[tuple[int, int]] = []
    families: list[str] = []
    for first, last in _calm_stretches(trial, end):
        at = first + _pause(trial, rng)
        while at < last:
            name = str(rng.choice(list(signatures)))
            signature = signatures[name]
            cells = signature.hops(trial.hop, rng) * trial.hop
            if at + cells > last:
                break
            place = slice(at, at + cells)
            made, moved = signature.strike(series[:, place], signature.severity_of(rng), rng)
            if moved > VISIBLE:
                series[:, place] = made
                events.append((at, at + cells))
                families.append(name)
            at += cells + _pause(trial, rng)
    values = trial.values[:end].copy()
    labels = np.zeros(end, dtype=bool)
    for first, last in events:
        values[first:last] = (series[:, first:last] * spread + centre).T
        labels[first:last] = True
    sessions = tuple((first, min(last, end)) for first, last in trial.sessions if first < end)
    copy = replace(
        trial, values=values, labels=labels, sessions=sessions, events=tuple(events), culprits=((),) * len(events)
    )
    seen = [copy.hops_of(event) is not None for event in events]
    return copy, tuple(name for name, is_seen in zip(families, seen, strict=True) if is_seen)


def _signatures(trial: Trial, series: Floats, rng: np.random.Generator) -> dict[str, Signature]:
    names = list(FAMILIES)
    halves = names[: len(names) // 2], names[len(names) // 2 :]
    drawn = [str(name) for half in halves for name in rng.choice(half, size=_FAMILIES, replace=False)]
    return {name: Signature.draw(FAMILIES[name], series, trial.length, trial.hop, rng) for name in drawn}


def _pause(trial: Trial, rng: np.random.Generator) -> int:
    return int(trial.length * rng.uniform(*_BETWEEN))


def _cut_after(trial: Trial) -> int:
    """Sample after the last that the copy keeps."""
    return int(trial.test_ends[:_MOST_HOPS][-1])


def _calm_stretches(trial: Trial, end: int) -> Iterator[tuple[int, int]]:
    """Yield samples [first, last) that are scored, hold no event and lie in one session."""
    calm = ~trial.labels[:end]
    calm[: trial.train_end] = False
    for first, last in trial.sessions:
        inside = np.zeros(end, dtype=bool)
        inside[first:last] = True
        yield from spans_of(calm & inside)
