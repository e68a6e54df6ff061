from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from appliance.detect.traces import Traces
from appliance.evaluation.explaining import MOST_POINTS, Blamed, Scene, blamed, scenes, typical
from appliance.evaluation.watch import Run
from tests.evaluation.conformance import trial

HOPS = len(trial().test_ends)
(FIRST, FIRST_END), (SECOND, SECOND_END), (THIRD, _) = trial().event_hops

NOTHING = Traces(np.empty(0), np.empty((0, 0)), 0)
UNSEEN = NOTHING, NOTHING


def run(alerts: list[tuple[int, int | None]] | None = None) -> Run:
    """The first event is strangest at its last hop, where channels 2 and 0 are blamed; the second has no score."""
    scores, blame = np.ones(HOPS), np.zeros((HOPS, 3))
    scores[FIRST_END - 1] = 9.0
    blame[FIRST] = [0.0, 1.0, 0.0]
    blame[FIRST_END - 1] = [0.3, 0.0, 0.7]
    scores[SECOND:SECOND_END] = np.nan
    return Run(scores, np.full(HOPS, 4.0), blame, alerts or [], *UNSEEN, 0.0, 0.0)


@pytest.mark.parametrize(
    ("culprits", "expected"),
    [
        ((2,), Blamed(1.0, True, 1 / 3)),
        ((0,), Blamed(0.0, False, 1 / 3)),
        ((0, 1), Blamed(0.5, False, 2 / 3)),
        ((1, 2), Blamed(0.5, True, 2 / 3)),
        ((0, 2), Blamed(1.0, True, 2 / 3)),
        ((0, 1, 2), Blamed(2 / 3, True, 1.0)),
    ],
)
def test_blame_is_judged_at_the_strangest_hop_and_at_the_true_number(
    culprits: tuple[int, ...], expected: Blamed
) -> None:
    (found,) = blamed(replace(trial(), culprits=(culprits, (), ())), run())
    assert msgspec.structs.astuple(found) == pytest.approx(msgspec.structs.astuple(expected))


def test_events_without_a_score_or_without_known_culprits_are_left_out() -> None:
    assert blamed(replace(trial(), culprits=((), (1,), ())), run()) == []
    assert blamed(trial(), run()) == []


def test_where_nobody_is_blamed_nothing_is_hit() -> None:
    (found,) = blamed(replace(trial(), culprits=((), (), (0,))), run())
    assert (found.hit_rate, found.first_is_culprit) == (0.0, False)


def test_a_machine_shows_what_was_caught_missed_and_falsely_raised() -> None:
    shown = {scene.kind: scene for scene in scenes(trial(), run([(FIRST + 2, FIRST_END), (20, 30)]))}
    assert set(shown) == {"caught", "missed", "false alert"}
    assert shown["caught"].typical_by == 2.0
    assert list(shown["caught"].signals)[:2] == ["2", "0"]
    hour = trial().period_secs / 3600
    assert shown["caught"].events[0] == pytest.approx((1000 * hour, 1040 * hour))
    assert any(start == pytest.approx(int(trial().test_ends[20]) * hour) for start, _ in shown["false alert"].alerts)
    assert "caught after 8 min" in shown["caught"].title


def test_a_scene_survives_json_with_its_gaps() -> None:
    for scene in scenes(trial(), run([(FIRST, None)])):
        again = msgspec.json.decode(msgspec.json.encode(scene), type=Scene)
        assert again == scene
        assert len(again.example().score) == len(again.example().times) <= MOST_POINTS
    assert np.isnan(scenes(trial(), run())[0].example().score).any()


def test_a_long_stretch_is_thinned_without_losing_its_peak() -> None:
    long = replace(trial(), values=np.tile(trial().values, (9, 1)), sessions=((0, 9 * 1400),), events=((1000, 9000),))
    long = replace(long, labels=np.zeros(9 * 1400, dtype=bool))
    hops = len(long.test_ends)
    scores = np.zeros(hops)
    scores[777] = 5.0
    (scene,) = scenes(long, Run(scores, np.ones(hops), np.zeros((hops, 3)), [], *UNSEEN, 0.0, 0.0))
    assert len(scene.hours) <= MOST_POINTS
    assert max(value for value in scene.score if value is not None) == 5.0
    assert sorted(scene.hours) == scene.hours


def test_of_all_machines_the_median_scene_of_each_kind_is_shown() -> None:
    (scene,) = [scene for scene in scenes(trial(), run([(FIRST, None)])) if scene.kind == "caught"]
    others = [
        msgspec.structs.replace(scene, dataset=dataset, machine=f"m{delay}", typical_by=float(delay))
        for dataset in ("b", "a")
        for delay in (9, 1, 5)
    ]
    assert [(each.dataset, each.machine) for each in typical(others)] == [("a", "m5"), ("b", "m5")]


def test_a_title_tells_a_missed_event_from_one_in_the_shade_of_an_earlier_alert() -> None:
    def title(alerts: list[tuple[int, int | None]]) -> str:
        only = replace(trial(), events=trial().events[2:])
        return next(scene.title for scene in scenes(only, run(alerts)) if scene.kind == "missed")

    assert title([]) == "an event missed, highest score 1.0"
    assert title([(3, THIRD - 1)]) == "an event missed, highest score 1.0"
    assert title([(3, None)]) == "an event during an earlier alert, highest score 1.0"
