"""From a label to another judgement of the same machine, and back."""

from __future__ import annotations

import copy
import statistics

import pytest

from appliance.adaptation import TRACE_WINDOWS
from appliance.archive import KEPT_HEADS
from appliance.outcome import Outcome
from tests.lived_plant import AFTER, AGAIN, FIRST, LONG, answers, fault, slight, told
from tests.small_plant import BEGIN, LEARNED, Plant, readings, said


def median(outcome: Outcome, first: int, cells: int = LONG) -> float:
    """Score of the windows that lie within a stretch."""
    inside = [s for s in outcome.scores if s.start >= BEGIN + first and s.end <= BEGIN + first + cells]
    return statistics.median(score.score or 0.0 for score in inside)


def test_labelled_faults_are_recognised_when_they_come_back(lived: Plant) -> None:
    plain, taught = copy.deepcopy(lived), copy.deepcopy(lived)
    outcome = taught.send([fault(FIRST, AFTER), fault(AGAIN, AFTER)])
    assert [answer["learned"] for answer in answers(outcome)] == [head.words for head in outcome.heads]
    assert [label.learned for label in outcome.labels] == [head.words for head in outcome.heads]
    assert outcome.heads[-1].words.startswith("catches 2 of 2 labelled faults (before: ")
    assert outcome.statuses["m"]["trust"] == "adapted(2)"
    assert outcome.statuses["m"]["learned"] == outcome.heads[-1].words
    once_more = slight(AFTER + 80)
    missed = plain.send([*readings(range(AFTER, AFTER + 80)), *once_more])
    found = taught.send([*readings(range(AFTER, AFTER + 80)), *once_more])
    assert not missed.alerts
    assert found.alerts[0].state == "open"
    assert {score.trust for score in found.scores} == {"adapted(2)"}


def test_a_score_leads_to_the_label_that_changed_it(lived: Plant) -> None:
    plant = copy.deepcopy(lived)
    outcome = plant.send(
        [
            *readings(range(AFTER, AFTER + 40)),
            fault(FIRST, AFTER + 40, id="seven"),
            *readings(range(AFTER + 40, AFTER + 80)),
            told("adapt", at=AFTER + 80),
            told("rollback", at=AFTER + 81),
            *readings(range(AFTER + 81, AFTER + 160)),
        ]
    )
    assert [(each.cause, each.label, each.head, each.labels) for each in outcome.attempts] == [
        ("label", "seven", 1, 1),
        ("command", None, 2, 1),
        ("rollback", None, 3, 1),
    ]
    said, asked, back = outcome.attempts
    assert (said.words, said.vetoed, said.faults) == (outcome.labels[0].learned, None, 1)
    assert f"catches {said.caught} of 1 labelled fault (before: {said.caught_before}); {said.alerts:.1f}" in said.words
    assert asked.at < back.at < asked.at + 1e-3, "after the same window, and yet points of their own"
    judged = {score.end: score.head for score in outcome.scores}
    changed = [said, *(each for each in outcome.attempts if each.cause == "rollback")]
    for end, head in judged.items():
        assert head == max((each.head for each in changed if each.at < end), default=0)
    assert set(judged.values()) == {0, 1, 3}


def test_a_vetoed_attempt_says_why_and_leaves_the_head(lived: Plant) -> None:
    plant = copy.deepcopy(lived)
    (attempt,) = plant.send([told("rollback", at=AFTER)]).attempts
    assert (attempt.cause, attempt.head, attempt.vetoed) == ("rollback", 0, attempt.words)
    assert attempt.caught is None


def test_normal_operation_stays_below_the_threshold_after_labels(lived: Plant) -> None:
    plant = copy.deepcopy(lived)
    plant.send([fault(FIRST, AFTER), fault(AGAIN, AFTER)])
    outcome = plant.send(readings(range(AFTER, AFTER + 2000)))
    assert not outcome.alerts


def test_without_a_scored_window_in_it_a_label_teaches_nothing(lived: Plant) -> None:
    plant = copy.deepcopy(lived)
    outcome = plant.send([fault(100, AFTER)])  # in the warm-up
    assert [(answer["stored"], answer["learned"]) for answer in answers(outcome)] == [(True, None)]
    assert not outcome.heads
    assert outcome.statuses["m"]["trust"] == "prior"


