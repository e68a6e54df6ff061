"""The values that flow through the appliance, in the order in which they come into being.

A record is frozen and knows nothing of where it came from or goes to. This module imports nothing of ours.

::

    Message → (topic) TopicMatch → (codec) Decoded[Sample] → (grid) Window → (detector) Verdict → Score → Alert
    Message → (topic) TopicMatch → Label, an operator's word on what lies between two times
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

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


RefitReason = Literal["schedule", "drift", "routine", "lost", "new_normal"]
"""Why a machine was fitted again: its time had come; its normal changed; a routine showed; its model was unusable; an
operator called what it does now normal."""


class Trace(NamedTuple):
    """What a machine's detector saw in one window: see `appliance.detect.traces`."""

    strangeness: float
    traits: Floats
    """[trait]."""
