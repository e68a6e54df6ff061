"""The weights of the scales: what each scale hears, and that no dataset chooses its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from appliance.detect.scales import SCALES
from appliance.errors import ResultsError
from appliance.evaluation import loudness as module
from appliance.evaluation.held_out import GRID, SHIPPED, Judged, held_out, judge
from appliance.evaluation.loudness import loudness
from tests.evaluation.conformance import trial

WINDOW_ALONE, QUICK_ALONE = (GRID.index(weights) for weights in ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0)))


def machine(dataset: str, name: str, likes: int) -> Judged:
    """A machine for which one choice of weights is right and all others are equally wrong."""
    return Judged(dataset, name, f"{dataset}/{name}", [0.9 if i == likes else 0.2 for i in range(len(GRID))])


def test_every_scale_hears_the_faults_and_only_what_came_before(tmp_path: Path) -> None:
    loud = loudness(trial(), tmp_path)
    assert loud.shape == (len(trial().test_ends), len(SCALES))
    inside = trial().test_labels
    for scale in range(len(SCALES)):
        known = np.isfinite(loud[:, scale])
        assert known.any()
        assert np.median(loud[inside & known, scale]) > np.median(loud[~inside & known, scale])


def test_it_is_listened_to_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = loudness(trial(), tmp_path)
    monkeypatch.setattr(module, "_listen", None)
    np.testing.assert_array_equal(loudness(trial(), tmp_path), first)


def test_windows_too_short_for_scales_are_heard_at_one(tmp_path: Path) -> None:
    loud = loudness(trial(length=4), tmp_path)
    assert np.isfinite(loud[:, 0]).all()
    assert np.isnan(loud[:, 1:]).all()


def test_a_machine_is_judged_under_every_choice(tmp_path: Path) -> None:
    judged = judge(trial(), tmp_path)
    assert judged is not None
    assert len(judged.vus_pr) == len(GRID)
    assert max(judged.vus_pr) > 0.7


def test_weights_of_scales_that_a_machine_lacks_change_nothing(tmp_path: Path) -> None:
    judged = judge(trial(length=4), tmp_path)
    assert judged is not None
    assert len(set(judged.vus_pr)) == 1
    other = Judged("other", "m", "m", judged.vus_pr)
    assert {(each.weights, each.best_weights) for each in held_out([judged, other])} == {(SHIPPED, SHIPPED)}


def test_the_shipped_weights_are_among_those_to_choose_from() -> None:
    assert SHIPPED in GRID


def test_a_dataset_does_not_choose_its_own_weights() -> None:
    machines = [machine("a", "x", QUICK_ALONE), machine("b", "y", WINDOW_ALONE), machine("c", "z", WINDOW_ALONE)]
    a, b, _ = held_out(machines)
    assert (a.tested_on, a.chosen_on, a.weights) == ("a", "b, c", GRID[WINDOW_ALONE])
    assert (a.vus_pr, a.best, a.best_weights) == (0.2, 0.9, GRID[QUICK_ALONE])
    assert a.window_only == 0.2
    assert b.gain.machines == 1


def test_datasets_count_the_same_however_many_machines_they_have() -> None:
    machines = [machine("a", "x", WINDOW_ALONE), *(machine("b", f"y{i}", QUICK_ALONE) for i in range(9))]
    machines += [machine("c", "z", WINDOW_ALONE), machine("d", "t", 0)]
    tested = {each.tested_on: each for each in held_out(machines)}
    assert tested["d"].weights == GRID[WINDOW_ALONE]
    assert tested["d"].gain.value == 0.0


def test_a_group_of_machines_is_chosen_on_the_other_groups() -> None:
    machines = [machine("smd", f"machine-{group}-{i}", (5, 7)[group - 1]) for group in (1, 2) for i in range(3)]
    first, second = held_out(machines)
    assert (first.tested_on, first.chosen_on, first.weights) == ("smd group 1", "smd group 2", GRID[7])
    assert second.weights == GRID[5]


def test_one_dataset_has_nothing_to_choose_on() -> None:
    with pytest.raises(ResultsError, match="name at least two"):
        held_out([machine("a", "x", 0)])
