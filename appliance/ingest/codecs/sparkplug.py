"""Sparkplug B 3.0: births name the metrics of edge nodes and devices, data refers to them, deaths end them.

A source for it reads the whole name space and makes one machine of each node and each device::

    topic = "spBv1.0/{group}/{type}/{machine...}"     machine = "{group}:{machine}"     → "plant:node7:press"
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

from google.protobuf.message import DecodeError as ProtobufError
from pydantic import Field

from appliance.errors import DecodeError
from appliance.ingest.codecs.base import (
    ChannelChoice,
    ChannelOptions,
    Refusals,
    SampleSet,
    limit_readings,
    number,
)
from appliance.ingest.codecs.sparkplug_schema import SIGNED_BITS, DataType, Payload
from appliance.ingest.codecs.sparkplug_state import Birth, Node
from appliance.ingest.names import MAX_NAME_CHARS
from appliance.ingest.reasons import quote, refuse
from appliance.ingest.times import from_epoch
from appliance.records import Command, Decoded, Notice, TopicMatch

MAX_PAYLOAD_BYTES: Final = 1024 * 1024
"""Two bytes make an empty metric of a hundred in memory, so the limit is tighter than for other formats."""
MAX_BIRTHS: Final = 2_000
MAX_METRICS: Final = 100_000
"""Births and metrics held for all nodes of a source: about 20 MB, ten times a large plant."""
REBIRTH_RETRY_SECS: Final = 600.0
"""A request for rebirth is QoS 0 and may be lost; without a second one its node would stay unreadable for ever."""

_SEQUENCE_MODULUS: Final = 256
_REBIRTH: Final = "Node Control/Rebirth"
_NOT_READINGS: Final = ("bdSeq", "Node Control/", "Device Control/", "Node Info/", "Device Info/", "Properties/")
_NAME_BYTES: Final = 4 * MAX_NAME_CHARS + 1
_READABLE: Final = frozenset(DataType)
_COMPRESSED: Final = b"SPBV1.0_COMPRESSED"
_NOTHING: Final = Decoded([])


class SparkplugOptions(ChannelOptions):
    """How to read Sparkplug B."""

    type: Literal["sparkplug"] = "sparkplug"
    rebirth: bool = Field(
        default=True,
        description="Ask a node to announce its metrics again after a gap; needs the right to publish NCMD.",
    )


class SparkplugCodec:
    """Reads Sparkplug B. Machines are named by the source's pattern; channels are the metrics' names.

    Historical metrics are readings like all others, with their own times. Null is no reading.
    """

    Options: ClassVar = SparkplugOptions

    def __init__(self, options: SparkplugOptions) -> None:
        self._options = options
        self._choice = ChannelChoice(options)
        self._nodes: dict[str, Node] = {}

    def decode(self, topic: TopicMatch, payload: bytes, received_at: float) -> Decoded:
        """Read one message; see :class:`~appliance.ingest.codecs.base.Codec`."""
        space, *levels = topic.topic.split("/")
        if space != "spBv1.0" or len(levels) not in {2, 3, 4}:
            raise refuse("not_sparkplug", f"{quote(topic.topic)} is no Sparkplug B topic")
        if levels[0] == "STATE" or levels[1] in {"NCMD", "DCMD"}:
            return _NOTHING  # of other host applications
        group, kind, node_name, device = (*levels, "", "")[:4]
        if not node_name or kind not in ({"DBIRTH", "DDATA", "DDEATH"} if device else {"NBIRTH", "NDATA", "NDEATH"}):
            raise refuse("not_sparkplug", f"{quote(topic.topic)} is no Sparkplug B topic")
        message = _parse(payload)
        key = f"{group}/{node_name}"
        if kind == "NDEATH":
            return self._node_death(key, topic.machine, message, received_at)

        node = self._node(key)
        notices: list[Notice] = []
        if kind == "NBIRTH":
            node.begin(_bd_seq(message))
        elif _gap(node, message):
            text = f"expected message {node.next_seq} of the node, received {message.seq}"
            notices = [Notice(machine, "sequence_gap", received_at, text) for machine in node.machines()]
        gap = bool(notices) or (kind != "NBIRTH" and not node.births)
        if message.HasField("seq"):
            node.next_seq = (message.seq + 1) % _SEQUENCE_MODULUS

        if kind == "DDEATH":
            node.births.pop(device, None)
            notices.append(Notice(topic.machine, "offline", received_at, "the node reports the death of the device"))
            decoded = _NOTHING
        else:
            if kind in {"NBIRTH", "DBIRTH"}:
                self._keep_birth(node, device, topic.machine, message)
            birth = node.births.get(device)
            gap = gap or birth is None
            decoded = self._readings(birth, topic.machine, message, received_at)
        commands = self._ask_rebirth(node, group, node_name, received_at) if gap else ()
        return decoded._replace(notices=tuple(notices), commands=commands)

    def snapshot(self) -> dict[str, Any] | None:
        """Births of all nodes and where their sequences stand, so that a restart needs no rebirth."""
        return {key: node.snapshot() for key, node in self._nodes.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`snapshot` gave."""
        self._nodes = {key: Node.restore(node) for key, node in state.items()}

    def _node(self, key: str) -> Node:
        node = self._nodes.get(key)
        if node is None:
            if len(self._nodes) >= MAX_BIRTHS:
                raise refuse("too_many", f"more than {MAX_BIRTHS} nodes; split the source by group")
            node = self._nodes[key] = Node()
        return node

    def _keep_birth(self, node: Node, device: str, machine: str, message: Any) -> None:
        births = [birth for known in self._nodes.values() for birth in known.births.values()]
        held = sum(len(birth.types) for birth in births)
        if len(births) >= MAX_BIRTHS or held + len(message.metrics) > MAX_METRICS:
            raise refuse(
                "too_many", f"more than {MAX_BIRTHS} births or {MAX_METRICS} metrics; split the source by group"
            )
        birth = node.births[device] = Birth(machine)
        for metric in message.metrics:
            name = _text(metric.name)
            birth.types[name] = metric.datatype
            if metric.HasField("alias"):
                birth.names[metric.alias] = name

    def _node_death(self, key: str, machine: str, message: Any, received_at: float) -> Decoded:
        node = self._nodes.get(key)
        if node is None:
            return Decoded([], notices=(Notice(machine, "offline", received_at, "the node's last will"),))
        bd_seq = _bd_seq(message)
        if bd_seq is not None and node.bd_seq is not None and bd_seq != node.bd_seq:
            return _NOTHING  # the will of an earlier connection, overtaken by a newer birth
        machines = dict.fromkeys([machine, *node.machines()])
        del self._nodes[key]
        return Decoded([], notices=tuple(Notice(m, "offline", received_at, "the node's last will") for m in machines))

    def _ask_rebirth(self, node: Node, group: str, name: str, received_at: float) -> tuple[Command, ...]:
        asked = node.asked_at is not None and 0 <= received_at - node.asked_at < REBIRTH_RETRY_SECS
        if asked or not self._options.rebirth:
            return ()
        node.asked_at = received_at
        request = Payload(timestamp=max(0, int(received_at * 1000)))
        request.metrics.add(name=_REBIRTH.encode(), datatype=DataType.BOOLEAN, boolean_value=True)
        return (Command(f"spBv1.0/{group}/NCMD/{name}", request.SerializeToString(deterministic=True)),)

    def _readings(self, birth: Birth | None, machine: str, message: Any, received_at: float) -> Decoded:
        refused = Refusals()
        if birth is None:
            refused.add(refuse("sparkplug_no_birth", "data before its birth certificate"), max(1, len(message.metrics)))
            return Decoded([], refused=refused.freeze())
        samples = SampleSet()
        timed = True
        for metric in message.metrics:
            try:
                name = _name(metric, birth)
                if metric.is_null or name.startswith(_NOT_READINGS):
                    continue
                channel = self._choice[name]
                if channel is None:
                    continue
                timed_by = metric if metric.HasField("timestamp") else message
                at = from_epoch(timed_by.timestamp, "ms") if timed_by.HasField("timestamp") else received_at
                value = number(_value(metric, birth.types.get(name, 0)), self._options.booleans)
            except DecodeError as error:
                refused.add(error)
                continue
            timed = timed and timed_by.HasField("timestamp")
            samples.add(machine, at, channel, value)
        return Decoded(samples.freeze(), timed, refused.freeze())


