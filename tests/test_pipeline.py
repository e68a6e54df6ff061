from __future__ import annotations

import copy
import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.ingest.codecs.sparkplug_schema import Payload
from appliance.outcome import Model, Outcome
from appliance.pipeline import Pipeline, Rules
from appliance.records import Message
from appliance.store import packing
from tests.small_plant import BEGIN, GRID, LEARNED, Plant, readings, source


def message(topic: str, body: Any, at: float = BEGIN) -> Message:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Message(topic.encode(), payload, at)


def total(outcome: Outcome, name: str) -> int:
    return sum(value for (_, counter), value in outcome.counts.items() if counter == name)


def reasons(outcome: Outcome) -> list[str]:
    return [entry.reason for entry in outcome.quarantined]


@pytest.fixture(scope="module")
def learned() -> tuple[dict[str, Any], Plant, list[Outcome]]:
    """A plant that has learned its machine, and the states before and after."""
    plant = Plant()
    first = plant.send(readings(range(LEARNED)))
    return packing.unpack(packing.pack(plant.pipeline.checkpoint())), plant, [first]


def test_a_machine_is_learned_then_scored(learned: tuple[dict[str, Any], Plant, list[Outcome]]) -> None:
    scores = learned[2][0].scores
    assert [score.blank for score in scores] == ["learning"] * len(scores)
    assert {(score.score, score.threshold, score.trust) for score in scores} == {(None, None, "learning")}
    assert learned[2][0].models["m"].version == 1
    after = copy.deepcopy(learned[1].pipeline)
    outcome = Outcome()
    after.process(readings(range(LEARNED, LEARNED + 100)), outcome)
    assert {(score.trust, score.blank, score.model) for score in outcome.scores} == {("prior", None, 1)}
    assert all(score.score is not None and score.threshold is not None for score in outcome.scores)
    assert not outcome.alerts


def test_a_fault_raises_one_alert_that_names_the_channel_and_closes(
    learned: tuple[dict[str, Any], Plant, list[Outcome]],
) -> None:
    pipeline, outcome = copy.deepcopy(learned[1].pipeline), Outcome()
    pipeline.process(readings(range(LEARNED, LEARNED + 80), offset=8.0), outcome)
    pipeline.process(readings(range(LEARNED + 80, LEARNED + 300)), outcome)
    assert outcome.alerts[0].state == "open"
    assert outcome.alerts[-1].state == "closed"
    assert len({alert.id for alert in outcome.alerts}) == 1
    assert next(iter(outcome.alerts[0].channels)) == "a"
    assert outcome.statuses["m"]["alert"] is None


def test_nothing_is_learned_inside_an_open_alert(learned: tuple[dict[str, Any], Plant, list[Outcome]]) -> None:
    pipeline, outcome = copy.deepcopy(learned[1].pipeline), Outcome()
    machine = pipeline.machines["m"]

    def known() -> bytes:
        return packing.pack(machine.snapshot()["detector"])

    normal = known()
    pipeline.process(readings(range(LEARNED, LEARNED + 8)), outcome)
    assert known() != normal  # a quiet window teaches something
    cell = LEARNED + 8
    while not machine.incidents.is_open:
        pipeline.process(readings([cell], offset=8.0), outcome)
        cell += 1
    opened = known()
    for quiet in range(cell, cell + 300):
        if machine.incidents.is_open:
            pipeline.process(readings([quiet]), outcome)
            assert known() == opened
    assert [score.alarm for score in outcome.scores[-3:]] == [False] * 3  # quiet windows that closed it


def test_a_gap_of_an_hour_neither_alarms_nor_breaks_the_grid(
    learned: tuple[dict[str, Any], Plant, list[Outcome]],
) -> None:
    pipeline, outcome = copy.deepcopy(learned[1].pipeline), Outcome()
    pipeline.process(readings([*range(LEARNED, LEARNED + 20), *range(LEARNED + 3600, LEARNED + 3700)]), outcome)
    assert not outcome.alerts
    assert {score.blank for score in outcome.scores} <= {None, "no_data"}


def test_a_restart_from_a_checkpoint_equals_an_undisturbed_run() -> None:
    """Checkpoint in the middle of learning: the fit after the restart reads the same history."""
    undisturbed, stopped = Plant(), Plant()
    first, rest = readings(range(400)), readings(range(400, LEARNED + 200), offset=0.01)
    undisturbed.send(first)
    stopped.send(first)
    states = packing.unpack(packing.pack(stopped.pipeline.checkpoint()))
    resumed = Plant()
    resumed.blocks = stopped.blocks
    assert resumed.pipeline.restore(states, {}) == {}
    resumed.pipeline.remember(first)
    expected, found = undisturbed.send(rest), resumed.send(rest)
    assert [asdict(score) for score in found.scores] == [asdict(score) for score in expected.scores]
    assert packing.pack(found.models["m"].state) == packing.pack(expected.models["m"].state)
    assert packing.pack(resumed.pipeline.checkpoint()) == packing.pack(undisturbed.pipeline.checkpoint())


