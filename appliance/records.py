"""The values that flow through the appliance, in the order in which they come into being.

A record is frozen and knows nothing of where it came from or goes to. This module imports nothing of ours.

::

    Message → (topic) TopicMatch → (codec) Decoded[Sample] → (grid) Window → (detector) Verdict → Score → Alert
    Message → (topic) TopicMatch → Label, an operator's word on what lies between two times
    and all that came of some messages, to be stored together: Outcome
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""Arrays are float64 with NaN for a missing cell, unless their docstring says otherwise."""


class Message(NamedTuple):
    """One MQTT message as it arrived, before anybody has looked inside."""

    topic: bytes
    """Raw bytes: a topic need not be valid UTF-8."""
    payload: bytes
    received_at: float
    """Unix seconds, wall clock of this machine."""
    retained: bool = False
    """The broker had kept it: its content may be old."""


class TopicMatch(NamedTuple):
    """What a topic says, read with the pattern of the source that matched it."""

    source: str
    machine: str
    channel: str | None
    """The channel where the pattern has ``{channel}``, else the payload names its channels."""
    topic: str
    fields: Mapping[str, str]
    """Every name in the pattern with its value."""


class Sample(NamedTuple):
    """The readings a machine sent for one instant: channel → value. Each entry is one reading."""

    machine: str
    time: float
    """Unix seconds: when it was measured, or when it arrived if the payload does not say."""
    values: dict[str, float]


class Refusal(NamedTuple):
    """Part of a message that could not be used while the rest could."""

    reason: str
    """A short fixed word for counting, such as ``not_a_number``."""
    detail: str
    readings: int = 1


class Notice(NamedTuple):
    """Something a source said about itself rather than about its machine."""

    machine: str
    kind: Literal["offline", "sequence_gap"]
    time: float
    detail: str


class Command(NamedTuple):
    """A message for a source, such as a request to announce its metrics again."""

    topic: str
    payload: bytes


