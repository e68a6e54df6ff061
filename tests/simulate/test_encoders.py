from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.ingest.codecs import build_codec
from appliance.ingest.topics import Route, Router, TopicPattern
from appliance.recordings import Recording
from appliance.records import Decoded
from appliance.simulate.encoders import DEFAULT_TOPICS, Encoder, Outgoing, PayloadFormat, TopicError, build_encoder

NOON = 1_767_614_400.0
FLEET = [
    Recording("pump 1", ("flow, inlet", "temp=motor"), np.array([NOON]), np.zeros((1, 2))),
    Recording("fan-µ", ("speed", "current", "vibration"), np.array([NOON]), np.zeros((1, 3))),
]
SOURCES = {
    "json": ("plant/{machine}", {"type": "json"}),
    "value": ("plant/{machine}/{channel}", {"type": "value"}),
    "influx": ("plant/{machine}", {"type": "influx", "channel": "{field}"}),
    "sparkplug": ("spBv1.0/{group}/{type}/{machine...}", {"type": "sparkplug"}),
}
"""Format → the source that a plant would configure for it."""


class Receiver:
    """Reads messages as the service does."""

    def __init__(self, payload_format: PayloadFormat) -> None:
        pattern, options = SOURCES[payload_format]
        self._router = Router([Route("plant", TopicPattern(pattern))])
        self._codec = build_codec(options)

    def read(self, message: Outgoing) -> Decoded:
        return self._codec.decode(self._router.match(message.topic.encode()), message.payload, NOON)


@given(
    values=st.lists(st.floats(allow_infinity=False), min_size=2, max_size=2),
    later_secs=st.integers(0, 10**8),
)
@pytest.mark.parametrize("payload_format", ["json", "value", "influx"])
def test_the_service_reads_what_was_measured(
    payload_format: PayloadFormat, values: list[float], later_secs: int
) -> None:
    encoder = build_encoder(payload_format, DEFAULT_TOPICS[payload_format], FLEET)
    receiver = Receiver(payload_format)
    at = NOON if payload_format == "value" else NOON + later_secs
    found: dict[str, float] = {}
    for message in encoder.sample(0, at, values):
        decoded = receiver.read(message)
        assert decoded.refused == ()
        assert decoded.timed == (payload_format != "value")
        for sample in decoded.samples:
            assert (sample.machine, sample.time) == ("pump 1", at)
            found |= sample.values
    measured = dict(zip(FLEET[0].channels, values, strict=True))
    assert found == {channel: value for channel, value in measured.items() if not math.isnan(value)}


def sparkplug() -> tuple[Encoder, Receiver]:
    return build_encoder("sparkplug", DEFAULT_TOPICS["sparkplug"], FLEET), Receiver("sparkplug")


def test_sparkplug_is_read_without_a_gap_over_many_messages() -> None:
    encoder, receiver = sparkplug()
    births = list(encoder.opening(NOON))
    assert [message.topic for message in births] == [
        "spBv1.0/plant/NBIRTH/replay",
        "spBv1.0/plant/DBIRTH/replay/pump 1",
        "spBv1.0/plant/DBIRTH/replay/fan-µ",
    ]
    assert [receiver.read(birth) for birth in births] == [Decoded([])] * 3
    for number in range(600):
        (message,) = encoder.sample(1, NOON + number, [number, math.nan, 0.25])
        decoded = receiver.read(message)
        assert [*decoded.notices, *decoded.commands, *decoded.refused] == []
        (sample,) = decoded.samples
        assert (sample.machine, sample.time) == ("replay:fan-µ", NOON + number)
        assert sample.values == {"speed": number, "vibration": 0.25}


def test_sparkplug_ends_with_the_death_of_all_machines() -> None:
    encoder, receiver = sparkplug()
    for birth in encoder.opening(NOON):
        receiver.read(birth)
    (death,) = encoder.closing(NOON)
    offline = {notice.machine for notice in receiver.read(death).notices if notice.kind == "offline"}
    assert {"replay:pump 1", "replay:fan-µ"} <= offline


@pytest.mark.parametrize("payload_format", DEFAULT_TOPICS)
def test_a_sample_without_a_reading_says_nothing(payload_format: PayloadFormat) -> None:
    encoder = build_encoder(payload_format, DEFAULT_TOPICS[payload_format], FLEET)
    assert encoder.sample(0, NOON, [math.nan, math.nan]) == []


@pytest.mark.parametrize(
    ("payload_format", "pattern", "says"),
    [
        ("json", "plant", r"has no \{machine\}"),
        ("value", "plant/{machine}", r"has no \{channel\}"),
        ("json", "plant/{machine}/{line}", "cannot be filled in"),
        ("json", "plant/{machine}/{", "cannot be filled in"),
        ("sparkplug", "plant/{type}/{machine}", "is not Sparkplug's"),
    ],
)
def test_a_topic_that_cannot_work_is_refused(payload_format: PayloadFormat, pattern: str, says: str) -> None:
    with pytest.raises(TopicError, match=says):
        build_encoder(payload_format, pattern, FLEET)


@pytest.mark.parametrize("name", ["", "a/b", "a+", "#"])
def test_a_machine_name_that_is_no_level_is_refused(name: str) -> None:
    recording = Recording(name, ("a",), np.array([NOON]), np.zeros((1, 1)))
    with pytest.raises(TopicError, match="cannot stand in a topic"):
        build_encoder("json", DEFAULT_TOPICS["json"], [recording])


def test_a_sparkplug_device_is_born_once() -> None:
    with pytest.raises(TopicError, match="two recordings are of pump 1"):
        build_encoder("sparkplug", DEFAULT_TOPICS["sparkplug"], [FLEET[0], FLEET[0]])
