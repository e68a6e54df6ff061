import math
import struct
from typing import Any

import numpy as np
import orjson
import pytest

from appliance.errors import DecodeError
from appliance.ingest.codecs import build_codec
from appliance.ingest.codecs.burst_features import burst_features
from appliance.records import Decoded, Floats, Sample, TopicMatch

NOW = 1_767_319_500.0
T = 1_767_319_445.0
RATE_HZ = 25_600.0
OCTAVES_HZ = [10.0 * 2**k for k in range(12)]
SECONDS = np.arange(25_600) / RATE_HZ
TOPIC = TopicMatch("plant", "press", None, "plant/press", {})


def decode(payload: bytes, channel: str | None = None, **options: Any) -> Decoded:
    return build_codec({"type": "burst", **options}).decode(TOPIC._replace(channel=channel), payload, NOW)


def document(**keys: Any) -> bytes:
    return orjson.dumps(keys, option=orjson.OPT_SERIALIZE_NUMPY)


def sine(hz: float) -> Floats:
    return np.sin(2 * np.pi * hz * SECONDS)


def test_a_sine_has_the_features_of_the_textbook() -> None:
    features = burst_features(5 + 2 * sine(200), RATE_HZ, OCTAVES_HZ)
    assert features["rms"] == pytest.approx(math.sqrt(2))
    assert features["peak"] == pytest.approx(2)
    assert features["crest"] == pytest.approx(math.sqrt(2))
    assert features["kurtosis"] == pytest.approx(1.5)
    assert features["band_160_320hz"] == pytest.approx(math.sqrt(2))
    assert features["band_320_640hz"] == pytest.approx(0, abs=1e-9)


def test_bands_add_up_to_the_whole() -> None:
    noise = np.random.default_rng(1).normal(size=25_600)
    features = burst_features(noise, RATE_HZ, [0.5, 100, 12_800.5])
    bands = [value for name, value in features.items() if name.startswith("band")]
    assert math.hypot(*bands) == pytest.approx(features["rms"])
    assert features["kurtosis"] == pytest.approx(3, abs=0.2)


def test_the_envelope_shows_the_rate_of_a_modulated_resonance() -> None:
    noise = 0.01 * np.random.default_rng(1).normal(size=25_600)
    steady = burst_features(sine(6000) + noise, RATE_HZ, OCTAVES_HZ)
    beating = burst_features((1 + 0.5 * sine(97)) * sine(6000) + noise, RATE_HZ, OCTAVES_HZ)
    # The square of 1 + m sin has the mean 1 + m²/2 and a line 2m at the rate of modulation.
    assert beating["envelope_peak"] == pytest.approx(1 / 1.125, rel=0.01)
    assert steady["envelope_peak"] < 0.01
    assert beating["envelope_rms"] > 0.5


def test_a_constant_burst_has_no_shape() -> None:
    features = burst_features(np.full(1000, 3.3), RATE_HZ, OCTAVES_HZ)
    assert features["rms"] == features["peak"] == pytest.approx(0, abs=1e-12)
    assert not {"crest", "kurtosis", "envelope_rms", "envelope_peak"} & set(features)


@pytest.mark.parametrize("size", [1e-300, 1e150, 1e300])
def test_features_do_not_depend_on_the_unit(size: float) -> None:
    small, large = burst_features(sine(200), RATE_HZ, OCTAVES_HZ), burst_features(size * sine(200), RATE_HZ, OCTAVES_HZ)
    assert large["rms"] == pytest.approx(small["rms"] * size)
    assert large["kurtosis"] == pytest.approx(small["kurtosis"])


def test_bands_keep_their_names_when_the_rate_varies_a_little() -> None:
    names = [set(burst_features(sine(200), rate, OCTAVES_HZ)) for rate in (25_599.8, 25_600.0, 25_601.0)]
    assert names[0] == names[1] == names[2]
    assert "band_5120_10240hz" in names[0]
    assert "band_10240_20480hz" not in names[0]