def _parse(payload: bytes) -> Any:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise refuse("too_large", f"{len(payload)} bytes; the limit is {MAX_PAYLOAD_BYTES}")
    message = Payload()
    try:
        message.ParseFromString(payload)
    except ProtobufError:
        raise refuse("not_protobuf", quote(payload)) from None
    if message.uuid == _COMPRESSED:
        raise refuse("compressed", "switch compression off at the edge node")
    limit_readings(len(message.metrics))
    return message


def _bd_seq(message: Any) -> int | None:
    """Birth-death sequence number: tells the will of this connection from that of an earlier one."""
    return next((_integer(metric) for metric in message.metrics if metric.name == b"bdSeq"), None)


def _integer(metric: Any) -> int:
    return int(metric.long_value if metric.HasField("long_value") else metric.int_value)


def _gap(node: Node, message: Any) -> bool:
    if node.next_seq is None or not message.HasField("seq"):
        return False
    repeated = (node.next_seq - 1) % _SEQUENCE_MODULUS  # the same message, delivered twice
    return message.seq not in {node.next_seq, repeated}


def _text(name: bytes) -> str:
    """Decode a name; one that is too long stays so, but takes no more room in a birth than that needs."""
    return name[:_NAME_BYTES].decode(errors="backslashreplace")


def _name(metric: Any, birth: Birth) -> str:
    if not metric.HasField("alias") or metric.name:
        return _text(metric.name)
    if metric.alias not in birth.names:
        raise refuse("sparkplug_unknown_alias", "the birth certificate does not list the alias")
    return birth.names[metric.alias]


def _value(metric: Any, born_as: int) -> object:
    """Value of a metric; integers travel unsigned, so the data type of the birth gives them their sign."""
    field = metric.WhichOneof("value")
    kind = metric.datatype or born_as
    if field is None or (kind and kind not in _READABLE):
        raise refuse("not_a_number", "a metric without a number; leave it out with the option ignore")
    value = getattr(metric, field)
    if field in {"int_value", "long_value"} and kind in SIGNED_BITS:
        bits = SIGNED_BITS[DataType(kind)]
        value &= (1 << bits) - 1
        return value - (1 << bits) if value >> (bits - 1) else value
    return value
