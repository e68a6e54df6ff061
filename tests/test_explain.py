from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import explain
from appliance.detect.evidence import EVIDENCE
from appliance.explain import describe, describe_sensor, figure, reading, reasons
from appliance.records import Signal
from tests.test_incidents import score

USUAL = {"temp": (61.2, 74.9), "rpm": (1440.0, 1475.0), "load": (0.4, 0.9)}
SIGNALS = {"temp": Signal(81.25, 80.0, 82.0), "rpm": Signal(1451.0, 1440.0, 1460.0), "load": Signal(0.11, 0.1, 0.12)}
SINCE = 1_772_547_600.0


def test_it_says_what_each_channel_reads_what_it_should_why_and_since_when() -> None:
    told = replace(score(0, 5.0), signals=SIGNALS, evidence={"level": 9.0, "pca_residual": 7.0, "spectrum": 5.0})
    assert describe(told, {"temp": 0.5, "load": 0.3, "rpm": 0.2}, USUAL, SINCE) == (
        "m: temp 81, above its usual 61 to 75, load 0.11, below its usual 0.40 to 0.90, "
        "rpm 1451, within its usual 1440 to 1475; the level is unusual; the channels no longer move together; "
        "since 14:20 UTC on 3 March."
    )


def test_only_channels_with_a_share_are_named_and_at_most_three() -> None:
    told = replace(score(0, 5.0), signals=SIGNALS)
    assert "load" not in describe(told, {"temp": 0.6, "rpm": 0.3, "load": 0.1}, USUAL, SINCE)
    even = dict.fromkeys(("temp", "rpm", "load", "flow"), 0.25)
    assert "flow" not in describe(told, even, USUAL, SINCE)
    assert describe(told, dict.fromkeys("abcdefghij", 0.1), USUAL, SINCE).count("silent") == 3


def test_a_channel_without_a_usual_range_is_named_with_its_reading_alone() -> None:
    for usual in (None, (math.nan, math.nan)):
        assert reading("flow", Signal(12.34, 12.0, 13.0), usual) == "flow 12.3"
    assert reading("flow", None, (1.0, 2.0)) == "flow silent"


def test_a_channel_that_never_moved_has_one_usual_reading() -> None:
    assert reading("set_point", Signal(61.0, 61.0, 61.0), (60.0, 60.0)) == "set_point 61, above its usual 60"
    assert reading("alarm", Signal(0.25, 0.0, 1.0), (0.0, 0.0)) == "alarm 0.25, above its usual 0"


def test_each_thought_is_said_once_and_what_is_strange_before_that_something_is() -> None:
    assert reasons({"neighbours": 9.0, "clusters": 8.0, "spectrum": 3.5}) == [
        "its rhythm is unusual", "nothing like it was learned",
    ]  # fmt: skip
    assert reasons({"pca_residual": 9.0, "pca_residual@1/4": 8.0}) == ["the channels no longer move together"]
    assert reasons({"clusters": 9.0, "neighbours": 8.0}) == ["nothing like it was learned"]
    assert reasons({}) == []


def test_a_whisper_is_a_reason_only_where_nothing_is_louder() -> None:
    assert reasons({"level": 1.0, "spectrum": 0.5}) == ["the level is unusual"]
    assert reasons({"level": 6.0, "spectrum": 0.5}) == ["the level is unusual"]


def test_slow_evidence_says_so() -> None:
    assert reasons({"level@4": 9.0, "level@1/4": 8.0}) == ["slowly: the level is unusual", "the level is unusual"]
    assert reasons({"hunch@1/4": 9.0}) == ["hunch"]
    assert reasons({"hunch@16": 9.0}) == ["slowly: hunch"]


def test_every_evidence_detector_has_words() -> None:
    assert set(EVIDENCE) <= set(explain.IN_WORDS)
    assert set(explain.IN_WORDS) >= explain.VAGUE


@pytest.mark.parametrize("fault", explain.SENSOR_FAULT_IN_WORDS)
def test_a_sensor_s_sentence_names_machine_channel_and_reading(fault: str) -> None:
    told = describe_sensor("pump-1", "motor_temp_c", fault, -999.0)  # type: ignore[arg-type]
    assert told.startswith("pump-1: the sensor motor_temp_c ")
    assert ("-999" in told) == (fault in {"stuck", "out_of_range", "unit_change"})
    assert told.endswith(".")


@given(st.floats(-1e300, 1e300), st.floats(0, 1e300))
def test_any_number_is_written_short(value: float, matters: float) -> None:
    assert len(figure(value, matters)) <= 16
    assert math.isfinite(float(figure(value, matters)))


@given(st.floats(1e-3, 1e6), st.floats(1e-2, 1.0))
def test_a_written_number_is_right_to_the_difference_that_matters(value: float, matters: float) -> None:
    assert abs(float(figure(value, matters)) - value) <= matters
