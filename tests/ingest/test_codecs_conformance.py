"""Runs the conformance suite on every codec, and on codecs that must fail it."""

import struct
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import DecodeError
from appliance.ingest.codecs import CODECS, StatelessCodec, build_codec, parse_options
from appliance.records import Decoded, Refusal, Sample, TopicMatch
from tests.ingest.codecs_conformance import HOSTILE_PAYLOADS, RECEIVED_AT, check_message, check_state, mutations
from tests.ingest.test_codecs_sparkplug import MESSAGES as SPARKPLUG_MESSAGES

BY_PAYLOAD = TopicMatch("plant", "press", None, "plant/press", {})
BY_TOPIC = TopicMatch("plant", "press", "temp", "plant/press/temp", {})

VALID_JSON = [
    b'{"time": 1767319445.5, "temp": 21.5, "motor": {"rpm": 1450}, "on": true}',
    b'[{"time": 1767319445, "temp": 1}, {"time": "2026-01-02T03:04:06Z", "temp": 2}]',
    b'{"time": [1767319445, 1767319446], "temp": [1, 2], "rpm": [3, null]}',
    b'{"time": 1767319445, "value": 3}',
]
VALID_LINES = [
    b'cpu,host=a\\ b,cpu=cpu0 usage=1.5,n=3i,u=4u,on=t,text="a, \\"b\\" c" 1767319445000000000\n',
    b"cpu usage=1\nmem,host=b free=2 1767319445000000001",
]
VALID_BURST = [
    b'{"time": 1767319445, "rate_hz": 25600, "values": [%s]}' % b",".join(b"%d" % (i * i % 17) for i in range(64)),
    b'{"rate_hz": 1000, "values": {"x": [%s], "y": [1, 2]}}' % b",".join(b"1.5" for _ in range(20)),
]
VALID_PACKED = [struct.pack("<q32h", 1767319445000, *range(32)), struct.pack("<q", 1767319445000)]

CASES: dict[str, tuple[dict[str, Any], list[tuple[TopicMatch, bytes]]]] = {
    "json": ({"type": "json"}, [(BY_PAYLOAD, p) for p in VALID_JSON]),
    "json-topic": ({"type": "json", "booleans": True}, [(BY_TOPIC, p) for p in VALID_JSON]),
    "json-records": (
        {"type": "json", "name": "n", "values": "r"},
        [(BY_PAYLOAD, b'{"time": 1767319445, "r": [{"n": "temp", "value": 1}, {"n": "rpm", "value": 2, "time": 0}]}')],
    ),
    "value": ({"type": "value"}, [(BY_TOPIC, b" 21.5\n"), (BY_TOPIC, b"-1e3")]),
    "influx": ({"type": "influx"}, [(BY_PAYLOAD, p) for p in VALID_LINES]),
    "influx-tags": (
        {"type": "influx", "machine_tag": "host", "channel": "{cpu}_{field}", "booleans": True},
        [(BY_PAYLOAD, p) for p in VALID_LINES],
    ),
    "sparkplug": ({"type": "sparkplug"}, SPARKPLUG_MESSAGES),
    "burst": ({"type": "burst"}, [(BY_PAYLOAD, p) for p in VALID_BURST]),
    "burst-packed": (
        {"type": "burst", "format": "int16", "header": "ms", "rate_hz": 8000},
        [(BY_PAYLOAD, p) for p in VALID_PACKED],
    ),
    "burst-float": (
        {"type": "burst", "format": "float32", "byte_order": "big", "rate_hz": 8000},
        [(BY_PAYLOAD, struct.pack(">32f", *range(32)))],
    ),
}


def test_every_codec_is_in_the_suite() -> None:
    assert {options["type"] for options, _ in CASES.values()} == set(CODECS)


@pytest.mark.parametrize("case", CASES)
def test_valid_messages_give_readings(case: str) -> None:
    options, messages = CASES[case]
    codec = build_codec(options)
    decoded = [check_message(codec, topic, payload) for topic, payload in messages]
    assert any(one is not None and one.samples for one in decoded)


