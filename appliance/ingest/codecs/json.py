"""JSON payloads: objects, nested objects, arrays of samples, columns and name-value records."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from math import isfinite
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from appliance.errors import DecodeError
from appliance.ingest.codecs.base import (
    MAX_DEPTH,
    MAX_READINGS,
    ChannelChoice,
    ChannelOptions,
    Refusals,
    SampleSet,
    StatelessCodec,
    limit_readings,
    load_json,
    number,
)
from appliance.ingest.names import MAX_NAME_CHARS
from appliance.ingest.reasons import quote, refuse
from appliance.ingest.times import read_time
from appliance.records import Decoded, Sample, TopicMatch

_MISSING: Final = object()
Leaf = tuple[str, Any]
"""Channel name as the payload has it, and its value or column."""


class JsonOptions(ChannelOptions):
    """How to read JSON.

    Paths are keys joined by dots. Of duplicate keys the last one wins; null is no reading; a number in quotes is one.
    """

    type: Literal["json"] = "json"
    values: str = Field(
        default="", description="Path to the object or array that holds the readings; empty: the payload."
    )
    time: str = Field(default="time", description="Path to the time: in each sample, else in the payload.")
    time_required: bool = Field(default=False, description="Refuse samples without a time, rather than use arrival.")
    naive_utc: bool = Field(default=False, description="Whether times without a zone are UTC; else they are refused.")
    name: str = Field(
        default="", description="Key that names the channel where each reading is an object of its own; empty: none is."
    )
    value: str = Field(
        default="value", description="Key of the number, where the topic or the key `name` names the channel."
    )


class JsonCodec(StatelessCodec):
    """Reads the JSON that gateways send, in any of the shapes below.

    ::

        {"time": 1767319445.0, "temp": 21.5, "motor": {"rpm": 1450}}   one sample of temp and motor.rpm
        [{"time": ..., "temp": 21.5}, {"time": ..., "temp": 21.6}]     several samples
        {"time": [..., ...], "temp": [21.5, 21.6]}                     columns
        [{"name": "temp", "value": 21.5, "time": ...}, ...]            records, with the option name = "name"
        21.5   or   {"time": ..., "value": 21.5}                       where the topic names the channel
    """

    Options: ClassVar = JsonOptions

    def __init__(self, options: JsonOptions) -> None:
        self._options = options
        self._choice = ChannelChoice(options)
        self._time_path = tuple(options.time.split("."))
        self._values_path = tuple(options.values.split(".")) if options.values else ()

    def decode(self, topic: TopicMatch, payload: bytes, received_at: float) -> Decoded:
        """Read one message; see :class:`~appliance.ingest.codecs.base.Codec`."""
        root = load_json(payload)
        common_time = _take(root, self._time_path)
        node = root
        for key in self._values_path:
            if type(node) is not dict or key not in node:
                raise refuse("no_values", f"the payload has no {self._options.values!r}; check the option values")
            node = node[key]
        several = type(node) is list
        rows = node if several else [node]
        limit_readings(len(rows))

        refused = Refusals()
        samples: list[Sample] = []
        timed = True
        count = 0
        for row in rows:
            try:
                own_time = _take(row, self._time_path)
                leaves = self._leaves(row, topic.channel)
            except DecodeError as error:
                if not several:
                    raise
                refused.add(error)
                continue
            time = common_time if own_time is _MISSING else own_time
            columns = type(time) is list
            count += len(leaves) * (len(time) if columns else 1)
            limit_readings(count)
            if columns:
                samples += self._columns(topic.machine, time, leaves, refused)
                continue
            try:
                at = self._time(time, received_at)
            except DecodeError as error:
                refused.add(error, max(1, len(leaves)))
                continue
            values = self._values(leaves, refused)
            if values:
                timed = timed and time is not _MISSING
                samples.append(Sample(topic.machine, at, values))
        return Decoded(self._merge(samples) if self._options.name else samples, timed, refused.freeze())

    def _leaves(self, row: Any, channel: str | None) -> Collection[Leaf]:
        options = self._options
        if options.name:
            if type(row) is dict and isinstance(row.get(options.name), str):
                return [(row[options.name], row.get(options.value))]
            raise refuse("no_channel", f"a record has no text under the key {options.name!r}; check the option name")
        if channel is not None:
            if type(row) is not dict:
                return [(channel, row)]
            if options.value in row:
                return [(channel, row[options.value])]
            raise refuse("no_values", f"an object has no key {options.value!r}; check the option value")
        if type(row) is not dict:
            raise refuse("not_an_object", f"{quote(row)} stands where an object of channels and values belongs")
        if dict not in map(type, row.values()):
            return row.items()
        return list(islice(_flatten("", row, MAX_DEPTH), MAX_READINGS + 1))

    def _values(self, leaves: Collection[Leaf], refused: Refusals) -> dict[str, float]:
        choice = self._choice
        booleans = self._options.booleans
        values: dict[str, float] = {}
        for name, raw in leaves:
            try:
                channel = choice[name]
                if channel is not None and raw is not None:
                    values[channel] = raw if type(raw) is float and isfinite(raw) else number(raw, booleans)
            except DecodeError as error:
                refused.add(error)
        return values

    def _columns(self, machine: str, times: list[Any], leaves: Collection[Leaf], refused: Refusals) -> list[Sample]:
        whole: list[tuple[str, list[Any]]] = []
        for name, column in leaves:
            if type(column) is list and len(column) == len(times):
                whole.append((name, column))
            elif column is not None:
                length = len(column) if type(column) is list else 1
                refused.add(
                    refuse("column_length", f"{quote(name)} has {length} values for {len(times)} times"), length
                )
        samples: list[Sample] = []
        for row, time in enumerate(times):
            try:
                at = read_time(time, self._options.naive_utc)
            except DecodeError as error:
                refused.add(error, max(1, len(whole)))
                continue
            values = self._values([(name, column[row]) for name, column in whole], refused)
            if values:
                samples.append(Sample(machine, at, values))
        return samples

    def _time(self, time: Any, received_at: float) -> float:
        if time is not _MISSING:
            return read_time(time, self._options.naive_utc)
        if self._options.time_required:
            raise refuse("bad_time", f"no time under {self._options.time!r}; check the option time")
        return received_at

    @staticmethod
    def _merge(samples: list[Sample]) -> list[Sample]:
        together = SampleSet()
        for sample in samples:
            for channel, value in sample.values.items():
                together.add(sample.machine, sample.time, channel, value)
        return together.freeze()


def _take(row: Any, path: tuple[str, ...]) -> Any:
    """Remove and return what the path leads to, so that a time is not also read as a channel."""
    *parents, last = path
    for key in parents:
        row = row.get(key) if type(row) is dict else None
    return row.pop(last, _MISSING) if type(row) is dict else _MISSING


def _flatten(prefix: str, node: dict[str, Any], depth: int) -> Iterator[Leaf]:
    for key, value in node.items():
        if type(value) is dict and depth > 1:
            long_enough = f"{prefix}{key}."[: MAX_NAME_CHARS + 1]  # to be refused, and not to be copied for each leaf
            yield from _flatten(long_enough, value, depth - 1)
        else:
            yield prefix + key, value