def test_what_alerted_and_nobody_has_spoken_of_is_not_taken_to_be_normal(lived: Plant) -> None:
    """An operator labels a part of a fault that goes on: the rest must not hide it from the head."""
    plant = copy.deepcopy(lived)
    plant.send(readings(range(AFTER, AFTER + 200), offset=8.0))
    outcome = plant.send([fault(AFTER + 120, AFTER + 200, cells=60)])
    assert outcome.heads[0].words.startswith("catches 1 of 1 labelled fault (before: 1)")


def test_what_lies_between_two_faults_under_one_alert_is_taken_to_be_normal(lived: Plant) -> None:
    """A machine that has changed for good stands under one alert: whoever marks faults in it leaves out the rest."""
    plant, now = copy.deepcopy(lived), AFTER
    for _ in range(2):
        plant.send([*readings(range(now, now + 400), offset=2.0), *readings(range(now + 400, now + 480), offset=2.6)])
        now += 480
    assert plant.pipeline.machines["m"].incidents.is_open

    def as_since(first: int) -> float:
        plant.send([fault(first, now)])
        return median(copy.deepcopy(plant).send(readings(range(now, now + 200), offset=2.0)), now, 200)

    with_one, with_both = as_since(AFTER + 400), as_since(AFTER + 880)
    assert with_both < with_one - 1


def test_an_alert_that_was_right_is_given_back_to_the_budget(lived: Plant) -> None:
    """Until the operator has said so, it has raised the threshold like a false one."""
    plant = copy.deepcopy(lived)

    def spent() -> float:
        learned = plant.pipeline.machines["m"]._learned
        assert learned is not None
        return learned.detector.calibrator.correction

    before = spent()
    alerted = plant.send(readings(range(AFTER, AFTER + 200), offset=8.0)).alerts
    assert {alert.state for alert in alerted} >= {"open"}
    after = spent()
    assert after > before
    plant.send([fault(AFTER, AFTER + 200, cells=200)])
    assert spent() == pytest.approx(before, abs=0.02)
    plant.send([fault(AFTER, AFTER + 201, cells=200)])
    assert spent() == pytest.approx(before, abs=0.02), "once"
    plant.send([said("false_alarm", at=AFTER + 202, start=AFTER, end=AFTER + 200)])
    assert spent() == pytest.approx(after, abs=0.02)


