"""What a label changes in the life of a machine, and that neither a restart nor a repeat changes that."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from appliance.outcome import Outcome
from appliance.pipeline import MOST_ANSWERS
from appliance.records import Alert, Message
from appliance.store import packing
from tests.small_plant import BEGIN, LEARNED, Plant, readings, said


@pytest.fixture(scope="module")
def learned() -> Plant:
    plant = Plant()
    plant.send(readings(range(LEARNED)))
    return plant


def plant_of(learned: Plant) -> Plant:
    """A plant that has learned its machine; what is sent to it changes no other."""
    return copy.deepcopy(learned)


def faulty(first: int, cells: int = 80, offset: float = 8.0) -> list[Message]:
    return readings(range(first, first + cells), offset=offset)


def answers(outcome: Outcome) -> list[dict[str, Any]]:
    return [json.loads(command.payload) for command in outcome.commands if command.topic.endswith("/label/answer")]


def latest(outcome: Outcome) -> Alert:
    return outcome.alerts[-1]


# --------------------------------------------------------------------------------------------------------- verdicts


def test_a_fault_acknowledges_the_open_alert_which_closes_in_its_time(learned: Plant) -> None:
    plant = plant_of(learned)
    opened = latest(plant.send(faulty(LEARNED)))
    outcome = plant.send([said("fault", at=LEARNED + 80, alert=opened.id, name="bearing")])
    assert (latest(outcome).id, latest(outcome).state, latest(outcome).verdict) == (opened.id, "acknowledged", "fault")
    (label,) = outcome.labels
    assert (label.start, label.fault, label.alert) == (opened.since, "bearing", opened.id)
    assert outcome.statuses["m"]["alert"] == opened.id
    after = plant.send(readings(range(LEARNED + 80, LEARNED + 200)))
    assert [(alert.state, alert.verdict) for alert in after.alerts] == [("closed", "fault")]


def test_a_false_alarm_closes_its_alert_and_what_is_like_it_raises_none_any_more(learned: Plant) -> None:
    plant = plant_of(learned)
    opened = latest(plant.send(faulty(LEARNED)))
    outcome = plant.send([said("false_alarm", at=LEARNED + 80, alert=opened.id), *faulty(LEARNED + 80)])
    assert [(alert.id, alert.state, alert.verdict) for alert in outcome.alerts] == [
        (opened.id, "closed", "false_alarm")
    ]
    plant.send(readings(range(LEARNED + 160, LEARNED + 264)))
    assert not plant.send(faulty(LEARNED + 264)).alerts


def test_what_grows_much_stranger_than_a_false_alarm_is_told(learned: Plant) -> None:
    plant = plant_of(learned)
    opened = latest(plant.send(faulty(LEARNED, offset=3.0)))
    worse = [said("false_alarm", at=LEARNED + 80, alert=opened.id), *faulty(LEARNED + 80, offset=60.0)]
    assert [alert.state for alert in plant.send(worse).alerts][:2] == ["closed", "open"]


def test_nobody_is_called_during_maintenance_and_nothing_is_judged(learned: Plant) -> None:
    plant = plant_of(learned)
    outcome = plant.send(
        [said("maintenance", at=LEARNED, start=LEARNED + 40, end=LEARNED + 160), *faulty(LEARNED + 40, 120)]
    )
    plant.send(readings(range(LEARNED + 160, LEARNED + 200)))
    assert not outcome.alerts
    blank = [score.blank for score in outcome.scores if score.start >= BEGIN + LEARNED + 40]
    assert blank == ["maintenance"] * 13
    assert outcome.statuses["m"]["blank"] == "maintenance"
    after = plant.send(faulty(LEARNED + 200))
    assert latest(after).state == "open"


@pytest.mark.parametrize("begins", [-80, 16])
def test_maintenance_closes_the_open_alert_once_it_begins(learned: Plant, begins: int) -> None:
    plant = plant_of(learned)
    opened = latest(plant.send(faulty(LEARNED)))
    now = LEARNED + 80
    outcome = plant.send([said("maintenance", at=now, start=now + begins, end=now + 200)])
    assert [alert.state for alert in outcome.alerts] == (["closed"] if begins < 0 else [])
    outcome = plant.send(faulty(now, 60))
    assert [alert.state for alert in outcome.alerts] == ([] if begins < 0 else ["closed"])
    assert {alert.id for alert in outcome.alerts} <= {opened.id}


def test_a_warm_up_under_maintenance_takes_that_much_longer_and_never_learns_from_it() -> None:
    calm, disturbed = Plant(), Plant()
    maintenance = said("maintenance", at=300, start=300, end=500)
    first = calm.send(readings(range(LEARNED + 300)))
    strange = [*readings(range(300)), maintenance, *faulty(300, 200), *readings(range(500, LEARNED + 300))]
    second = disturbed.send(strange)
    learning = [[score.blank for score in each.scores].count("learning") for each in (first, second)]
    assert learning[0] == learning[1]
    (model,) = second.models.values()
    least, most = model.state["usual"][:, 0]
    assert most - least < 3  # the offset of 8 is not in it


def test_a_stretch_labelled_after_it_was_read_is_left_out_of_the_fit() -> None:
    """An operator names the fault in the warm-up before the warm-up is over."""
    plant = Plant()
    outcome = plant.send(
        [
            *readings(range(300)),
            *faulty(300, 200),
            *readings(range(500, 600)),
            said("fault", at=600, start=300, end=500),
            *readings(range(600, LEARNED + 8)),
        ]
    )
    (model,) = outcome.models.values()
    least, most = model.state["usual"][:, 0]
    assert most - least < 3


def test_a_new_normal_is_learned_from_where_it_began(learned: Plant) -> None:
    plant = plant_of(learned)
    moved = plant.send(faulty(LEARNED, 400, offset=5.0))
    assert latest(moved).state == "open"
    now = LEARNED + 400
    outcome = plant.send([said("new_normal", at=now, start=LEARNED), *faulty(now, LEARNED, offset=5.0)])
    assert (outcome.alerts[0].state, outcome.alerts[0].verdict) == ("closed", "new_normal")
    blank = [score.blank for score in outcome.scores]
    assert blank[0] == "learning"
    assert outcome.models["m"].version == 2
    relearned = blank.count("learning")
    assert relearned == pytest.approx(120 - 400 / 8, abs=3)  # what was read since counts
    assert not any(score.alarm for score in outcome.scores[relearned:])
    status = outcome.statuses["m"]
    assert (status["trust"], status["refit_reason"]) == ("prior", "new_normal")
    back = plant.send(readings(range(now + LEARNED, now + LEARNED + 80)))
    assert latest(back).state == "open"  # the old normal is strange now


def test_a_bad_sensor_is_left_out_until_it_is_cleared(learned: Plant) -> None:
    plant = plant_of(learned)
    bad = said("bad_sensor", at=LEARNED, channel="a", start=LEARNED)
    outcome = plant.send([bad, *faulty(LEARNED, 200)])
    assert not outcome.alerts
    assert outcome.statuses["m"]["bad_sensors"] == ["a"]
    judged = [score for score in outcome.scores if score.start >= BEGIN + LEARNED]
    assert all(score.contributions["a"] == 0 for score in judged)
    assert all(score.score is not None and not score.alarm for score in judged)
    now = LEARNED + 200
    outcome = plant.send([said("bad_sensor", at=now, channel="a", start=now, cleared=True), *faulty(now)])
    assert next(iter(latest(outcome).channels)) == "a"
    assert outcome.statuses["m"]["bad_sensors"] == []


def test_a_bad_sensor_in_the_warm_up_teaches_nothing_and_holds_nothing_up() -> None:
    plant = Plant()
    outcome = plant.send([*readings(range(100)), said("bad_sensor", at=100, channel="a"), *faulty(100, LEARNED)])
    (model,) = outcome.models.values()
    assert model.state["usual"][1, 0] < 2
    cleared = said("bad_sensor", at=LEARNED + 100, channel="a", cleared=True)
    after = plant.send([cleared, *readings(range(LEARNED + 100, LEARNED + 200))])
    assert not any(score.alarm for score in after.scores)


# --------------------------------------------------------------------------------------------------- sensor's alerts


def stuck(first: int, cells: int) -> list[Message]:
    """The machine goes on, one of its sensors repeats itself."""
    messages = []
    for message in readings(range(first, first + cells)):
        body = json.loads(message.payload)
        messages.append(message._replace(payload=json.dumps(body | {"b": 50.5}).encode()))
    return messages


def with_stuck_sensor(learned: Plant) -> tuple[Plant, Alert, int]:
    plant = plant_of(learned)
    outcome = plant.send(stuck(LEARNED, 120))
    opened = next(alert for alert in outcome.alerts if alert.kind == "sensor")
    return plant, opened, LEARNED + 120


def test_a_sensors_alert_is_acknowledged_by_calling_it_bad(learned: Plant) -> None:
    plant, opened, now = with_stuck_sensor(learned)
    outcome = plant.send([said("bad_sensor", at=now, alert=opened.id), *stuck(now, 80)])
    assert [(alert.id, alert.state) for alert in outcome.alerts] == [(opened.id, "acknowledged")]
    assert outcome.labels[0].channel == "b"
    well = plant.send(readings(range(now + 80, now + 200)))
    assert [alert.state for alert in well.alerts] == ["closed"]
    again = plant.send(stuck(now + 200, 120))
    assert not again.alerts  # everybody knows
    assert again.statuses["m"]["bad_sensors"] == ["b"]


def test_a_sensors_false_alarm_stays_closed_until_the_diagnosis_has_ended_once(learned: Plant) -> None:
    plant, opened, now = with_stuck_sensor(learned)
    outcome = plant.send([said("false_alarm", at=now, alert=opened.id), *stuck(now, 120)])
    assert [(alert.id, alert.state) for alert in outcome.alerts] == [(opened.id, "closed")]
    plant.send(readings(range(now + 120, now + 240)))
    assert latest(plant.send(stuck(now + 240, 120))).state == "open"


# ------------------------------------------------------------------------------------------------ repeats and refusals


def test_the_same_message_twice_is_one_label(learned: Plant) -> None:
    plant = plant_of(learned)
    message = said("fault", at=LEARNED, start=LEARNED - 50, end=LEARNED - 10)
    outcome = plant.send([message, message])
    assert len(outcome.labels) == 1
    assert [(answer["stored"], answer["repeated"]) for answer in answers(outcome)] == [(True, False), (True, True)]
    assert (outcome.counts["m", "labels"], outcome.counts["m", "labels_repeated"]) == (1, 1)


def test_what_cannot_be_used_is_quarantined_and_answered(learned: Plant) -> None:
    plant = plant_of(learned)
    outcome = plant.send(
        [
            said("falt", at=LEARNED),
            said("bad_sensor", at=LEARNED, channel="aa"),
            said("fault", at=LEARNED, alert="m-19700101T000000Z"),
            said("new_normal", at=LEARNED, machine="n"),
        ]
    )
    details = [
        'label on m: verdict "falt": did you mean "fault"?',
        'label on m: channel "aa": did you mean "a"?',
        'label on m: no alert "m-19700101T000000Z" of late; give from and to instead',
        "no machine is called n; use one of m",
    ]
    assert [entry.detail for entry in outcome.quarantined] == details
    assert [answer["error"] for answer in answers(outcome)] == details
    assert [entry.reason for entry in outcome.quarantined] == [
        "bad_label", "bad_label", "unknown_alert", "unknown_machine",
    ]  # fmt: skip
    assert not outcome.labels
    assert outcome.counts["", "messages_quarantined"] == 4


def test_a_flood_of_labels_is_not_answered_one_by_one(learned: Plant) -> None:
    outcome = plant_of(learned).send([said("fault", at=LEARNED, note=str(number)) for number in range(500)])
    assert len(outcome.commands) == MOST_ANSWERS
    assert len(outcome.quarantined) == 500


# ----------------------------------------------------------------------------------------------------------- restarts


def story() -> list[Message]:
    """A life with every verdict in it."""
    t = LEARNED
    return [
        *readings(range(200)),
        said("maintenance", at=200, start=100, end=150),
        *readings(range(200, t)),
        said("bad_sensor", at=t, channel="b"),
        *readings(range(t, t + 100)),
        *faulty(t + 100, 40),
        said("fault", at=t + 140, start=t + 100, end=t + 140, name="bearing"),
        *faulty(t + 140, 20),
        said("bad_sensor", at=t + 160, channel="b", cleared=True),
        *readings(range(t + 160, t + 300)),
        *faulty(t + 300, 40),
        said("false_alarm", at=t + 340, start=t + 300, end=t + 340),
        *faulty(t + 340, 40),
        said("maintenance", at=t + 380, start=t + 400, end=t + 500),
        *faulty(t + 380, 100),
        said("new_normal", at=t + 480, start=t + 420),
        *faulty(t + 480, t),
    ]


def test_a_restart_at_any_label_or_window_equals_an_undisturbed_run() -> None:
    messages = story()
    whole = Plant()
    expected = whole.send(messages)
    assert {label.verdict for label in expected.labels} == {
        "maintenance", "bad_sensor", "fault", "false_alarm", "new_normal",
    }  # fmt: skip
    assert not expected.quarantined
    assert expected.models["m"].version == 2
    labelled = [number for number, message in enumerate(messages) if message.topic.endswith(b"/label")]
    cuts = sorted({cut for number in labelled for cut in (number, number + 1)} | set(range(450, len(messages), 331)))
    resumed, found = Plant(), Outcome()
    states: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for first, end in zip([0, *cuts], [*cuts, len(messages)], strict=True):
        before, resumed = resumed, Plant()
        resumed.blocks, resumed.seen = before.blocks, before.seen
        resumed.models, resumed.heads = before.models, before.heads
        assert resumed.pipeline.restore(packing.unpack(packing.pack(states)), models) == {}
        resumed.pipeline.remember(messages[:first])
        part = resumed.send(messages[first:end])
        states |= resumed.pipeline.checkpoint()
        models |= part.models
        for name in ("scores", "alerts", "labels", "heads", "quarantined"):
            getattr(found, name).extend(getattr(part, name))
    assert found.labels == expected.labels
    assert found.alerts == expected.alerts
    assert found.scores == expected.scores
    assert packing.pack(models["m"].state) == packing.pack(expected.models["m"].state)
    assert packing.pack(states["machine/m"]) == packing.pack(whole.pipeline.checkpoint()["machine/m"])


def test_a_replay_gives_the_same_labels_and_scores() -> None:
    messages = story()
    one, two = Plant().send(messages), Plant().send(messages)
    assert (one.scores, one.alerts, one.labels) == (two.scores, two.alerts, two.labels)
