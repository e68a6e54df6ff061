"""Machines → episodes: k labelled events, assumed-normals, and later windows to be told apart with them.

::

    number ─ generator ─┬─ real       a machine's own events: k in a row, then what came after them
                        └─ synthetic  normal stretches, some with a fault of a family that is called one in this
                                      episode, others with one of a family that is not: only the labels tell
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from appliance.detect.planes import Planes
from appliance.detect.windows import Windows
from appliance.meta.machines import Indices, Machine, Perceived, stacked
from appliance.meta.signature import VISIBLE, Signature
from appliance.meta.synthesis import FAMILIES, Channels, Family
from appliance.records import Floats

KS = (1, 2, 5, 10)
"""Labelled events that an episode may have."""
NORMALS = 48
"""Assumed-normals: what the embedding is centred and whitened by, and the other side of the labels."""
_OF_AN_EVENT = 4
"""Windows of one event, at most."""
_QUERY = 32
"""Windows of events in the query, and as many others."""
_QUERY_EVENTS = 6
_FALSE_ALARM_SHARE = 0.25
"""Of all that is normal, what was looked at and called normal counts for this much."""
_KNEE, _LIMIT = 4.0, 30.0
"""As in `normalise`: made-up faults are put in where the scale is linear."""
_MOST_CHANNELS = 16
"""Shown to the encoder are one up to so many, drawn for each episode, those that a made-up fault struck first: machines
of all widths are to be met, and of wide ones more would only cost time."""
_TRIES = 4


@dataclass(frozen=True)
class Episode:
    """One task: learn from the support, be judged on the query. Rows of all arrays are windows of one machine."""

    number: int
    machine: str
    kind: Literal["real", "synthetic"]
    k: int
    """Labelled events."""
    perceived: Perceived
    normals: int
    """The first so many rows are assumed-normals; they are also the first rows of the support."""
    support: Indices
    support_is_fault: NDArray[np.bool_]
    support_weight: Floats
    """1 for each event, shared by its windows; the normals share 1, of which a quarter goes to known false alarms."""
    query: Indices
    query_is_fault: NDArray[np.bool_]


class _Rows(NamedTuple):
    """Windows that play one part in an episode."""

    windows: Windows
    part: Literal["normal", "fault", "false_alarm", "query"]
    event: int = -1
    is_fault: bool = False


class Episodes:
    """A pure function from (seed, number) to an episode over a fixed list of machines.

    Parameters
    ----------
    real_share
        Of the episodes, as far as machines have two events of their own.
    semantics
        Whether the families called faults are drawn anew each time; else the first half of them always are.
    """

    def __init__(
        self, machines: Sequence[Machine], seed: int, *, real_share: float = 0.5, semantics: bool = True
    ) -> None:
        if not machines:
            raise ValueError("episodes need at least one machine")
        self._seed = seed
        self._real_share = real_share
        self._semantics = semantics
        self._synthetic = by_dataset(machines)
        self._real = by_dataset([machine for machine in machines if len(machine.events) >= 2])

    def __getitem__(self, number: int) -> Episode:
        rng = np.random.default_rng([self._seed, number])
        if self._real and rng.random() < self._real_share:
            return _real(drawn(self._real, rng), rng, number)
        families = roles(list(FAMILIES.values()), rng, None if self._semantics else len(FAMILIES) // 2)
        return _synthetic(drawn(self._synthetic, rng), rng, number, families)


class OfDataset(Protocol):
    """Something that belongs to a dataset."""

    @property
    def dataset(self) -> str:
        """Its name."""
        ...


M = TypeVar("M", bound=OfDataset)
T = TypeVar("T")


def by_dataset(machines: Sequence[M]) -> list[list[M]]:
    """Group machines by their dataset, in order of name."""
    names = sorted({machine.dataset for machine in machines})
    return [[machine for machine in machines if machine.dataset == name] for name in names]


def drawn(groups: Sequence[Sequence[M]], rng: np.random.Generator) -> M:
    """Draw a machine; a dataset comes up with the square root of its machines, so that none drowns the others."""
    share = np.sqrt([len(group) for group in groups])
    group = groups[int(rng.choice(len(groups), p=share / share.sum()))]
    return group[int(rng.integers(len(group)))]


def roles(families: Sequence[T], rng: np.random.Generator, always: int | None) -> tuple[list[T], list[T]]:
    """Draw which families are faults in an episode, and which are only routine.

    Parameters
    ----------
    always
        So many of the first are faults in every episode, and none of the others; None: any may be either.
    """
    order = [families[i] for i in rng.permutation(len(families))] if always is None else families
    half = len(order) // 2 if always is None else always
    return (
        [order[i] for i in rng.permutation(half)[: rng.integers(1, 3)]],
        [order[half + i] for i in rng.permutation(len(order) - half)[: rng.integers(1, 4)]],
    )


def _real(machine: Machine, rng: np.random.Generator, number: int) -> Episode:
    events = machine.events
    k = int(rng.choice([k for k in KS if k < len(events)]))
    first = int(rng.integers(len(events) - k))
    seen = max(end for _, end in events[first : first + k])
    labelled = np.zeros(len(machine.ends), dtype=bool)
    rows = []
    for event, (start, end) in enumerate(events[first : first + k]):
        places = np.setdiff1d(np.arange(start, end), np.flatnonzero(labelled))
        labelled[start:end] = True
        rows.append(_Rows(machine.cut(_some(places, _OF_AN_EVENT, rng)), "fault", event, is_fault=True))
    later = [span for span in events[first + k :] if span[0] >= seen][:_QUERY_EVENTS]
    later = later or [events[first + k]]
    horizon = max(end for _, end in later) + (len(machine.ends) - seen) // 4
    for start, end in later:
        places = _some(np.arange(start, end), _QUERY // len(later), rng)
        rows.append(_Rows(machine.cut(places), "query", is_fault=True))
    after = np.flatnonzero(~machine.is_event[seen:horizon]) + seen
    rows.append(_Rows(machine.cut(_some(after, _QUERY, rng)), "query"))
    past = np.flatnonzero(~machine.is_event[:seen])
    rows.insert(0, _Rows(machine.cut(_some(past, NORMALS, rng)), "normal"))
    shown = rng.permutation(machine.channels)[: _width(rng)]
    return _episode(machine, "real", k, number, rows, shown)


def _synthetic(
    machine: Machine, rng: np.random.Generator, number: int, families: tuple[list[Family], list[Family]]
) -> Episode:
    k = int(rng.choice(KS))
    calm = np.flatnonzero(machine.is_calm)
    faults, distractors = (
        [Signature.draw(family, machine.series, machine.length, machine.hop, rng) for family in each]
        for each in families
    )
    rows = [_Rows(machine.cut(_some(calm, NORMALS, rng)), "normal")]
    for event in range(k):
        signature = faults[event % len(faults)]
        rows.append(_Rows(_strike(signature, machine, _OF_AN_EVENT, rng), "fault", event, is_fault=True))
    if rng.random() < 0.5:
        rows += [_Rows(_strike(each, machine, _OF_AN_EVENT, rng), "false_alarm") for each in distractors]
    queried = faults[: min(k, len(faults))]
    for each, is_fault in [*((one, True) for one in queried), *((one, False) for one in distractors)]:
        events = max(1, _QUERY_EVENTS // (len(queried) if is_fault else 2 * len(distractors)))
        rows += [
            _Rows(_strike(each, machine, _QUERY // _QUERY_EVENTS, rng), "query", is_fault=is_fault)
            for _ in range(events)
        ]
    rows.append(_Rows(machine.cut(_some(calm, _QUERY // 2, rng)), "query"))
    struck = np.unique(np.concatenate([each.channels for each in [*faults, *distractors]]))
    others = np.setdiff1d(np.arange(machine.channels), struck)
    shown = np.concatenate([rng.permutation(struck), rng.permutation(others)])[: _width(rng)]
    return _episode(machine, "synthetic", k, number, rows, shown)


def _strike(signature: Signature, machine: Machine, most: int, rng: np.random.Generator) -> Windows:
    """Make one event somewhere in the calm, and cut some of the windows that end inside it."""
    hops, severity = signature.hops(machine.hop, rng), signature.severity_of(rng)
    while not len(places := machine.calm_for(hops)):
        hops //= 2
    length, lasts = machine.length, hops * machine.hop
    for _ in range(_TRIES):
        begin = int(machine.ends[places[rng.integers(len(places))]])
        linear = _KNEE * np.sinh(machine.series[:, begin - length : begin + lasts].astype(np.float64) / _KNEE)
        linear[:, length:], moved = signature.strike(linear[:, length:], severity, rng)
        if moved > VISIBLE:
            break
    stretch = np.clip(_KNEE * np.arcsinh(linear / _KNEE), -_LIMIT, _LIMIT)
    ends = _some(np.arange(machine.hop, lasts + 1, machine.hop), most, rng) + length
    return stacked(np.stack([stretch[:, end - length : end] for end in ends]))


def _episode(
    machine: Machine,
    kind: Literal["real", "synthetic"],
    k: int,
    number: int,
    rows: Sequence[_Rows],
    shown: Channels,
) -> Episode:
    """Stack the windows and say which of them play which part."""
    sizes = [len(each.windows) for each in rows]
    part = np.repeat([each.part for each in rows], sizes)
    is_fault = np.repeat([each.is_fault for each in rows], sizes)
    event = np.repeat([each.event for each in rows], sizes)
    cells = np.concatenate([each.windows.values for each in rows])
    masks = [each.windows.mask for each in rows]
    mask = None
    if any(each is not None for each in masks):
        mask = np.concatenate(
            [
                np.ones(each.windows.values.shape, dtype=bool) if each.windows.mask is None else each.windows.mask
                for each in rows
            ]
        )
    weight = np.zeros(len(part))
    doubted = _FALSE_ALARM_SHARE if (part == "false_alarm").any() else 0.0
    weight[part == "normal"] = (1.0 - doubted) / (part == "normal").sum()
    weight[part == "false_alarm"] = doubted / max((part == "false_alarm").sum(), 1)
    for number_of_event in range(k):
        weight[event == number_of_event] = 1.0 / max((event == number_of_event).sum(), 1)
    support, query = np.flatnonzero(part != "query"), np.flatnonzero(part == "query")
    perceived = machine.perceive(Windows(cells, mask))
    shown = np.sort(shown)
    planes = Planes(perceived.planes.cells[:, shown], perceived.planes.mask[:, shown])
    return Episode(
        number=number,
        machine=f"{machine.dataset}/{machine.name}",
        kind=kind,
        k=k,
        perceived=perceived._replace(planes=planes),
        normals=int((part == "normal").sum()),
        support=support,
        support_is_fault=is_fault[support],
        support_weight=weight[support],
        query=query,
        query_is_fault=is_fault[query],
    )


def _width(rng: np.random.Generator) -> int:
    """Draw a number of channels, each doubling as likely as the next."""
    return round(math.exp(rng.uniform(0.0, math.log(_MOST_CHANNELS))))


def _some(places: Indices, most: int, rng: np.random.Generator) -> Indices:
    """Draw at most so many, in order."""
    if len(places) <= most:
        return places
    return np.sort(rng.choice(places, size=most, replace=False))