def test_what_the_past_does_not_bear_is_not_given_back(lived: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant = copy.deepcopy(lived)

    def spent() -> float:
        learned = plant.pipeline.machines["m"]._learned
        assert learned is not None
        return learned.detector.calibrator.correction

    plant.send(readings(range(AFTER, AFTER + 200), offset=8.0))
    after = spent()
    monkeypatch.setattr("appliance.adapt.promote._LEAST_QUIET", 1.1)  # as if no alert could ever close
    plant.send([fault(AFTER, AFTER + 200, cells=200)])
    assert spent() == pytest.approx(after, abs=0.02)


def test_a_label_on_an_earlier_alert_gives_it_back_too(lived: Plant) -> None:
    """Labels come when somebody has time: on Monday, for what alerted on Saturday."""
    plant, now = copy.deepcopy(lived), AFTER

    def spent() -> float:
        learned = plant.pipeline.machines["m"]._learned
        assert learned is not None
        return learned.detector.calibrator.correction

    before = spent()
    for _ in range(2):
        plant.send([*readings(range(now, now + 80), offset=8.0), *readings(range(now + 80, now + 4000))])
        now += 4000
    assert spent() > before + 0.9
    plant.send([fault(AFTER, now)])
    assert spent() == pytest.approx(before + 0.5, abs=0.02)
    plant.send([fault(AFTER + 4000, now)])
    assert spent() == pytest.approx(before, abs=0.02)


def test_one_step_back_and_one_more(lived: Plant) -> None:
    plant = copy.deepcopy(lived)
    probe = [*readings(range(AFTER, AFTER + 80)), *slight(AFTER + 80)]
    before = copy.deepcopy(plant).send(probe)
    plant.send([fault(FIRST, AFTER)])
    with_one = copy.deepcopy(plant).send(probe)
    plant.send([fault(AGAIN, AFTER)])
    (answer,) = answers(plant.send([told("rollback", at=AFTER)]))
    assert answer["learned"] == "back to head 1"
    back = copy.deepcopy(plant).send(probe)
    assert [score.trust for score in back.scores] == [score.trust for score in with_one.scores]
    assert median(back, AFTER + 80) == pytest.approx(median(with_one, AFTER + 80), abs=0.1)
    (answer,) = answers(plant.send([told("rollback", at=AFTER + 1)]))
    assert answer["learned"] == "back to what it was before any label"
    assert [score.trust for score in copy.deepcopy(plant).send(probe).scores] == ["prior"] * len(before.scores)
    (answer,) = answers(plant.send([told("rollback", at=AFTER + 2)]))
    assert answer["learned"].startswith("there is no head to go back from")


def test_after_a_rollback_the_labels_can_be_learned_from_again(lived: Plant) -> None:
    plant = copy.deepcopy(lived)
    plant.send([fault(FIRST, AFTER), told("rollback", at=AFTER)])
    outcome = plant.send([told("adapt", at=AFTER)])
    assert answers(outcome)[0]["learned"].startswith("catches ")
    assert outcome.statuses["m"]["trust"] == "adapted(1)"


def test_a_command_that_is_delivered_twice_is_done_once(lived: Plant) -> None:
    plant = copy.deepcopy(lived)
    plant.send([fault(FIRST, AFTER), fault(AGAIN, AFTER)])
    outcome = plant.send([told("rollback", at=AFTER), told("rollback", at=AFTER)])
    assert [answer["repeated"] for answer in answers(outcome)] == [False, True]
    assert len(outcome.heads) == 1


def test_a_command_that_cannot_be_read_is_answered_with_the_remedy(lived: Plant) -> None:
    plant = copy.deepcopy(lived)
    outcome = plant.send([told("rolback", at=AFTER), told("adapt", at=AFTER, force=True)])
    assert [entry.reason for entry in outcome.quarantined] == ["bad_command"] * 2
    assert answers(outcome)[0] == {
        "machine": "m",
        "id": f"rolback-{AFTER}",
        "stored": False,
        "error": 'command to m: "rolback": did you mean "rollback"?',
    }
    assert '"force" is no key of a command' in answers(outcome)[1]["error"]


def test_an_overruled_label_is_unlearned(lived: Plant) -> None:
    plant = copy.deepcopy(lived)
    plant.send([fault(FIRST, AFTER), fault(AGAIN, AFTER)])
    outcome = plant.send(
        [
            said("maintenance", at=AFTER, start=FIRST, end=FIRST + LONG),
            said("maintenance", at=AFTER, start=AGAIN, end=AGAIN + LONG),
        ]
    )
    assert outcome.statuses["m"]["trust"] == "prior"


def test_labels_teach_the_next_fit_too(lived: Plant) -> None:
    """What was labelled before it is looked at again by the new detector, from the stored readings."""
    plain, taught = copy.deepcopy(lived), copy.deepcopy(lived)
    taught.send([fault(FIRST, AFTER), fault(AGAIN, AFTER)])
    outcomes = []
    for plant in (plain, taught):
        plant.pipeline.machines["m"]._learned = None  # as if its model could not be read
        outcomes.append(plant.send([*readings(range(AFTER, AFTER + 80)), *slight(AFTER + 80)]))
        assert outcomes[-1].models["m"].version == 2
    missed, found = outcomes
    assert "of 2 labelled faults" in found.heads[-1].words
    assert [(each.cause, each.head) for each in found.attempts] == [("refit", 3)]
    assert [score.trust for score in found.scores][-1] == "adapted(2)"
    assert median(found, AFTER + 80) > median(missed, AFTER + 80) + 1


def test_the_last_heads_are_kept(lived: Plant) -> None:
    plant = copy.deepcopy(lived)
    for number in range(KEPT_HEADS + 2):
        plant.send([told("adapt", at=AFTER + number), fault(FIRST, AFTER, id=str(number))])
    line = plant.pipeline.machines["m"].snapshot()["adaptation"]["line"]
    assert len(line) == KEPT_HEADS


def test_traces_are_given_out_in_blocks_that_cover_every_scored_window(lived: Plant) -> None:
    pending = lived.pipeline.machines["m"].snapshot()["adaptation"]["pending"]
    ends = [end for block in lived.seen for end in block.ends.tolist()] + pending[0].tolist()
    assert ends == sorted(set(ends))
    assert all(len(block.ends) == TRACE_WINDOWS for block in lived.seen)
    windows = (AFTER - LEARNED) // 8
    assert len(ends) == pytest.approx(windows, abs=2)
