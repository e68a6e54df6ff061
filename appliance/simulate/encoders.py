"""Turns recorded samples into MQTT messages as sensors send them: one encoder per payload format, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, Protocol

import orjson

from appliance.errors import ApplianceError
from appliance.recordings import Recording

PayloadFormat = Literal["json", "value", "influx", "sparkplug"]

DEFAULT_TOPICS: dict[PayloadFormat, str] = {
    "json": "plant/{machine}",
    "value": "plant/{machine}/{channel}",
    "influx": "plant/{machine}",
    "sparkplug": "spBv1.0/plant/{type}/replay/{machine}",
}
HOLES: dict[PayloadFormat, tuple[str, ...]] = {
    "json": ("machine",),
    "value": ("machine", "channel"),
    "influx": ("machine",),
    "sparkplug": ("type", "machine"),
}
"""What the topic pattern of each format must hold, so that every machine and channel has a topic of its own."""
WILDCARDS = frozenset("+#\0")
TOPIC_SYNTAX = WILDCARDS | {"/"}


class TopicError(ApplianceError):
    """A topic pattern does not tell machines or channels apart, or cannot be filled in."""


class Outgoing(NamedTuple):
    """One message to publish."""

    topic: str
    payload: bytes


class Encoder(Protocol):
    """Speaks one payload format for a fleet of machines, known by their place in the list it was made with."""

    def opening(self, time: float) -> Iterator[Outgoing]:
        """Yield what is said before the first sample, at ``time`` (Unix seconds)."""

    def sample(self, machine: int, time: float, values: Sequence[float]) -> list[Outgoing]:
        """Messages for one sample [C]; a NaN is left out, a sample of nothing else gives no message."""

    def closing(self, time: float) -> Iterator[Outgoing]:
        """Yield what is said after the last sample, at ``time``."""


def build_encoder(payload_format: PayloadFormat, pattern: str, recordings: Sequence[Recording]) -> Encoder:
    """Make the encoder for a format.

    Raises
    ------
    TopicError
        If the topic pattern lacks a hole it needs, has an unknown one, or a machine's name does not fit into a topic.
    """
    for hole in HOLES[payload_format]:
        if "{" + hole + "}" not in pattern:
            raise TopicError(f"topic {pattern!r} has no {{{hole}}}: format {payload_format} needs one")
    for recording in recordings:
        name = recording.machine
        if not name or set(name) & TOPIC_SYNTAX:
            raise TopicError(f"machine {name!r} cannot stand in a topic: rename it, without / + #")
        if payload_format == "value" and (
            bad := [channel for channel in recording.channels if set(channel) & WILDCARDS]
        ):
            raise TopicError(f"channel {bad[0]!r} of {name} cannot stand in a topic: rename it, without + #")
    if payload_format == "json":
        return JsonEncoder(pattern, recordings)
    if payload_format == "value":
        return ValueEncoder(pattern, recordings)
    if payload_format == "influx":
        return InfluxEncoder(pattern, recordings)
    from appliance.simulate.sparkplug import SparkplugEncoder  # noqa: PLC0415 - protobuf is loaded where it is spoken

    return SparkplugEncoder(pattern, recordings)


def fill(pattern: str, **names: str) -> str:
    """Put names into a topic pattern; raises TopicError for a hole that has none."""
    try:
        return pattern.format(**names)
    except (KeyError, IndexError, ValueError) as error:
        known = ", ".join(f"{{{name}}}" for name in names)
        raise TopicError(f"topic {pattern!r} cannot be filled in ({error}): use {known}") from error


class _Plain:
    """Formats in which every message stands for itself."""

    def opening(self, time: float) -> Iterator[Outgoing]:
        """Say nothing."""
        yield from ()

    def closing(self, time: float) -> Iterator[Outgoing]:
        """Say nothing."""
        yield from ()


class JsonEncoder(_Plain):
    """``{"flow_m3h": 171.3, …, "time": 1767571200.0}``: one message for a machine's sample."""

    def __init__(self, pattern: str, recordings: Sequence[Recording]) -> None:
        self._topics = [fill(pattern, machine=recording.machine) for recording in recordings]
        self._channels = [recording.channels for recording in recordings]

    def sample(self, machine: int, time: float, values: Sequence[float]) -> list[Outgoing]:
        """One object with the channels that were measured."""
        readings = _present(self._channels[machine], values)
        return [Outgoing(self._topics[machine], orjson.dumps({**readings, "time": time}))] if readings else []


class ValueEncoder(_Plain):
    """``171.3``: one message for each reading, its channel in the topic; its time is its arrival."""

    def __init__(self, pattern: str, recordings: Sequence[Recording]) -> None:
        self._topics = [
            tuple(fill(pattern, machine=recording.machine, channel=channel) for channel in recording.channels)
            for recording in recordings
        ]

    def sample(self, machine: int, time: float, values: Sequence[float]) -> list[Outgoing]:
        """One number for each channel that was measured."""
        readings = _present(self._topics[machine], values)
        return [Outgoing(topic, repr(value).encode()) for topic, value in readings.items()]


class InfluxEncoder(_Plain):
    """``machine,machine=pump-1 flow_m3h=171.3,… 1767571200000000000``: InfluxDB line protocol, as Telegraf sends it."""

    def __init__(self, pattern: str, recordings: Sequence[Recording]) -> None:
        self._topics = [fill(pattern, machine=recording.machine) for recording in recordings]
        self._series = [f"machine,machine={_escaped(recording.machine)}" for recording in recordings]
        self._fields = [tuple(_escaped(channel) for channel in recording.channels) for recording in recordings]

    def sample(self, machine: int, time: float, values: Sequence[float]) -> list[Outgoing]:
        """One line with the channels that were measured; its time in nanoseconds, exact to the microsecond."""
        readings = _present(self._fields[machine], values)
        if not readings:
            return []
        fields = ",".join(f"{field}={value!r}" for field, value in readings.items())
        line = f"{self._series[machine]} {fields} {round(time * 1e6) * 1000}"
        return [Outgoing(self._topics[machine], line.encode())]


def _present(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    # Only NaN differs from itself; math.isnan costs a call per reading.
    return {name: value for name, value in zip(names, values, strict=True) if value == value}  # noqa: PLR0124


def _escaped(name: str) -> str:
    return "".join(f"\\{letter}" if letter in ", =" else letter for letter in name)
