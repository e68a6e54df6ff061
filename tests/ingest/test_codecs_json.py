import math
from typing import Any

import pytest

from appliance.errors import DecodeError
from appliance.ingest.codecs import build_codec
from appliance.records import Decoded, Sample, TopicMatch

NOW = 1_767_319_500.0
T = 1_767_319_445.0


def decode(payload: bytes | str, channel: str | None = None, **options: Any) -> Decoded:
    topic = TopicMatch("plant", "press", channel, "plant/press", {})
    raw = payload.encode() if isinstance(payload, str) else payload
    return build_codec({"type": "json", **options}).decode(topic, raw, NOW)


def rows(decoded: Decoded) -> list[tuple[float, dict[str, float]]]:
    assert {sample.machine for sample in decoded.samples} <= {"press"}
    return [(sample.time, sample.values) for sample in decoded.samples]


def reasons(decoded: Decoded) -> dict[str, int]:
    return {refusal.reason: refusal.readings for refusal in decoded.refused}


SHAPES: dict[str, tuple[dict[str, Any], str, list[tuple[float, dict[str, float]]]]] = {
    "flat": ({}, '{"time": 1767319445, "temp": 21.5, "rpm": 1450}', [(T, {"temp": 21.5, "rpm": 1450.0})]),
    "no time": ({}, '{"temp": 21.5}', [(NOW, {"temp": 21.5})]),
    "nested": (
        {},
        '{"time": 1767319445, "motor": {"a": {"rpm": 1}, "i": 2}}',
        [(T, {"motor.a.rpm": 1.0, "motor.i": 2.0})],
    ),
    "paths": (
        {"values": "data.readings", "time": "meta.ts"},
        '{"meta": {"ts": 1767319445000, "id": 7}, "data": {"readings": {"temp": 1}, "n": 2}}',
        [(T, {"temp": 1.0})],
    ),
    "time beside the values": ({"values": "data"}, '{"data": {"time": 1767319445, "temp": 1}}', [(T, {"temp": 1.0})]),
    "array": (
        {},
        '[{"time": 1767319445, "temp": 1}, {"time": "2026-01-02T02:04:06Z", "temp": 2}]',
        [(T, {"temp": 1.0}), (T + 1, {"temp": 2.0})],
    ),
    "array with one time": (
        {"values": "data"},
        '{"time": 1767319445, "data": [{"temp": 1}, {"time": 1767319446, "temp": 2}]}',
        [(T, {"temp": 1.0}), (T + 1, {"temp": 2.0})],
    ),
    "columns": (
        {},
        '{"time": [1767319445, 1767319446], "temp": [1, null], "motor": {"rpm": [3, 4]}}',
        [(T, {"temp": 1.0, "motor.rpm": 3.0}), (T + 1, {"motor.rpm": 4.0})],
    ),
    "records": (
        {"name": "n", "value": "v"},
        '[{"n": "temp", "v": 1, "time": 1767319445}, {"n": "rpm", "v": 2, "time": 1767319445}]',
        [(T, {"temp": 1.0, "rpm": 2.0})],
    ),
    "a record": ({"name": "n"}, '{"n": "temp", "value": 1, "time": 1767319445}', [(T, {"temp": 1.0})]),
    "chosen": (
        {"channels": ["temp*"]},
        '{"temp1": 1, "temp2": 2, "serial": "x"}',
        [(NOW, {"temp1": 1.0, "temp2": 2.0})],
    ),
    "ignored": ({"ignore": ["serial", "m.*"]}, '{"temp": 1, "serial": "x", "m": {"s": "y"}}', [(NOW, {"temp": 1.0})]),
    "booleans": ({"booleans": True}, '{"on": true, "off": false}', [(NOW, {"on": 1.0, "off": 0.0})]),
    "null": ({}, '{"temp": null}', []),
    "duplicate keys": ({}, '{"temp": 1, "temp": 2}', [(NOW, {"temp": 2.0})]),
    "numbers as text": ({}, '{"a": "21.5", "b": " -1e3 "}', [(NOW, {"a": 21.5, "b": -1000.0})]),
    "byte order mark": ({}, '\ufeff{"temp": 1}', [(NOW, {"temp": 1.0})]),
    "naive time": ({"naive_utc": True}, '{"time": "2026-01-02T02:04:05", "temp": 1}', [(T, {"temp": 1.0})]),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: str) -> None:
    options, payload, expected = SHAPES[shape]
    decoded = decode(payload, **options)
    assert rows(decoded) == expected
    assert decoded.refused == ()
    assert decoded.timed == all(time != NOW for time, _ in expected)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("21.5", [(NOW, {"temp": 21.5})]),
        ('{"value": 3, "time": 1767319445, "unit": "C"}', [(T, {"temp": 3.0})]),
        (
            '[{"value": 3, "time": 1767319445}, {"value": 4, "time": 1767319446}]',
            [(T, {"temp": 3.0}), (T + 1, {"temp": 4.0})],
        ),
        ('{"time": [1767319445, 1767319446], "value": [3, 4]}', [(T, {"temp": 3.0}), (T + 1, {"temp": 4.0})]),
    ],
)
def test_the_topic_may_name_the_channel(payload: str, expected: list[tuple[float, dict[str, float]]]) -> None:
    assert rows(decode(payload, channel="temp")) == expected


