import json
import subprocess
import sys
from typing import Any

import pytest

from appliance.errors import DecodeError
from appliance.ingest.codecs import build_codec
from appliance.ingest.codecs.sparkplug import REBIRTH_RETRY_SECS
from appliance.ingest.codecs.sparkplug_schema import Payload
from appliance.ingest.topics import Route, Router, TopicPattern
from appliance.records import Decoded, Sample, TopicMatch

NOW = 1_767_319_500.0
ROUTER = Router([Route("sparkplug", TopicPattern("spBv1.0/{group}/{type}/{machine...}"), "{group}:{machine}")])


def topic(text: str) -> TopicMatch:
    return ROUTER.match(f"spBv1.0/{text}".encode())


def payload(seq: int | None, *metrics: dict[str, Any], timestamp: int | None = 1_767_319_445_000) -> bytes:
    message = Payload()
    if timestamp is not None:
        message.timestamp = timestamp
    if seq is not None:
        message.seq = seq
    for metric in metrics:
        message.metrics.add(**{**metric, "name": metric.get("name", "").encode()})
    return bytes(message.SerializeToString())


def bd_seq(value: int) -> dict[str, Any]:
    return {"name": "bdSeq", "datatype": 4, "long_value": value}


NODE_BIRTH = payload(0, bd_seq(7), {"name": "load", "alias": 1, "datatype": 9, "float_value": 0.5})
DEVICE_BIRTH = payload(
    1,
    {"name": "temp", "alias": 2, "datatype": 10, "double_value": 21.5},
    {"name": "offset", "alias": 3, "datatype": 2, "int_value": 65_535},
    {"name": "maker", "datatype": 12},
)
DEVICE_DATA = payload(
    2, {"alias": 2, "double_value": 22.0, "timestamp": 1_767_319_446_500}, {"alias": 3, "int_value": 5}
)
NODE_DEATH = payload(None, bd_seq(7))
MESSAGES = [
    (topic("plant/NBIRTH/node"), NODE_BIRTH),
    (topic("plant/DBIRTH/node/press"), DEVICE_BIRTH),
    (topic("plant/DDATA/node/press"), DEVICE_DATA),
    (topic("plant/DDEATH/node/press"), payload(3)),
    (topic("plant/NDEATH/node"), NODE_DEATH),
]


class Host:
    """A codec and the way to hand it messages."""

    def __init__(self, **options: Any) -> None:
        self.options = {"type": "sparkplug", **options}
        self.codec = build_codec(self.options)

    def receive(self, text: str, message: bytes, at: float = NOW) -> Decoded:
        return self.codec.decode(topic(text), message, at)

    def born(self) -> "Host":
        self.receive("plant/NBIRTH/node", NODE_BIRTH)
        self.receive("plant/DBIRTH/node/press", DEVICE_BIRTH)
        return self


def test_births_are_readings_and_name_the_metrics_of_later_data() -> None:
    host = Host()
    node = host.receive("plant/NBIRTH/node", NODE_BIRTH)
    assert node.samples == [Sample("plant:node", 1_767_319_445.0, {"load": 0.5})]
    device = host.receive("plant/DBIRTH/node/press", DEVICE_BIRTH)
    assert device.samples == [Sample("plant:node:press", 1_767_319_445.0, {"temp": 21.5, "offset": -1.0})]
    assert [(r.reason, r.readings) for r in device.refused] == [("not_a_number", 1)]
    data = host.receive("plant/DDATA/node/press", DEVICE_DATA)
    assert data.samples == [
        Sample("plant:node:press", 1_767_319_446.5, {"temp": 22.0}),
        Sample("plant:node:press", 1_767_319_445.0, {"offset": 5.0}),
    ]
    assert data.timed
    assert not data.commands
    assert not data.notices


@pytest.mark.parametrize(
    ("datatype", "field", "raw", "value"),
    [
        (1, "int_value", 0xFF, -1.0),
        (1, "int_value", 0xFFFF_FFFF, -1.0),  # sign-extended, as Eclipse Tahu sends it
        (3, "int_value", 0xFFFF_FFFE, -2.0),
        (4, "long_value", 2**64 - 5, -5.0),
        (7, "int_value", 0xFFFF_FFFF, 4_294_967_295.0),
        (8, "long_value", 2**63, float(2**63)),
        (9, "float_value", 0.25, 0.25),
        (11, "boolean_value", True, 1.0),
    ],
)
def test_data_types(datatype: int, field: str, raw: Any, value: float) -> None:
    birth = payload(0, {"name": "x", "alias": 1, "datatype": datatype, "is_null": True})
    host = Host(booleans=True)
    assert host.receive("plant/NBIRTH/node", birth).samples == []
    data = host.receive("plant/NDATA/node", payload(1, {"alias": 1, field: raw}))
    assert data.samples[0].values == {"x": value}


def test_what_is_no_reading_is_refused() -> None:
    date = {"name": "built", "datatype": 13, "long_value": 1_767_319_445_000}
    long = {"name": "n" * 5_000, "alias": 1, "datatype": 9, "float_value": 1.0}
    birth = Host().receive("plant/NBIRTH/node", payload(0, date, long))
    assert birth.samples == []
    assert [refusal.reason for refusal in birth.refused] == ["not_a_number", "bad_name"]