class Decoded(NamedTuple):
    """All that one message held."""

    samples: list[Sample]
    timed: bool = True
    """Whether the times came from the payload: only then can a repeated message be told from a repeated value."""
    refused: tuple[Refusal, ...] = ()
    notices: tuple[Notice, ...] = ()
    commands: tuple[Command, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """A machine's channels on its regular grid."""

    machine: str
    channels: tuple[str, ...]
    start: float
    """Unix seconds of the first cell's left edge."""
    end: float
    """Unix seconds of the last cell's right edge: the time of everything that is said about this window."""
    values: Floats
    """[channel, time] in the machine's own units."""
    incomplete: str | None = None
    """Why data is known to be missing: the source told (``offline``, ``sequence_gap``), or the window borders on a
    silence longer than itself (``outage``)."""
    received: Floats | None = None
    """[channel, time] the readings alone, before gaps were filled; None where there was none to fill."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a machine's detector says of one window."""

    score: float
    """-log10 of the calibrated tail probability: 3 is one window in a thousand."""
    strangeness: float
    """The combined evidence in the light of the labels, before calibration; comparable within one machine and head."""
    unlabelled: float
    """The same without the labels; comparable within one machine and fit."""
    extrapolated: bool
    """The score lies beyond what the sample of normal windows can show: its tail is a model, not a count."""
    evidence: dict[str, float]
    """Evidence detector → -ln p under this machine's own normal."""
    contributions: Floats
    """[channel] share of the blame, ≥ 0, sums to 1 (all zero where nothing is strange)."""
    traits: Floats
    """[trait] what the window looked like to the detectors: see `appliance.detect.traces`."""


Trust = str
"""``learning``; ``prior`` once it is learned; ``adapted(3)`` with a head made of three labels."""
AlertState = Literal["open", "acknowledged", "closed"]
AlertKind = Literal["machine", "sensor"]
Blank = Literal["learning", "no_data", "stopped", "starting", "maintenance"]
SensorFault = Literal["stuck", "dropout", "out_of_range", "noise", "unit_change"]
LabelVerdict = Literal["fault", "false_alarm", "maintenance", "new_normal", "bad_sensor"]


class Signal(NamedTuple):
    """One channel over one window, in its own unit. NaN-free: a channel without data has no entry."""

    mean: float
    min: float
    max: float


@dataclass(frozen=True, slots=True)
class Score:
    """A row of the score log: all that is kept of one window."""

    machine: str
    source: str
    start: float
    end: float
    score: float | None
    """None while learning or without data: never 0 for unknown."""
    threshold: float | None
    alarm: bool
    trust: Trust
    blank: Blank | None
    """Why there is no score."""
    extrapolated: bool
    coverage: float
    """Share of the window's cells that hold a reading."""
    model: int
    """Which fit of this machine's detector scored it; 0 while learning."""
    evidence: dict[str, float]
    contributions: dict[str, float]
    signals: dict[str, Signal]
    sensor_faults: dict[str, SensorFault] = field(default_factory=dict)
    """Channel → what its sensor was found to suffer from; the score then rests on the others."""
    head: int = 0
    """Which head of that fit judged it; 0 for what the fit came with. An `Attempt` tells what it was made of."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An incident on one machine or one of its sensors, as it stands after its latest change."""

    id: str
    """Derived from machine, channel (of a sensor's alert) and time, so a replay gives the same one."""
    machine: str
    state: AlertState
    since: float
    """Start of the first strange window, Unix seconds."""
    opened_at: float
    updated_at: float
    closed_at: float | None
    peak_score: float | None
    """None for a sensor's alert: what a broken sensor reads has no score."""
    threshold: float | None
    channels: dict[str, float]
    """Channel → share of the blame, worst first."""
    evidence: dict[str, float]
    """Evidence detector → -ln p at the peak."""
    summary: str
    """One sentence for the person who is called."""
    kind: AlertKind = "machine"
    sensor_fault: SensorFault | None = None
    """What the sensor suffers from; None for an alert of the machine."""
    verdict: LabelVerdict | None = None
    """What an operator has said of it while it was the machine's latest."""
    learned: str | None = None
    """What that has changed, in words."""


@dataclass(frozen=True, slots=True)
class Label:
    """An operator's verdict on a stretch of a machine's life."""

    id: str
    """Chosen by the sender, or made from the message: the same one twice is one label."""
    machine: str
    verdict: LabelVerdict
    start: float | None
    """Unix seconds, event time; None only until the machine has put in where its alert began, or its newest reading."""
    end: float | None
    """Unix seconds; None: until further notice."""
    said_at: float
    """Unix seconds: when, by the sender's clock, or when it arrived."""
    said_by: str | None = None
    via: str = "mqtt"
    """By which way it came in: mqtt, cli, web, grafana."""
    fault: str | None = None
    """What kind of fault, in the operator's words."""
    channel: str | None = None
    """The one whose sensor is bad."""
    cleared: bool = False
    """Of a bad sensor: it is well again."""
    alert: str | None = None
    """The alert it is about, where one was named."""
    note: str | None = None
    learned: str | None = None
    """What it has changed, in words, once that is known."""


class Block(NamedTuple):
    """A stretch of one machine's history on its grid."""

    machine: str
    start: float
    """Unix seconds of the first cell's left edge."""
    channels: tuple[str, ...]
    values: NDArray[np.float32]
    """[channel, time] in the machine's own units, NaN where nothing came."""


RefitReason = Literal["schedule", "drift", "routine", "lost", "new_normal"]
"""Why a machine was fitted again: its time had come; its normal changed; a routine showed; its model was unusable; an
operator called what it does now normal."""


class Model(NamedTuple):
    """A fitted detector as it is stored: the part that only changes when it is fitted anew."""

    version: int
    state: dict[str, Any]


class Trace(NamedTuple):
    """What a machine's detector saw in one window: see `appliance.detect.traces`."""

    strangeness: float
    traits: Floats
    """[trait]."""


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