@pytest.mark.parametrize(
    ("payload", "refused"),
    [
        ('{"ok": 1, "a": "text", "b": [1], "c": "1_0", "d": "1 C"}', {"not_a_number": 4}),
        ('{"ok": 1, "a": true}', {"not_a_number": 1}),
        ('{"ok": 1, "a": NaN, "b": -Infinity, "c": 1e999, "d": %s, "e": "nan"}' % ("9" * 400), {"not_finite": 5}),
        ('{"ok": 1, "": 2, "a\\nb": 3, "%s": 4}' % ("x" * 201), {"bad_name": 3}),
        ('[{"ok": 1}, {"time": 0, "a": 1, "b": 2}]', {"bad_time": 2}),
        ('[{"ok": 1}, {"time": "2026-01-02T02:04:05", "a": 1}]', {"bad_time": 1}),
        ('[{"ok": 1}, 5, null]', {"not_an_object": 2}),
        ('{"time": [1767319445], "ok": [1], "a": [1, 2], "b": 3}', {"column_length": 3}),
        ('{"time": [1767319445, 0], "ok": [1, 1]}', {"bad_time": 1}),
    ],
)
def test_the_good_part_of_a_message_is_kept(payload: str, refused: dict[str, int]) -> None:
    decoded = decode(payload)
    assert [values for _, values in rows(decoded)] == [{"ok": 1.0}]
    assert reasons(decoded) == refused


@pytest.mark.parametrize(
    ("payload", "options", "reason"),
    [
        (b"", {}, "not_json"),
        (b"\xff", {}, "not_json"),
        (b'{"a": 1', {}, "not_json"),
        (b"[" * 100_000, {}, "too_deep"),
        (b"5", {}, "not_an_object"),
        (b'{"a": 1}', {"values": "data"}, "no_values"),
        (b'{"a": 1}', {"name": "n"}, "no_channel"),
        (b"[" + b"1," * 10_000 + b"1]", {}, "too_many"),
        (b"{" + b",".join(b'"c%d":1' % i for i in range(10_001)) + b"}", {}, "too_many"),
        (b'{"time":[' + b"1," * 5_000 + b'1],"a":[],"b":[],"c":[]}', {}, "too_many"),
        (b" " * (4 * 1024 * 1024) + b"1", {}, "too_large"),
    ],
)
def test_messages_that_are_refused_as_a_whole(payload: bytes, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(DecodeError) as error:
        decode(payload, **options)
    assert error.value.reason == reason


def test_a_time_may_be_required() -> None:
    decoded = decode('{"temp": 1, "rpm": 2}', time_required=True)
    assert decoded.samples == []
    assert reasons(decoded) == {"bad_time": 2}


def test_a_huge_integer_within_the_range_of_doubles_is_a_reading() -> None:
    assert decode('{"n": 36893488147419103232}').samples == [Sample("press", NOW, {"n": math.ldexp(1, 65)})]
