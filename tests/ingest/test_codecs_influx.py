from typing import Any

import pytest

from appliance.errors import DecodeError
from appliance.ingest.codecs import build_codec
from appliance.records import Decoded, Sample, TopicMatch

NOW = 1_767_319_500.0
T = 1_767_319_445.0
NS = 1_767_319_445_000_000_000
TOPIC = TopicMatch("plant", "gateway", None, "telegraf/gateway", {})


def decode(lines: str | bytes, **options: Any) -> Decoded:
    payload = lines.encode() if isinstance(lines, str) else lines
    return build_codec({"type": "influx", **options}).decode(TOPIC, payload, NOW)


def values(decoded: Decoded) -> dict[str, float]:
    return {channel: value for sample in decoded.samples for channel, value in sample.values.items()}


def reasons(decoded: Decoded) -> dict[str, int]:
    return {refusal.reason: refusal.readings for refusal in decoded.refused}


def test_lines_of_one_machine_and_time_are_one_sample() -> None:
    decoded = decode(
        f"cpu,host=a usage=1.5,n=3i {NS}\nmem,host=a free=2u {NS}\n\n# comment\ncpu,host=a usage=2 {NS + 10**9}\n"
    )
    assert decoded.samples == [
        Sample("gateway", T, {"cpu_usage": 1.5, "cpu_n": 3.0, "mem_free": 2.0}),
        Sample("gateway", T + 1, {"cpu_usage": 2.0}),
    ]
    assert decoded.timed
    assert decoded.refused == ()


def test_tags_name_machines_and_channels() -> None:
    lines = [
        "vib,machine=press,axis=x rms=1",
        "vib,machine=line/saw,axis=y rms=2",
        "vib,axis=x rms=3",
        "vib,machine=saw rms=4",
    ]
    decoded = decode("\n".join(f"{line} {NS}" for line in lines), machine_tag="machine", channel="{axis}.{field}")
    assert decoded.samples == [Sample("press", T, {"x.rms": 1.0}), Sample("line:saw", T, {"y.rms": 2.0})]
    assert reasons(decoded) == {"no_machine": 1, "no_channel": 1}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (r"a\ b\,c,t=1 f\=g=1", {"a b,c_f=g": 1.0}),
        (r"m,t\,\ \==x\=\,\ y f=1", {"m_f": 1.0}),
        (r"a\b f=1", {r"a\b_f": 1.0}),
        ('m s="a, b=\\"c\\" d\n e",f=1', {"m_f": 1.0}),
        ("m f=-1.5e-3,g=+2,h=5i,i=-7i,j=9u", {"m_f": -0.0015, "m_g": 2.0, "m_h": 5.0, "m_i": -7.0, "m_j": 9.0}),
        ("m f=1 \r\nm g=2\r\n", {"m_f": 1.0, "m_g": 2.0}),
        ('"m" f=1', {'"m"_f': 1.0}),
    ],
)
def test_escapes_and_numbers(line: str, expected: dict[str, float]) -> None:
    decoded = decode(line)
    assert values(decoded) == expected
    assert not decoded.timed
    assert {sample.time for sample in decoded.samples} == {NOW}
    assert set(reasons(decoded)) <= {"not_a_number"}


def test_truth_values_are_read_on_request() -> None:
    assert values(decode("m a=t,b=FALSE,c=true", booleans=True)) == {"m_a": 1.0, "m_b": 0.0, "m_c": 1.0}
    assert reasons(decode("m a=t,b=FALSE,c=true")) == {"not_a_number": 3}


@pytest.mark.parametrize(
    ("precision", "time"), [("s", NS // 10**9), ("ms", NS // 10**6), ("us", NS // 1000), ("ns", NS)]
)
def test_precisions(precision: str, time: int) -> None:
    assert decode(f"m f=1 {time}", precision=precision).samples == [Sample("gateway", T, {"m_f": 1.0})]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("nonsense", "bad_line"),
        ("m", "bad_line"),
        ("m f", "bad_line"),
        ("m f=", "bad_line"),
        ("m,t f=1", "bad_line"),
        ("m,t= f=1", "bad_line"),
        ("m f=1 x", "bad_line"),
        ("m f=1,", "bad_line"),
        ("m f=1z", "bad_line"),
        ('m f="open', "bad_line"),
        ("m f=1 12 13", "bad_line"),
        (" ,t=1 f=1", "bad_line"),
        ("m f=1e999", "not_finite"),
        ("m f=nan", "not_finite"),
        ('m f="1.5"', "not_a_number"),
        ("m f=1 5", "bad_time"),
        ("m f=1 -5", "bad_time"),
        (f"{'m' * 201} f=1", "bad_name"),
        ("m\x00 f=1", "bad_name"),
    ],
)
def test_a_bad_line_is_refused_and_the_others_are_kept(bad: str, reason: str) -> None:
    decoded = decode(f"a x=1 {NS}\n{bad}\nb y=2 {NS}")
    assert values(decoded) == {"a_x": 1.0, "b_y": 2.0}
    assert reasons(decoded) == {reason: 1}


def test_a_stray_byte_spoils_one_name() -> None:
    decoded = decode(b"m a=1,b\xff=2")
    assert values(decoded) == {"m_a": 1.0}
    assert reasons(decoded) == {"bad_name": 1}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [("m f=1,g=2\n" * 6_000, "too_many"), ("x\n" * 11_000, "too_many"), ("x" * (4 * 1024 * 1024 + 1), "too_large")],
)
def test_floods_are_refused(payload: str, reason: str) -> None:
    with pytest.raises(DecodeError) as error:
        decode(payload)
    assert error.value.reason == reason


def test_channels_are_chosen_by_their_full_name() -> None:
    assert values(decode("cpu usage=1,idle=2\nmem free=3", channels=["cpu_*"], ignore=["*_idle"])) == {"cpu_usage": 1.0}