def test_a_gap_is_noticed_once_and_asks_for_one_rebirth() -> None:
    host = Host().born()
    lost = host.receive("plant/DDATA/node/press", payload(9, {"alias": 2, "double_value": 1.0}))
    assert [(n.machine, n.kind) for n in lost.notices] == [
        ("plant:node", "sequence_gap"),
        ("plant:node:press", "sequence_gap"),
    ]
    assert lost.samples[0].values == {"temp": 1.0}
    (command,) = lost.commands
    assert command.topic == "spBv1.0/plant/NCMD/node"
    request = Payload.FromString(command.payload)
    assert [(m.name, m.datatype, m.boolean_value) for m in request.metrics] == [(b"Node Control/Rebirth", 11, True)]

    following = host.receive("plant/DDATA/node/press", payload(10, {"alias": 2, "double_value": 1.0}))
    assert not following.notices
    again = host.receive("plant/DDATA/node/press", payload(20, {"alias": 2, "double_value": 1.0}))
    assert again.notices
    assert not again.commands
    late = host.receive("plant/DDATA/node/press", payload(30), at=NOW + REBIRTH_RETRY_SECS)
    assert late.commands


def test_the_sequence_wraps_and_a_repeated_message_is_no_gap() -> None:
    host = Host()
    host.receive("plant/NBIRTH/node", payload(255, {"name": "load", "alias": 1, "datatype": 9, "float_value": 0.5}))
    for seq in (0, 0, 1):
        assert not host.receive("plant/NDATA/node", payload(seq, {"alias": 1, "float_value": 1.0})).notices


def test_data_before_birth_is_refused_and_asks_for_rebirth() -> None:
    host = Host()
    first = host.receive("plant/DDATA/node/press", DEVICE_DATA)
    assert first.samples == []
    assert [(r.reason, r.readings) for r in first.refused] == [("sparkplug_no_birth", 2)]
    assert len(first.commands) == 1
    assert not host.receive("plant/NDATA/node", DEVICE_DATA).commands
    assert not Host(rebirth=False).receive("plant/DDATA/node/press", DEVICE_DATA).commands


def test_an_alias_that_was_not_announced_is_refused() -> None:
    data = Host().born().receive("plant/DDATA/node/press", payload(2, {"alias": 99, "int_value": 5}))
    assert [r.reason for r in data.refused] == ["sparkplug_unknown_alias"]


def test_the_last_will_takes_node_and_devices_offline() -> None:
    host = Host().born()
    death = host.receive("plant/NDEATH/node", NODE_DEATH)
    assert [(n.machine, n.kind) for n in death.notices] == [("plant:node", "offline"), ("plant:node:press", "offline")]
    assert host.receive("plant/DDATA/node/press", DEVICE_DATA).refused[0].reason == "sparkplug_no_birth"


def test_the_will_of_an_earlier_connection_is_ignored() -> None:
    host = Host().born()
    assert host.receive("plant/NDEATH/node", payload(None, bd_seq(6))) == Decoded([])
    assert host.receive("plant/DDATA/node/press", DEVICE_DATA).samples


def test_a_dead_device_leaves_the_others_alone() -> None:
    host = Host().born()
    death = host.receive("plant/DDEATH/node/press", payload(2))
    assert [(n.machine, n.kind) for n in death.notices] == [("plant:node:press", "offline")]
    assert host.receive("plant/NDATA/node", payload(3, {"alias": 1, "float_value": 2.0})).samples[0].values == {
        "load": 2.0
    }


def test_a_new_birth_of_the_node_ends_the_births_of_its_devices() -> None:
    host = Host().born()
    host.receive("plant/NBIRTH/node", NODE_BIRTH)
    assert host.receive("plant/DDATA/node/press", payload(1, {"alias": 2, "double_value": 1.0})).commands


def test_a_restart_needs_no_rebirth() -> None:
    before, after = Host().born(), Host()
    after.codec.restore(json.loads(json.dumps(before.codec.snapshot())))
    data = after.receive("plant/DDATA/node/press", DEVICE_DATA)
    assert data == before.receive("plant/DDATA/node/press", DEVICE_DATA)
    assert data.samples


@pytest.mark.parametrize("text", ["plant/NCMD/node", "plant/DCMD/node/press", "STATE/host/x"])
def test_messages_of_other_hosts_say_nothing(text: str) -> None:
    assert Host().receive(text, b"\xff") == Decoded([])


@pytest.mark.parametrize("text", ["plant/NDATA/node/press", "plant/DDATA/node", "plant/OTHER/node", "p/NDATA/n/d/e"])
def test_other_topics_are_no_sparkplug(text: str) -> None:
    with pytest.raises(DecodeError, match="not_sparkplug"):
        Host().receive(text, NODE_BIRTH)


def test_a_compressed_payload_is_refused_with_its_remedy() -> None:
    with pytest.raises(DecodeError, match="switch compression off"):
        Host().receive("plant/NDATA/node", Payload(uuid=b"SPBV1.0_COMPRESSED").SerializeToString())


def test_protobuf_is_imported_only_where_it_is_used() -> None:
    code = (
        "import sys; from appliance.ingest.codecs import build_codec; build_codec({'type': 'json'});"
        "print('google.protobuf' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"
