"""Heads that descend, in the life of a machine: they come, go, fail, and are stood in for."""

from __future__ import annotations

import copy

import pytest

from appliance.adapt.adapters import ADAPTERS
from appliance.adapt.adapters.base import Adapter
from appliance.adapt.adapters.descending import Descending
from appliance.detect.head import Bent
from appliance.errors import AdaptationError
from appliance.pipeline import Pipeline, Rules
from appliance.solver import Solver
from appliance.store import packing
from tests.adapt.descents import DETECTORS, untrained
from tests.lived_plant import AFTER, FIRST, answers, fault, slight, told
from tests.small_plant import Plant, readings, source


def under(lived: Plant, adapter: Adapter) -> Plant:
    """The same plant after a restart with another adapter in its settings."""
    plant = copy.deepcopy(lived)
    state = {"machine/m": plant.pipeline.machines["m"].snapshot()}
    plant.pipeline = Pipeline([source()], Rules(adapter=adapter), plant)
    assert plant.pipeline.restore(packing.unpack(packing.pack(state)), plant.models) == {}
    return plant


def descending(features: int = 2 * DETECTORS) -> Descending:
    """MAML in a process of its own, with time for a loaded build machine."""
    return Descending("maml", untrained("maml", features), Solver(300.0, 2048))


def test_a_head_that_descends_comes_goes_and_comes_again_to_the_last_bit(lived: Plant) -> None:
    plant = under(lived, descending())
    (first,) = plant.send([fault(FIRST, AFTER)]).heads
    assert first.words.startswith("catches 1 of 1 labelled fault (before: ")
    assert [name for name, _ in first.state["head"]["parts"]] == ["Bent"]
    (answer,) = answers(plant.send([told("rollback", at=AFTER)]))
    assert answer["learned"] == "back to what it was before any label"
    (again,) = under(plant, descending()).send([told("adapt", at=AFTER)]).heads
    assert packing.pack(again.state["head"]) == packing.pack(first.state["head"])


def test_where_no_head_comes_of_a_label_what_judges_stays(lived: Plant) -> None:
    def fails(*_: object) -> Bent:
        raise AdaptationError("maml took longer than it may; raise the limit")

    plant = under(lived, Descending("maml", untrained("maml", 2 * DETECTORS), fails))
    outcome = plant.send([fault(FIRST, AFTER)])
    words = "no head came of the labels, what is in service stays: maml took longer than it may; raise the limit"
    assert [answer["learned"] for answer in answers(outcome)] == [words]
    assert [label.learned for label in outcome.labels] == [words]
    assert outcome.statuses["m"]["learned"] == words
    assert outcome.heads == []
    assert [(each.failed, each.vetoed) for each in outcome.attempts] == [
        (True, "maml took longer than it may; raise the limit")
    ]
    later = [*readings(range(AFTER, AFTER + 80)), *slight(AFTER + 80)]
    assert {score.trust for score in plant.send(later).scores} == {"prior"}
    again = under(plant, ADAPTERS["ridge"]()).send([told("adapt", at=AFTER + 160)])
    assert again.heads[0].words.startswith("catches 1 of 1 labelled fault")


def test_a_new_fit_goes_on_where_no_head_comes_of_the_old_labels(lived: Plant) -> None:
    def fails(*_: object) -> Bent:
        raise AdaptationError("no memory; add some")

    plant = under(lived, Descending("maml", untrained("maml", 2 * DETECTORS), fails))
    plant.send([fault(FIRST, AFTER)])
    plant.pipeline.machines["m"]._learned = None  # as if its model could not be read
    outcome = plant.send(readings(range(AFTER, AFTER + 80)))
    assert outcome.models["m"].version == 2
    assert outcome.heads == []
    assert [(each.failed, each.vetoed) for each in outcome.attempts] == [(True, "no memory; add some")]
    assert {score.trust for score in outcome.scores} >= {"prior"}


def test_a_machine_of_other_detectors_is_taught_by_ridge_and_told_so(lived: Plant) -> None:
    plain, plant = copy.deepcopy(lived), under(lived, descending(2 * (DETECTORS + 1)))
    (head,), (expected,) = (each.send([fault(FIRST, AFTER)]).heads for each in (plant, plain))
    said = "by ridge: maml was trained with 27 detectors, this machine has 26"
    assert head.words == f"{expected.words}; {said}"
    assert packing.pack(head.state) == packing.pack(expected.state)


def test_what_the_past_does_not_bear_is_taken_back_where_no_head_comes(
    lived: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> Bent:
        raise AdaptationError("no memory; add some")

    plant = under(lived, Descending("maml", untrained("maml", 2 * DETECTORS), fails))
    learned = plant.pipeline.machines["m"]._learned
    assert learned is not None
    plant.send(readings(range(AFTER, AFTER + 200), offset=8.0))
    spent = learned.detector.calibrator.correction
    monkeypatch.setattr("appliance.adapt.promote._LEAST_QUIET", 1.1)  # as if no alert could ever close
    outcome = plant.send([fault(AFTER, AFTER + 200, cells=200)])
    assert outcome.attempts[0].failed
    assert learned.detector.calibrator.correction == pytest.approx(spent, abs=0.02)