def test_a_restart_with_a_fitted_model_scores_the_same(
    learned: tuple[dict[str, Any], Plant, list[Outcome]],
) -> None:
    states, plant, (first,) = learned
    resumed = Plant()
    assert resumed.pipeline.restore(states, first.models) == {}
    expected, found = Outcome(), Outcome()
    rest = readings(range(LEARNED, LEARNED + 64))
    copy.deepcopy(plant.pipeline).process(rest, expected)
    resumed.pipeline.process(rest, found)
    assert found.scores == expected.scores != []


def test_a_change_of_the_grid_is_reported_and_the_machine_learns_from_the_new_grid_only(
    learned: tuple[dict[str, Any], Plant, list[Outcome]],
) -> None:
    states, plant, (first,) = learned
    changed = Plant(source(grid=replace(GRID, hop=4)))
    changed.blocks = copy.deepcopy(plant.blocks)
    dropped = changed.pipeline.restore(states, first.models)
    assert dropped == {"m": "the grid of source plant was changed; it learns anew"}
    began = LEARNED + 100
    outcome = changed.send(readings(range(began, began + 4 * 120 + 40)))
    assert outcome.scores[0].blank == "learning"
    fresh = Plant(source(grid=replace(GRID, hop=4)))
    expected = fresh.send(readings(range(began, began + 4 * 120 + 40)))
    assert packing.pack(outcome.models["m"].state) == packing.pack(expected.models["m"].state)


def test_a_model_that_cannot_be_used_is_fitted_anew_from_the_stored_history(
    learned: tuple[dict[str, Any], Plant, list[Outcome]],
) -> None:
    states, plant, (first,) = learned
    foreign = {"m": Model(first.models["m"].version, {"channels": ["a"], "detector": {"format": -1}})}
    for models in ({}, foreign):
        resumed = Plant()
        resumed.blocks = copy.deepcopy(plant.blocks)
        assert resumed.pipeline.restore(states, models) == {}
        outcome = resumed.send(readings(range(LEARNED, LEARNED + 64)))
        assert outcome.models["m"].version == first.models["m"].version + 1
        assert outcome.scores[-1].score is not None


def test_a_state_of_another_version_is_reported_and_learned_anew(
    learned: tuple[dict[str, Any], Plant, list[Outcome]],
) -> None:
    states, _, (first,) = learned
    older = {"machine/m": {name: value for name, value in states["machine/m"].items() if name != "grid"}}
    resumed = Plant()
    assert "cannot be read" in resumed.pipeline.restore(older, first.models)["m"]
    assert resumed.send(readings(range(LEARNED, LEARNED + 64))).scores[0].blank == "learning"


def test_a_machine_whose_source_is_no_longer_configured_is_reported() -> None:
    plant = Plant()
    plant.send(readings(range(20)))
    other = Plant(source("other", "other/{machine}"))
    dropped = other.pipeline.restore(plant.pipeline.checkpoint(), {})
    assert dropped == {"m": "no source is called plant any more; it is forgotten"}
    assert not other.pipeline.machines


def test_a_checkpoint_holds_what_changed_since_the_last_one() -> None:
    plant = Plant()
    plant.send(readings(range(3), machine="m1") + readings(range(3), machine="m2"))
    assert set(plant.pipeline.checkpoint()) == {"machine/m1", "machine/m2"}
    plant.send(readings(range(3, 5), machine="m2"))
    assert set(plant.pipeline.checkpoint()) == {"machine/m2"}
    assert plant.pipeline.checkpoint() == {}


def test_more_machines_than_allowed_are_refused_and_the_known_ones_go_on() -> None:
    plant = Plant(rules=Rules(max_machines=1))
    plant.send([message("plant/m1", {"time": BEGIN, "a": 1})])
    outcome = plant.send(
        [message("plant/m2", {"time": BEGIN, "a": 1}), message("plant/m1", {"time": BEGIN + 1, "a": 1})]
    )
    assert reasons(outcome) == ["too_many_machines"]
    assert "raise detection.max_machines" in outcome.quarantined[0].detail
    assert outcome.counts["m1", "readings_placed"] == 1


def test_a_reading_from_the_future_is_refused_and_makes_no_machine() -> None:
    plant = Plant(rules=Rules(future_secs=60.0))
    outcome = plant.send([message("plant/m", {"time": BEGIN + 61, "a": 1}, at=BEGIN)])
    assert reasons(outcome) == ["in_the_future"]
    assert "dated 61 s after its arrival" in outcome.quarantined[0].detail
    assert not plant.pipeline.machines
    assert not plant.send([message("plant/m", {"time": BEGIN + 60, "a": 1}, at=BEGIN)]).quarantined