def test_json_names_its_channel_or_the_topic_does() -> None:
    payload = document(time=T, rate_hz=RATE_HZ, values=sine(200))
    (sample,) = decode(payload).samples
    assert (sample.machine, sample.time) == ("press", T)
    assert sample.values["vibration_rms"] == pytest.approx(math.sqrt(0.5))
    assert decode(payload, channel="motor").samples[0].values["motor_rms"] == sample.values["vibration_rms"]
    both = decode(document(rate_hz=RATE_HZ, values={"x": sine(200), "y": 2 * sine(200)}), scale=10.0)
    assert not both.timed
    assert both.samples[0].time == NOW
    assert both.samples[0].values["y_rms"] == pytest.approx(2 * both.samples[0].values["x_rms"])
    assert both.samples[0].values["x_peak"] == pytest.approx(10, rel=1e-3)


@pytest.mark.parametrize(("name", "code"), [("int16", "h"), ("int32", "i"), ("float32", "f"), ("float64", "d")])
@pytest.mark.parametrize(("byte_order", "sign"), [("little", "<"), ("big", ">")])
def test_packed_samples(name: str, code: str, byte_order: str, sign: str) -> None:
    counts = [round(1000 * value) for value in sine(200)[:512]]
    options: dict[str, Any] = {"format": name, "byte_order": byte_order, "rate_hz": RATE_HZ, "scale": 0.001}
    bare = decode(struct.pack(f"{sign}512{code}", *counts), **options)
    timed = decode(struct.pack(f"{sign}q512{code}", int(T * 1000), *counts), header="ms", **options)
    expected = burst_features(np.array(counts) * 0.001, RATE_HZ, OCTAVES_HZ)
    assert timed.samples == [Sample("press", T, {f"vibration_{key}": value for key, value in expected.items()})]
    assert bare.samples == [timed.samples[0]._replace(time=NOW)]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1.0] * 15, "too_short"),
        ([1.0] * (2**18 + 1), "too_many"),
        ([1.0] * 20 + ["2"], "not_a_number"),
        ([1.0] * 20 + [True], "not_a_number"),
        ([1.0] * 20 + [None], "not_a_number"),
        (5, "not_a_number"),
    ],
)
def test_a_bad_channel_is_refused_and_the_others_are_kept(values: Any, reason: str) -> None:
    decoded = decode(document(rate_hz=RATE_HZ, values={"bad": values, "good": sine(200)}))
    assert {name.split("_")[0] for name in decoded.samples[0].values} == {"good"}
    assert [(r.reason, r.readings) for r in decoded.refused] == [(reason, 1)]


@pytest.mark.parametrize("bad", [b"NaN", b"Infinity", b"1e999", b"9" * 400])
def test_samples_that_are_not_finite_are_refused(bad: bytes) -> None:
    decoded = decode(b'{"rate_hz": 1000, "values": [' + b"1," * 20 + bad + b"]}")
    assert decoded.samples == []
    assert [r.reason for r in decoded.refused] == ["not_finite"]
    packed = decode(struct.pack("<20f", *[1.0] * 19, math.nan), format="float32", rate_hz=1000)
    assert [r.reason for r in packed.refused] == ["not_finite"]


@pytest.mark.parametrize(
    ("payload", "options", "reason"),
    [
        (b"[1]", {}, "not_an_object"),
        (b'{"rate_hz": 1000}', {}, "no_values"),
        (b'{"values": [1]}', {}, "no_rate"),
        (b'{"values": [1], "rate_hz": -1}', {}, "no_rate"),
        (b'{"values": [1], "rate_hz": "fast"}', {}, "no_rate"),
        (b'{"values": [1], "rate_hz": 1000, "time": 0}', {}, "bad_time"),
        (b"abc", {"format": "int16", "rate_hz": 1000}, "not_a_number"),
        (b"abc", {"format": "int16", "rate_hz": 1000, "header": "ms"}, "too_short"),
        (b"\0" * 40, {"format": "int16", "rate_hz": 1000, "header": "ms"}, "bad_time"),
    ],
)
def test_messages_that_are_refused_as_a_whole(payload: bytes, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(DecodeError) as error:
        decode(payload, **options)
    assert error.value.reason == reason
