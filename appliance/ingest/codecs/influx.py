"""InfluxDB line protocol, as Telegraf sends it: one or more lines of measurement, tags, fields and time."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from appliance.errors import DecodeError
from appliance.ingest.codecs.base import (
    ChannelChoice,
    ChannelOptions,
    Refusals,
    SampleSet,
    StatelessCodec,
    limit_payload,
    limit_readings,
    number,
)
from appliance.ingest.names import MAX_NAME_CHARS, Template, machine_name
from appliance.ingest.reasons import quote, refuse
from appliance.ingest.times import EpochUnit, from_epoch
from appliance.records import Decoded, TopicMatch

# A backslash takes the next character with it, but not the end of the line: with that and the possessive `++`, reading
# takes time linear in the payload, whatever is in it.
_MEASUREMENT = re.compile(r"((?:\\[^\n]|[^\\, \n])++)(?=[, ])")
_TAG = re.compile(r",((?:\\[^\n]|[^\\,= \n])++)=((?:\\[^\n]|[^\\,= \n])++)")
_FIELD = re.compile(r'((?:\\[^\n]|[^\\,= \n])++)=("(?:\\.|[^\\"])*+"|[^", \r\n]++)', re.DOTALL)
_END = re.compile(r" *(-?[0-9]{1,20})?[ \r]*(?:\n|$)")
_NUMBER = re.compile(r"[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?|[+-]?(?:nan|inf)", re.I)
_INTEGER = re.compile(r"([+-]?[0-9]{1,20})[iu]")
_ESCAPED = re.compile(r"\\([,= ])")
_LONGEST_NAME = 2 * MAX_NAME_CHARS + 2  # what is longer stays too long for a name, but not too long to copy
_TRUE = frozenset({"t", "T", "true", "True", "TRUE"})
_FALSE = frozenset({"f", "F", "false", "False", "FALSE"})


class InfluxOptions(ChannelOptions):
    """How to read line protocol."""

    type: Literal["influx"] = "influx"
    machine_tag: str | None = Field(
        default=None, description="Tag that names the machine; without one the topic does, by the source's template."
    )
    channel: str = Field(
        default="{measurement}_{field}", description="How a channel is named; tags may be used, such as {axis}."
    )
    precision: EpochUnit = Field(default="ns", description="Unit of the times: ns, us, ms or s.")

    @field_validator("channel")
    @classmethod
    def _names_the_field(cls, text: str) -> str:
        if "field" not in Template(text).names:
            raise ValueError(f"{text!r} must hold {{field}}: else all fields of a line become one channel")
        return text


class InfluxCodec(StatelessCodec):
    """Reads line protocol. A bad line is refused and the others kept; a line without a time gets its arrival's."""

    Options: ClassVar = InfluxOptions

    def __init__(self, options: InfluxOptions) -> None:
        self._options = options
        self._choice = ChannelChoice(options)
        self._channel = Template(options.channel)

    def decode(self, topic: TopicMatch, payload: bytes, received_at: float) -> Decoded:
        """Read one message; see :class:`~appliance.ingest.codecs.base.Codec`."""
        limit_payload(payload)
        text = payload.decode(errors="surrogateescape")  # a stray byte spoils the name it stands in, not the message
        samples = SampleSet()
        refused = Refusals()
        timed = True
        position = count = 0
        while position < len(text):
            if text[position] in "\r\n ":
                position += 1
                continue
            if text[position] == "#":
                position = _next_line(text, position)
                continue
            limit_readings(count := count + 1)
            try:
                names, fields, time, position = _parse_line(text, position)
            except DecodeError as error:
                refused.add(error)
                position = _next_line(text, position)
                continue
            limit_readings(count := count + len(fields) - 1)
            try:
                machine = self._machine(names, topic)
                at = received_at if time is None else from_epoch(time, self._options.precision)
            except DecodeError as error:
                refused.add(error, len(fields))
                continue
            for name, raw in fields:
                names["field"] = name
                try:
                    channel = self._choice[self._name_channel(names)]
                    if channel is not None:
                        samples.add(machine, at, channel, number(_field_value(raw), self._options.booleans))
                        timed = timed and time is not None
                except DecodeError as error:
                    refused.add(error)
        return Decoded(samples.freeze(), timed, refused.freeze())

    def _machine(self, names: dict[str, str], topic: TopicMatch) -> str:
        tag = self._options.machine_tag
        if tag is None:
            return topic.machine
        if tag not in names:
            raise refuse("no_machine", f"the line has no tag {tag!r}; check the option machine_tag")
        return machine_name(names[tag])

    def _name_channel(self, names: dict[str, str]) -> str:
        try:
            return self._channel.fill(names)
        except KeyError as missing:
            raise refuse("no_channel", f"the line has no tag {missing}, which the option channel uses") from None


Line = tuple[dict[str, str], list[tuple[str, str]], int | None, int]
"""Tags and measurement by name, fields with their raw values, time in the source's precision, position after it."""


def _parse_line(text: str, start: int) -> Line:
    found = _MEASUREMENT.match(text, start)
    if found is None:
        raise refuse("bad_line", f"no measurement, or nothing after it, at {quote(text[start : start + 60])}")
    names: dict[str, str] = {}
    measurement, position = _unescape(found[1]), found.end()
    while (found := _TAG.match(text, position)) is not None:
        names[_unescape(found[1])] = _unescape(found[2])
        position = found.end()
    names["measurement"] = measurement
    fields: list[tuple[str, str]] = []
    separator = " "
    while text.startswith(separator, position) and (found := _FIELD.match(text, position + 1)) is not None:
        fields.append((_unescape(found[1]), found[2]))
        position = found.end()
        separator = ","
    found = _END.match(text, position)
    if not fields or found is None:
        raise refuse("bad_line", f"tags, fields or time cannot be read at {quote(text[position : position + 60])}")
    return names, fields, int(found[1]) if found[1] else None, found.end()


def _field_value(raw: str) -> object:
    if raw[0] == '"':
        raise refuse("not_a_number", "a field is a string; leave it out with the option ignore")
    integer = _INTEGER.fullmatch(raw)
    if integer:
        return int(integer[1])
    if _NUMBER.fullmatch(raw):
        return raw
    if raw in _TRUE or raw in _FALSE:
        return raw in _TRUE
    raise refuse("bad_line", f"{quote(raw)} is no field value")


def _unescape(text: str) -> str:
    text = text[:_LONGEST_NAME]
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def _next_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1