def test_two_sources_have_machines_of_their_own() -> None:
    plant = Plant(source(), source("values", "values/{machine}/{channel}", kind="value"))
    outcome = plant.send(
        [
            message("plant/m", {"time": BEGIN, "a": 1}),
            message("values/v/rpm", b"21.5"),
            message("values/m/rpm", b"21.5"),
            message("nobody/m", b"1"),
        ]
    )
    assert {name: machine.source for name, machine in plant.pipeline.machines.items()} == {"m": "plant", "v": "values"}
    assert reasons(outcome) == ["machine_of_other_source", "topic_unknown"]


def test_a_repeat_counts_once_if_its_time_tells_it_from_a_repeated_value() -> None:
    plant = Plant(source(), source("values", "values/{machine}/{channel}", kind="value"))
    timed, untimed = message("plant/m", {"time": BEGIN, "a": 1}), message("values/v/rpm", b"21.5")
    outcome = plant.send([timed, untimed, timed, untimed])
    assert (outcome.counts["m", "readings_placed"], outcome.counts["m", "readings_duplicate"]) == (1, 1)
    assert (outcome.counts["v", "readings_placed"], outcome.counts["v", "readings_duplicate"]) == (2, 0)


def test_what_was_remembered_is_known_after_a_restart() -> None:
    plant = Plant()
    plant.pipeline.remember([message("plant/m", {"time": BEGIN, "a": 1})])
    assert total(plant.send([message("plant/m", {"time": BEGIN, "a": 1})]), "readings_duplicate") == 1


def test_a_machine_is_shown_from_its_first_reading_on() -> None:
    status = Plant().send(readings([0])).statuses["m"]
    assert (status["trust"], status["learned_hours"], status["channels"]) == ("learning", 0.0, ["a", "b"])


def test_a_sparkplug_death_gives_no_data() -> None:
    def node(kind: str, cell: int, seq: int) -> Message:
        payload = Payload(timestamp=int((BEGIN + cell) * 1000), seq=seq)
        if kind != "NDEATH":
            payload.metrics.add(name=b"temp", datatype=10, double_value=1.0)
        return Message(f"spBv1.0/g/{kind}/n".encode(), payload.SerializeToString(), BEGIN + cell)

    plant = Plant(source("spb", "spBv1.0/{group}/{type}/{machine}", kind="sparkplug"))
    first = [node("NBIRTH", 0, 0), *(node("NDATA", cell, cell) for cell in range(1, 10))]
    again = [node("NBIRTH", 11, 0), *(node("NDATA", cell, cell - 11) for cell in range(12, 40))]
    outcome = plant.send([*first, node("NDEATH", 10, 0), *again])
    assert total(outcome, "offline") == 1
    assert reasons(outcome) == []
    blank = {score.start - BEGIN: score.blank for score in outcome.scores}
    assert blank == {0.0: "no_data", 8.0: "no_data", 16.0: "learning"}


bodies = st.one_of(
    st.builds(
        lambda at, values: json.dumps({"time": BEGIN + at, **values}).encode(),
        st.one_of(st.integers(-50, 100), st.sampled_from([1e6, -1e6])),
        st.dictionaries(
            st.sampled_from("abcd"), st.one_of(st.floats(-5, 5), st.none(), st.text(max_size=2)), max_size=4
        ),
    ),
    st.sampled_from([b"", b"{", b"{}", b"[1]", b"\xff", b'{"time": "soon", "a": 1}', b"21.5", b"NaN"]),
)
messages = st.lists(
    st.builds(
        lambda topic, body, at: Message(topic, body, BEGIN + at),
        st.sampled_from([b"plant/m", b"plant/n", b"plant/o", b"values/m/x", b"values/v/x", b"else", b"\xff"]),
        bodies,
        st.integers(0, 50),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=150)
@given(messages)
def test_every_reading_is_accounted_for(mix: list[Message]) -> None:
    grid = replace(GRID, max_channels=3)
    sources = (source(grid=grid), source("values", "values/{machine}/{channel}", grid=grid, kind="value"))
    plant = Plant(*sources, rules=Rules(max_machines=3))
    outcome = plant.send(mix)
    parts = [total(outcome, f"readings_{name}") for name in ("placed", "late", "duplicate", "quarantined")]
    assert total(outcome, "readings_received") == sum(parts)
    assert outcome.counts["", "messages_received"] == len(mix)
    assert total(outcome, "readings_quarantined") == sum(entry.readings for entry in outcome.quarantined)
    assert parts[3] == sum(n for (_, name), n in outcome.counts.items() if name.startswith("quarantined_"))


def test_what_comes_out_depends_on_the_order_of_messages_alone() -> None:
    mix = readings(range(300)) + readings(range(300), machine="n2")
    whole, pieces = Plant().send(mix), Outcome()
    one = Plant().pipeline
    for entry in mix:
        one.process([entry], pieces)
    assert isinstance(one, Pipeline)
    assert pieces.scores == whole.scores
    assert pieces.counts == whole.counts
