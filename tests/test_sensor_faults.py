"""A machine of five channels through the whole pipeline: what a faulty sensor does to it, and what it must not do."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.detect.detector import Detector
from appliance.outcome import Outcome
from appliance.pipeline import Pipeline
from appliance.records import Alert, Floats, Message, Verdict
from appliance.store import packing
from tests.small_plant import BEGIN, LEARNED, Plant, as_messages, lived

CHANNELS = ("flow", "head", "current", "temp", "vibration")
FAULT = range(LEARNED + 80, LEARNED + 240)
LAST = LEARNED + 400
Change = Callable[[Floats], Floats]


def series(change: Change | None = None, channels: slice = slice(1, 2)) -> Floats:
    """[channel, time] that follow one load, changed in some channels during the fault."""
    rng = np.random.default_rng(3)
    load = np.sin(np.arange(LAST) / 5.0)
    values = np.round(50 + np.arange(2.0, 7.0)[:, None] * load + rng.normal(size=(len(CHANNELS), LAST)), 2)
    if change is not None:
        span = slice(FAULT.start, FAULT.stop)
        values[channels, span] = change(values[channels, span])
    return values


def messages(values: Floats, cells: range) -> list[Message]:
    return as_messages(CHANNELS, values, cells)


@pytest.fixture(scope="module")
def learned() -> tuple[Pipeline, Outcome]:
    plant = Plant()
    outcome = plant.send(messages(series(), range(LEARNED)))
    return plant.pipeline, outcome


def kinds(alerts: list[Alert]) -> list[tuple[str, str]]:
    return [(alert.kind, alert.state) for alert in alerts]


SENSOR_FAULTS: dict[str, Change] = {
    "stuck": lambda x: np.full_like(x, 51.3),
    "dropout": lambda x: np.full_like(x, np.nan),
    "out_of_range": lambda x: np.full_like(x, -999.0),
    "noise": lambda x: x + 60 * np.random.default_rng(1).normal(size=x.shape),
}


@pytest.mark.parametrize("fault", SENSOR_FAULTS)
def test_a_faulty_sensor_raises_an_alert_of_its_own_and_none_of_the_machine(
    learned: tuple[Pipeline, Outcome], fault: str
) -> None:
    outcome = lived(learned, messages(series(SENSOR_FAULTS[fault]), range(LEARNED, LAST)))
    assert kinds(outcome.alerts) == [("sensor", "open"), ("sensor", "closed")]
    assert list(outcome.alerts[0].channels) == ["head"]
    assert outcome.alerts[0].sensor_fault == fault
    assert BEGIN + FAULT.start < outcome.alerts[0].opened_at <= BEGIN + FAULT.start + 40
    during = [score for score in outcome.scores if BEGIN + FAULT.start + 24 <= score.end <= BEGIN + FAULT.stop]
    assert {json.dumps(score.sensor_faults) for score in during} == {json.dumps({"head": fault})}
    assert all(score.score is not None and score.contributions["head"] == 0.0 for score in during)
    assert outcome.scores[-1].sensor_faults == outcome.statuses["m"]["sensor_faults"] == {}


def test_a_fault_of_the_machine_alerts_as_ever(learned: tuple[Pipeline, Outcome]) -> None:
    for change, channels in ((lambda x: x + 40.0, slice(1, 3)), (lambda x: 1.6 * x, slice(4, 5))):
        outcome = lived(learned, messages(series(change, channels), range(LEARNED, LAST)))
        assert kinds(outcome.alerts)[:1] == [("machine", "open")]
        assert {alert.kind for alert in outcome.alerts} == {"machine"}


def test_a_machine_with_a_faulty_sensor_is_still_watched(learned: tuple[Pipeline, Outcome]) -> None:
    values = series(SENSOR_FAULTS["stuck"])
    values[2:4, FAULT.start + 60 : FAULT.stop] += 40.0
    assert ("machine", "open") in kinds(lived(learned, messages(values, range(LEARNED, LAST))).alerts)


def test_nothing_is_learned_of_a_masked_channel(
    learned: tuple[Pipeline, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, ...]] = []
    learn = Detector.learn

    def noted(detector: Detector, window: Floats, verdict: Verdict) -> None:
        seen.append(tuple(bool(np.isnan(row).all()) for row in window))
        learn(detector, window, verdict)

    monkeypatch.setattr(Detector, "learn", noted)
    lived(learned, messages(series(SENSOR_FAULTS["out_of_range"]), range(LEARNED, LAST)))
    assert set(seen) == {(False,) * 5, (False, True, False, False, False)}


def test_the_status_says_which_sensor_is_at_fault(learned: tuple[Pipeline, Outcome]) -> None:
    outcome = Outcome()
    values = series(SENSOR_FAULTS["stuck"])
    copy.deepcopy(learned[0]).process(messages(values, range(LEARNED, FAULT.stop)), outcome)
    assert outcome.statuses["m"]["sensor_faults"] == {"head": "stuck"}
    assert outcome.statuses["m"]["alert"] is None


@settings(deadline=None, max_examples=12)
@given(cut=st.integers(LEARNED, LAST), fault=st.sampled_from(["stuck", "out_of_range"]))
def test_a_restart_at_any_point_gives_the_same_outcome(learned: tuple[Pipeline, Outcome], cut: int, fault: str) -> None:
    values = series(SENSOR_FAULTS[fault])
    whole = lived(learned, messages(values, range(LEARNED, LAST)))
    stopped, found = copy.deepcopy(learned[0]), Outcome()
    stopped.process(messages(values, range(LEARNED, cut)), found)
    states = packing.unpack(packing.pack({"machine/m": stopped.machines["m"].snapshot()}))
    resumed = Plant().pipeline
    assert resumed.restore(states, learned[1].models) == {}
    resumed.process(messages(values, range(cut, LAST)), found)
    assert [asdict(score) for score in found.scores] == [asdict(score) for score in whole.scores]
    assert found.alerts == whole.alerts
