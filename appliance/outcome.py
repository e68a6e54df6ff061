"""What came of some messages and is stored in one transaction: `Outcome`, and what is only there to be kept.

The values of `appliance.records` flow on; these are written, and read again.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.records import Alert, Command, Floats, Label, Message, Score


class Block(NamedTuple):
    """A stretch of one machine's history on its grid."""

    machine: str
    start: float
    """Unix seconds of the first cell's left edge."""
    channels: tuple[str, ...]
    values: NDArray[np.float32]
    """[channel, time] in the machine's own units, NaN where nothing came."""


class Model(NamedTuple):
    """A fitted detector as it is stored: the part that only changes when it is fitted anew."""

    version: int
    state: dict[str, Any]


class TraceBlock(NamedTuple):
    """Traces of windows in time order, in the precision in which they are kept."""

    machine: str
    model: int
    """Which fit saw them: those of another cannot be compared."""
    ends: Floats
    """[n] Unix seconds: of each window's end."""
    strangeness: NDArray[np.float32]
    """[n]."""
    traits: NDArray[np.float16]
    """[n, trait]."""


class HeadRecord(NamedTuple):
    """A head as it is stored, with the calibration that belongs to it."""

    machine: str
    number: int
    """Counts every change of what is in service."""
    words: str
    """What it changed."""
    state: dict[str, Any]


AttemptCause = Literal["label", "command", "refit", "rollback"]
"""Why it was tried to change the head of a machine: somebody said something of it, or asked for it; a new fit knew of
none of the heads before; somebody went back."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of trying to change the head of a machine."""

    machine: str
    at: float
    """Unix seconds: the end of the last window before it, and a little, so that no two are at the same time."""
    cause: AttemptCause
    label: str | None
    """The id of the label that it was for."""
    head: int
    """In service after it."""
    labels: int
    """That the head which was tried is made of."""
    words: str
    """What it changes, or why it was not taken into service."""
    vetoed: str | None = None
    """Why it was not taken into service; None where it was."""
    faults: int | None = None
    """Labelled; as all below None where nothing was rehearsed."""
    caught_before: int | None = None
    caught: int | None = None
    alerts_before: float | None = None
    """A week, in the rehearsal."""
    alerts: float | None = None
    failed: bool = False
    """Whether no head came of it at all."""


class Quarantined(NamedTuple):
    """A message, or part of one, that could not be used."""

    message: Message
    reason: str
    detail: str
    readings: int


@dataclass(slots=True)
class Outcome:
    """Everything that came of some messages, to be stored in one transaction."""

    scores: list[Score] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    traces: list[TraceBlock] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    heads: list[HeadRecord] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    """At making a head. None is made again after a restart: it takes a while, and what failed for want of time or
    memory might then succeed, and judge what has been judged."""
    models: dict[str, Model] = field(default_factory=dict)
    statuses: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Machine → what it looks like from outside."""
    counts: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """(machine or "", name) → how many. Readings: ``received = placed + late + duplicate + quarantined``."""
