"""Encodes samples as a Sparkplug B edge node does: births announce metrics and aliases, data refers to the aliases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from appliance.ingest.codecs.sparkplug_schema import DataType, Payload
from appliance.recordings import Recording
from appliance.simulate.encoders import Outgoing, TopicError, fill

SEQUENCE_MODULUS = 256
BIRTH_DEATH_NUMBER = 0
"""``bdSeq`` of the only session this node has."""


class SparkplugEncoder:
    """One edge node with a device for each machine; ``pattern`` is ``spBv1.0/GROUP/{type}/NODE/{machine}``.

    Sparkplug B specification 3.0, chapters 4 to 6. Values are doubles, announced as null and sent with their alias.
    """

    def __init__(self, pattern: str, recordings: Sequence[Recording]) -> None:
        levels = pattern.split("/")
        if len(levels) != 5 or levels[0] != "spBv1.0" or levels[2] != "{type}" or levels[4] != "{machine}":
            raise TopicError(f"topic {pattern!r} is not Sparkplug's: write spBv1.0/GROUP/{{type}}/NODE/{{machine}}")
        machines = [recording.machine for recording in recordings]
        if twice := {machine for machine in machines if machines.count(machine) > 1}:
            raise TopicError(
                f"two recordings are of {min(twice)}: a Sparkplug device is born once, so replay one of them"
            )
        self._node_pattern = "/".join(levels[:4])
        self._pattern = pattern
        self._machines = machines
        self._channels = [recording.channels for recording in recordings]
        self._data_topics = [fill(pattern, type="DDATA", machine=machine) for machine in machines]
        self._first_alias = [sum(map(len, self._channels[:index])) for index in range(len(machines))]
        self._sequence = 0

    def opening(self, time: float) -> Iterator[Outgoing]:
        """Yield the birth of the node, then of each machine."""
        born = self._next(time)
        born.metrics.add(name=b"bdSeq", datatype=DataType.INT64, long_value=BIRTH_DEATH_NUMBER)
        yield Outgoing(fill(self._node_pattern, type="NBIRTH"), born.SerializeToString())
        for machine, channels, first in zip(self._machines, self._channels, self._first_alias, strict=True):
            born = self._next(time)
            for alias, channel in enumerate(channels, start=first):
                born.metrics.add(name=channel.encode(), alias=alias, datatype=DataType.DOUBLE, is_null=True)
            yield Outgoing(fill(self._pattern, type="DBIRTH", machine=machine), born.SerializeToString())

    def sample(self, machine: int, time: float, values: Sequence[float]) -> list[Outgoing]:
        """One DDATA with the channels that were measured."""
        present = [(alias, value) for alias, value in enumerate(values, self._first_alias[machine]) if value == value]  # noqa: PLR0124
        if not present:
            return []
        message = self._next(time)
        for alias, value in present:
            message.metrics.add(alias=alias, double_value=value)
        return [Outgoing(self._data_topics[machine], message.SerializeToString())]

    def closing(self, time: float) -> Iterator[Outgoing]:
        """Yield the node's death, which is also that of its machines."""
        death = Payload(timestamp=round(time * 1000))
        death.metrics.add(name=b"bdSeq", datatype=DataType.INT64, long_value=BIRTH_DEATH_NUMBER)
        yield Outgoing(fill(self._node_pattern, type="NDEATH"), death.SerializeToString())

    def _next(self, time: float) -> Any:
        message = Payload(timestamp=round(time * 1000), seq=self._sequence)
        self._sequence = (self._sequence + 1) % SEQUENCE_MODULUS
        return message
