import pytest

from appliance.errors import DecodeError
from appliance.ingest.codecs import build_codec
from appliance.records import Decoded, Sample, TopicMatch

NOW = 1_767_319_500.0
TOPIC = TopicMatch("plant", "press", "temp", "plant/press/temp", {})


@pytest.mark.parametrize(
    ("payload", "value"),
    [(b"21.5", 21.5), (b" -3\r\n", -3.0), (b"+1e-3", 0.001), (b".5", 0.5), (b"5.", 5.0), (b"007", 7.0)],
)
def test_a_number(payload: bytes, value: float) -> None:
    codec = build_codec({"type": "value"})
    assert codec.decode(TOPIC, payload, NOW) == Decoded([Sample("press", NOW, {"temp": value})], timed=False)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not_a_number"),
        (b"21.5 C", "not_a_number"),
        (b"21,5", "not_a_number"),
        (b"1_000", "not_a_number"),
        (b"0x10", "not_a_number"),
        (b"true", "not_a_number"),
        ("٣".encode(), "not_a_number"),
        (b"1" * 65, "not_a_number"),
        (b"nan", "not_finite"),
        (b"-inf", "not_finite"),
        (b"1e999", "not_finite"),
        (b"\xff", "not_utf8"),
        (b" " * (4 * 1024 * 1024) + b"1", "too_large"),
    ],
)
def test_what_is_no_number(payload: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as error:
        build_codec({"type": "value"}).decode(TOPIC, payload, NOW)
    assert error.value.reason == reason


def test_truth_values_are_read_on_request() -> None:
    codec = build_codec({"type": "value", "booleans": True})
    assert [codec.decode(TOPIC, p, NOW).samples[0].values["temp"] for p in (b"true", b"OFF", b"2")] == [1.0, 0.0, 2.0]


def test_the_topic_must_name_the_channel() -> None:
    with pytest.raises(DecodeError, match=r"no_channel.*\{channel\} in the topic"):
        build_codec({"type": "value"}).decode(TOPIC._replace(channel=None), b"1", NOW)
