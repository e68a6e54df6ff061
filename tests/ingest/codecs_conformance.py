"""What every codec must do with whatever bytes arrive; test_codecs_conformance.py runs it on each of them."""

from __future__ import annotations

import json
import math

from hypothesis import strategies as st

from appliance.errors import DecodeError
from appliance.ingest.codecs import Codec
from appliance.ingest.names import channel_name, machine_name
from appliance.ingest.reasons import REASONS
from appliance.ingest.times import EARLIEST, LATEST
from appliance.records import Decoded, TopicMatch

RECEIVED_AT = 1_767_319_500.25

HOSTILE_PAYLOADS = [
    b"",
    b" ",
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf21.5",
    b'\xef\xbb\xbf{"temp": 1}',
    b"[" * 10_000,
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    b'{"temp": 1, "temp": 2}',
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"9" * 5_000,
    b'{"a": NaN, "b": Infinity, "c": 1e999, "d": ' + b"9" * 400 + b', "e": 36893488147419103232, "f": 1}',
    b'{"a": true, "b": "1.5", "c": "one", "d": null, "e": [], "f": {}, "g": "1_0", "h": "\xd9\xa1"}',
    b'{"": 1, "\\u0000": 2, "\\ud800": 3, "a\\nb": 4, "%s": 5}' % (b"x" * 300),
    b'{"time": {"time": [1]}, "values": [{"values": 1}]}',
    b'{"time": [1767319445, null, "x", true], "a": [1, 2, 3, 4], "b": [1], "c": 5}',
    b'[1, "a", null, [], {}, {"time": 0, "a": 1}]',
    b'{"time": 1767319445, "rate_hz": 1e-300, "values": [' + b"1," * 40 + b"1]}",
    b'{"time": 1767319445, "rate_hz": 25600, "values": [' + b"1e308,-1e308," * 40 + b"1]}",
    b"0" * (4 * 1024 * 1024 + 1),
    *(
        b'{"time": %s, "temp": 1, "value": 1, "values": [1]}' % time
        for time in (
            b"null",
            b"0",
            b"-1",
            b"true",
            b"NaN",
            b"1e999",
            b"1767319445",
            b"1767319445000",
            b"1767319445000000",
            b"1767319445000000000",
            b"1767319445.123456789",
            b'"1767319445"',
            b'"2026-01-02T03:04:05"',
            b'"2026-01-02T03:04:05Z"',
            b'"9999-12-31T23:59:59Z"',
            b'"0001-01-01T00:00:00+14:00"',
            b'"\xc2\xb2"',
            b"253402300799",
            b"[1767319445]",
            b"{}",
        )
    ),
    b'm,t=a f=1i,g=2u,h=t,i="x\\"y",j=nan,k=1e999 1767319445000000000\nbad\nm f=1 99999999999999999999\nm,t= f=1\\',
]
"""Payloads that have broken parsers before."""


def check_message(codec: Codec, topic: TopicMatch, payload: bytes) -> Decoded | None:
    """Decode one message and assert all that holds for any message; None where the codec refused it as a whole."""
    try:
        decoded = codec.decode(topic, payload, RECEIVED_AT)
    except DecodeError as error:
        assert error.reason in REASONS  # noqa: PT017 - a codec may also accept
        return None
    assert decoded.timed or any(sample.time == RECEIVED_AT for sample in decoded.samples)
    for sample in decoded.samples:
        assert machine_name(sample.machine) == sample.machine
        assert type(sample.time) is float
        assert EARLIEST <= sample.time <= LATEST
        assert sample.values, "a sample without readings"
        for channel, value in sample.values.items():
            assert channel_name(channel) == channel
            assert type(value) is float
            assert math.isfinite(value)
    for refusal in decoded.refused:
        assert refusal.reason in REASONS
        assert refusal.readings >= 1
        assert len(refusal.detail) < 400
    for notice in decoded.notices:
        assert machine_name(notice.machine) == notice.machine
    return decoded


def check_state(codec: Codec, restored: Codec) -> None:
    """Assert that the state survives JSON, and leave ``restored`` in it."""
    state = codec.snapshot()
    if state is not None:
        restored.restore(json.loads(json.dumps(state)))
        assert restored.snapshot() == state


def mutations(valid: list[bytes]) -> st.SearchStrategy[bytes]:
    """Valid payloads, cut, spliced and with some bytes replaced."""

    def mutate(payload: bytes, at: int, length: int, insert: bytes) -> bytes:
        at %= len(payload) + 1
        return payload[:at] + insert + payload[at + length :]

    snippets = st.sampled_from(
        [b"", b"\x00", b"\xff", b"NaN", b"1e999", b"null", b"true", b'"', b"\\", b"{", b"[", b"\n"]
    )
    return st.builds(
        mutate,
        st.sampled_from(valid),
        st.integers(0, 10_000),
        st.integers(0, 8),
        snippets | st.binary(max_size=6) | st.sampled_from(valid),
    )
