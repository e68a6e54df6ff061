from pathlib import Path

import numpy as np
import pytest

from appliance.evaluation.datasets import Skipped
from appliance.evaluation.trials import views
from appliance.meta.machines import Machine, permissive, permitted
from tests.meta.grounds import machine, trial, write


def test_its_windows_are_those_that_the_protocol_scores() -> None:
    one = trial("hum", 3, 1)
    seen = views(one)
    own = Machine.of(one, seed=0)
    test = np.flatnonzero(one.is_test)
    perceived = own.perceive(own.cut(test))
    np.testing.assert_allclose(own.cut(test).values, seen.test.values, atol=1e-5)
    np.testing.assert_allclose(perceived.standard, seen.test.standard, atol=2e-3)
    assert np.array_equal(own.is_event[test], one.test_labels)
    assert [own.is_event[a:b].all() for a, b in own.events] == [True] * len(one.event_hops)
    assert len(own.events) == len(one.event_hops)


def test_events_are_louder_than_the_warm_up() -> None:
    own = machine()
    loudness = own.perceive(own.cut(np.arange(len(own.ends)))).evidence.mean(axis=1)
    assert loudness[own.is_event].mean() > 2.0 * loudness[own.is_warm_up].mean()
    assert loudness[own.is_warm_up].mean() == pytest.approx(np.log(2.0), abs=0.25)


def test_calm_is_followed_by_calm() -> None:
    own = machine()
    for hops in (0, 1, 30):
        for place in own.calm_for(hops)[::50]:
            assert own.is_calm[place]
            assert own.ends[place + hops] == own.ends[place] + hops * own.hop


def test_only_what_may_be_given_away_is_read(tmp_path: Path) -> None:
    for name, licence in (("free", "MIT (LICENSE)"), ("copyleft", "GPL-3.0"), ("unknown", ""), ("kept", "BSD-3")):
        write(tmp_path / "hums", name, 2, 1, licence)
    skipped: list[Skipped] = []
    found = list(permitted(tmp_path, None, 9, 0, leave_out=["hums/kept"], skipped=skipped.append))
    assert [each.machine for each in found] == ["free"]
    assert {each.machine: "licence" in each.reason for each in skipped} == {"copyleft": True, "unknown": True}


def test_of_each_dataset_at_most_so_many_are_drawn(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / "hums", f"hum{number}", 1, number)
    assert len(list(permitted(tmp_path, None, 2, 0))) == 2


@pytest.mark.parametrize("licence", ["data CC BY 4.0 (Bosch)", "UIUC/NCSA style", "BSD-3-Clause style", "Apache-2.0"])
def test_licences_that_let_a_prior_be_given_away(licence: str) -> None:
    assert permissive(licence)


@pytest.mark.parametrize("licence", ["AGPL", "unclear", "see MIT or GPL", "CC BY-NC 4.0"])
def test_licences_that_do_not(licence: str) -> None:
    assert not permissive(licence)