@pytest.mark.parametrize("case", CASES)
def test_hostile_payloads_are_refused_or_read(case: str) -> None:
    options, messages = CASES[case]
    for topic in {topic.topic: topic for topic, _ in messages}.values():
        for payload in HOSTILE_PAYLOADS:
            check_message(build_codec(options), topic, payload)


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_any_sequence_of_messages(case: str, data: st.DataObject) -> None:
    options, messages = CASES[case]
    payloads = st.binary(max_size=200) | mutations([payload for _, payload in messages])
    message = st.sampled_from(messages) | st.tuples(st.sampled_from([topic for topic, _ in messages]), payloads)
    codec = build_codec(options)
    for topic, payload in data.draw(st.lists(message, min_size=1, max_size=6)):
        check_message(codec, topic, payload)
    check_state(codec, build_codec(options))


@pytest.mark.parametrize(
    ("options", "payload"),
    [
        ({"type": "influx"}, b"\\\n" * 500_000),
        ({"type": "influx"}, b"m" * 2_000_000 + b" " + b",".join(b"f%d=1" % i for i in range(9_000))),
        ({"type": "influx"}, b'm f="\\"\n' * 200_000),
        ({"type": "json"}, b'{"%s": {%s}}' % (b"k" * 2_000_000, b",".join(b'"%d":1' % i for i in range(9_000)))),
        ({"type": "json"}, b'{"a": {%s}}' % b",".join(b'"%d":1' % i for i in range(400_000))),
    ],
    ids=["escaped line ends", "long measurement", "open strings", "long key", "many keys"],
)
def test_no_payload_takes_long(options: dict[str, Any], payload: bytes) -> None:
    codec = build_codec(options)
    before = time.process_time()
    check_message(codec, BY_PAYLOAD, payload)
    assert time.process_time() - before < 2


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"type": "xml"}, "'xml' is unknown; known are json, value, influx, sparkplug, burst"),
        ({}, "None is unknown"),
        ({"type": ["json"]}, "unknown"),
        ({"type": "json", "tiem": "ts"}, "tiem"),
        ({"type": "influx", "channel": "{measurement}"}, "must hold {field}"),
        ({"type": "burst", "format": "int16"}, "set rate_hz"),
        ({"type": "burst", "band_edges_hz": [100, 10]}, "ascend"),
    ],
)
def test_options_that_cannot_be_used_are_refused(raw: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_options(raw)


class Misbehaving(StatelessCodec):
    """A codec that does whatever it was made to."""

    def __init__(self, result: Decoded | Exception) -> None:
        self._result = result

    def decode(self, topic: TopicMatch, payload: bytes, received_at: float) -> Decoded:
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


@pytest.mark.parametrize(
    "result",
    [
        KeyError("temp"),
        DecodeError("temp is 'x'"),
        Decoded([Sample("press", RECEIVED_AT, {"temp": float("nan")})]),
        Decoded([Sample("press", RECEIVED_AT, {"temp": 1})]),
        Decoded([Sample("press", RECEIVED_AT, {"a\nb": 1.0})]),
        Decoded([Sample("a/b", RECEIVED_AT, {"temp": 1.0})]),
        Decoded([Sample("press", 0.0, {"temp": 1.0})]),
        Decoded([Sample("press", RECEIVED_AT, {})]),
        Decoded([], refused=(Refusal("temp", "is 'x'"),)),
    ],
    ids=repr,
)
def test_the_suite_fails_a_codec_that_breaks_its_promises(result: Decoded | Exception) -> None:
    with pytest.raises((AssertionError, KeyError, DecodeError)):
        check_message(Misbehaving(result), BY_PAYLOAD, b"")


def test_the_suite_fails_a_codec_that_forgets_its_state() -> None:
    class Forgetful(Misbehaving):
        def snapshot(self) -> dict[str, Any]:
            return {"self": id(self)}

    with pytest.raises(AssertionError):
        check_state(Forgetful(KeyError()), Forgetful(KeyError()))
