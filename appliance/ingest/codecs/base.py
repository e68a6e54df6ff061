"""What every codec shares: the protocol, the limits, and the reading of numbers, names and JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, Protocol

import orjson
from pydantic import BaseModel, ConfigDict, Field

from appliance.errors import DecodeError
from appliance.ingest.names import MAX_NAME_CHARS, channel_name
from appliance.ingest.reasons import quote, refuse
from appliance.records import Decoded, Refusal, Sample, TopicMatch

MAX_PAYLOAD_BYTES: Final = 4 * 1024 * 1024
"""A minute of 25.6 kHz vibration as int16 is 3 MiB; parsed JSON takes up to twenty times its size in memory."""
MAX_READINGS: Final = 10_000
"""Per message: an hour of ten channels at four seconds. More is a file transfer, not a message."""
MAX_DEPTH: Final = 16
"""Levels of nesting in a payload."""
_REMEMBERED_NAMES: Final = 20_000
"""Twice the channels of a large source, so that names made up by a broken device cannot fill the memory."""
_NUMBER = re.compile(r"\s*[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf(?:inity)?)\s*", re.ASCII | re.I)
_MAX_NUMBER_CHARS: Final = 64


class CodecOptions(BaseModel):
    """Options common to all codecs; ``type`` chooses the codec."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str


class ChannelOptions(CodecOptions):
    """Options of the codecs whose payload names its channels."""

    channels: tuple[str, ...] = Field(
        default=(), description="Names of the channels to read, '*' stands for any text; empty reads all."
    )
    ignore: tuple[str, ...] = Field(default=(), description="Names of channels to leave out, '*' stands for any text.")
    booleans: bool = Field(default=False, description="Whether true and false are the readings 1 and 0.")


class Codec(Protocol):
    """Turns the messages of one source into readings."""

    def decode(self, topic: TopicMatch, payload: bytes, received_at: float) -> Decoded:
        """Read one message.

        Parameters
        ----------
        received_at
            Unix seconds; the time of readings that bring none of their own.

        Raises
        ------
        DecodeError
            Nothing in the message can be used, whatever its bytes. No other error is raised.
        """

    def snapshot(self) -> dict[str, Any] | None:
        """State on which later messages depend, fit for JSON; None where there is none."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`snapshot` gave."""


class StatelessCodec:
    """Base of the codecs that read each message by itself."""

    def snapshot(self) -> dict[str, Any] | None:
        """Nothing to keep."""
        return None

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to take over."""


class Refusals:
    """Collects the parts of one message that cannot be used: one entry per reason, with its first example."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, int]] = {}

    def add(self, error: DecodeError, readings: int = 1) -> None:
        """Count ``readings`` that were refused for this error."""
        detail, count = self._found.get(error.reason, (error.detail, 0))
        self._found[error.reason] = (detail, count + readings)

    def freeze(self) -> tuple[Refusal, ...]:
        """All that was refused."""
        return tuple(Refusal(reason, detail, count) for reason, (detail, count) in self._found.items())


class ChannelChoice(dict[str, "str | None"]):
    """Name in the payload → the same name, or None if the options leave it out; remembers what it was asked.

    A look-up raises DecodeError ``bad_name`` for a name that no channel may have.
    """

    def __init__(self, options: ChannelOptions) -> None:
        super().__init__()
        self._wanted = options.channels
        self._ignored = options.ignore

    def __missing__(self, name: str) -> str | None:
        if _matches(name, self._ignored) or (self._wanted and not _matches(name, self._wanted)):
            chosen = None
        else:
            chosen = channel_name(name)
        if len(self) < _REMEMBERED_NAMES and len(name) <= MAX_NAME_CHARS:
            self[name] = chosen
        return chosen


def number(value: object, booleans: bool = False) -> float:
    """Turn a value out of a payload into a finite float; a string counts if it is a plain decimal number.

    Raises
    ------
    DecodeError
        ``not_a_number`` or ``not_finite``.
    """
    if isinstance(value, bool):
        if booleans:
            return float(value)
        raise refuse("not_a_number", f"{value} is a truth value; set booleans = true to read it as 1 or 0")
    if isinstance(value, int | float):
        try:
            result = float(value)
        except OverflowError:
            raise refuse("not_finite", "the integer is too large for a double") from None
    elif isinstance(value, str) and len(value) <= _MAX_NUMBER_CHARS and _NUMBER.fullmatch(value):
        result = float(value)
    else:
        raise refuse("not_a_number", f"{quote(value)} is not a number")
    if not math.isfinite(result):
        raise refuse("not_finite", "the value is NaN, infinite or too large for a double")
    return result


def load_json(payload: bytes) -> Any:
    """Parse JSON. Of duplicate keys the last one wins.

    Python's own parser is the second try: unlike orjson it takes the ``NaN`` and ``Infinity`` that many devices send
    and a byte order mark, so that the other readings of such a message are kept.

    Raises
    ------
    DecodeError
        ``not_json``, ``too_deep`` or ``too_large``.
    """
    limit_payload(payload)
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        try:
            return json.loads(payload)
        except RecursionError:
            raise refuse("too_deep", "the JSON is nested too deeply") from None
        except ValueError as error:
            raise refuse("not_json", str(error)[:100]) from None


def limit_payload(payload: bytes) -> None:
    """Refuse a payload that is too large."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise refuse("too_large", f"{len(payload)} bytes; the limit is {MAX_PAYLOAD_BYTES}")


def limit_readings(count: int) -> None:
    """Refuse a message that holds too many readings."""
    if count > MAX_READINGS:
        raise refuse("too_many", f"{count} or more readings; the limit is {MAX_READINGS} per message: send it in parts")


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


class SampleSet:
    """Gathers single readings into one sample per machine and time, in order of first appearance."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, float], dict[str, float]] = {}

    def add(self, machine: str, time: float, channel: str, value: float) -> None:
        """Add a reading; of two for the same channel and time the later one counts."""
        self._samples.setdefault((machine, time), {})[channel] = value

    def freeze(self) -> list[Sample]:
        """All samples."""
        return [Sample(machine, time, values) for (machine, time), values in self._samples.items()]
