"""A machine that stops, through the whole pipeline: it is not judged while it stands, nor blamed for its start."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.detect.detector import Detector
from appliance.outcome import Outcome
from appliance.pipeline import Pipeline, Rules
from appliance.records import Floats, Message
from appliance.screening import StateSource
from appliance.store import packing
from tests.small_plant import BEGIN, LEARNED, Plant, as_messages, lived, source

CHANNELS = ("speed", "current", "flow", "temp", "pressure")
STOP = range(LEARNED + 80, LEARNED + 240)
LAST = LEARNED + 400
RULES = replace(Rules().alerts, close_stopped_secs=60.0)


def series(*, stops: bool = True) -> Floats:
    """[channel, time]: three channels fall to zero while the machine stands, the temperature cools down."""
    rng = np.random.default_rng(3)
    load = 1 + 0.1 * np.sin(np.arange(LAST) / 5.0)
    values = np.array([1450.0, 60.0, 200.0, 70.0, 4.0])[:, None] * (load + 0.01 * rng.normal(size=(5, LAST)))
    if stops:
        values[:3, STOP.start : STOP.stop] *= 0.001
        values[3, STOP.start : STOP.stop] -= np.minimum(np.arange(len(STOP)), 30.0)
    return np.round(values, 3)


def messages(values: Floats, cells: range, **more: float) -> list[Message]:
    return as_messages(CHANNELS, values, cells, **more)


@pytest.fixture(scope="module")
def learned() -> tuple[Pipeline, Outcome]:
    plant = Plant(rules=Rules(alerts=RULES))
    outcome = plant.send(messages(series(), range(LEARNED)))
    return plant.pipeline, outcome


def test_a_machine_that_stands_is_quiet_and_so_is_its_start(learned: tuple[Pipeline, Outcome]) -> None:
    outcome = lived(learned, messages(series(), range(LEARNED, LAST)))
    assert outcome.alerts == []
    blank = {round(score.end - BEGIN): score.blank for score in outcome.scores}
    assert {end for end, why in blank.items() if why == "stopped"} == set(range(STOP.start + 8, STOP.stop + 1, 8))
    assert {end for end, why in blank.items() if why == "starting"} >= {STOP.stop + 8, STOP.stop + 16}
    assert all((score.score is None) == (score.blank is not None) for score in outcome.scores)
    assert outcome.scores[-1].blank is None


def test_nothing_is_learned_while_it_stands_or_starts(
    learned: tuple[Pipeline, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    least = []
    monkeypatch.setattr(Detector, "learn", lambda _self, window, _verdict: least.append(window[0, -8:].min()))
    lived(learned, messages(series(), range(LEARNED, LAST)))
    assert min(least) > 1000.0


def test_a_fault_after_the_stop_alerts(learned: tuple[Pipeline, Outcome]) -> None:
    values = series()
    values[4, STOP.stop :] += 8.0
    assert [alert.state for alert in lived(learned, messages(values, range(LEARNED, LAST))).alerts][:1] == ["open"]


def test_an_alert_closes_when_its_machine_has_stood_for_a_while(learned: tuple[Pipeline, Outcome]) -> None:
    values = series()
    values[4, STOP.start - 60 :] += 8.0
    opened, *_, closed, again = lived(learned, messages(values, range(LEARNED, LAST))).alerts
    assert (opened.state, closed.state, again.state) == ("open", "closed", "open")
    assert closed.closed_at == BEGIN + STOP.start + 8 + 64
    assert again.updated_at > BEGIN + STOP.stop
    assert again.id == opened.id


def test_the_status_tells_the_operating_state(learned: tuple[Pipeline, Outcome]) -> None:
    for last, state in ((STOP.start, "running"), (STOP.stop, "stopped"), (STOP.stop + 12, "starting")):
        outcome = Outcome()
        copy.deepcopy(learned[0]).process(messages(series(), range(LEARNED, last)), outcome)
        assert outcome.statuses["m"]["operating"] == state
    assert learned[1].statuses["m"]["operating"] is None


def test_what_may_not_stop_alerts_when_it_stands() -> None:
    plant = Plant(replace(source(), state=StateSource(may_stop=False)), rules=Rules(alerts=RULES))
    plant.send(messages(series(), range(LEARNED)))
    outcome = plant.send(messages(series(), range(LEARNED, STOP.stop)))
    assert [alert.state for alert in outcome.alerts][:1] == ["open"]
    assert STOP.start <= outcome.alerts[0].opened_at - BEGIN <= STOP.start + 64
    assert {score.blank for score in outcome.scores} == {None}


def test_a_state_channel_decides_and_is_no_sensor() -> None:
    plant = Plant(replace(source(), state=StateSource("running")))
    values = series(stops=False)
    plant.send(messages(values, range(LEARNED), running=1.0))
    outcome = plant.send(messages(values, range(LEARNED, STOP.start), running=1.0))
    outcome = plant.send(messages(values, range(STOP.start, STOP.stop), running=0.0))
    assert {score.blank for score in outcome.scores[3:]} == {"stopped"}
    assert {json.dumps(score.sensor_faults) for score in outcome.scores} == {"{}"}
    outcome = plant.send(messages(values, range(STOP.stop, LAST), running=1.0))
    assert [score.blank for score in outcome.scores][-4:] == [None] * 4


@settings(deadline=None, max_examples=8)
@given(cut=st.integers(STOP.start - 20, STOP.stop + 80))
def test_a_restart_at_any_point_gives_the_same_outcome(learned: tuple[Pipeline, Outcome], cut: int) -> None:
    values = series()
    values[4, STOP.start - 60 :] += 8.0
    whole = lived(learned, messages(values, range(LEARNED, LAST)))
    stopped, found = copy.deepcopy(learned[0]), Outcome()
    stopped.process(messages(values, range(LEARNED, cut)), found)
    states = packing.unpack(packing.pack({"machine/m": stopped.machines["m"].snapshot()}))
    resumed = Plant(rules=Rules(alerts=RULES)).pipeline
    assert resumed.restore(states, learned[1].models) == {}
    resumed.process(messages(values, range(cut, LAST)), found)
    assert [asdict(score) for score in found.scores] == [asdict(score) for score in whole.scores]
    assert found.alerts == whole.alerts
