import numpy as np
import pytest

from appliance.meta.episodes import KS, Episode, Episodes
from appliance.meta.machines import Machine
from tests.meta.grounds import EVENTS, machine

NUMBERS = range(40)


@pytest.fixture(scope="module")
def machines() -> list[Machine]:
    return [machine(4, 1, "four"), machine(1, 2, "one")]


@pytest.fixture(scope="module")
def some(machines: list[Machine]) -> list[Episode]:
    episodes = Episodes(machines, seed=0)
    return [episodes[number] for number in NUMBERS]


def same(one: Episode, other: Episode) -> bool:
    return (
        one.machine == other.machine
        and np.array_equal(one.perceived.planes.cells, other.perceived.planes.cells)
        and np.array_equal(one.perceived.evidence, other.perceived.evidence)
        and np.array_equal(one.query_is_fault, other.query_is_fault)
    )


def test_an_episode_follows_from_its_number_alone(machines: list[Machine], some: list[Episode]) -> None:
    again = Episodes(machines, seed=0)
    for number in (31, 7, 0):
        assert same(again[number], some[number])
    assert not same(Episodes(machines, seed=1)[7], some[7])


def test_both_kinds_and_every_number_of_labels_come_up(some: list[Episode]) -> None:
    assert {episode.kind for episode in some} == {"real", "synthetic"}
    assert {episode.k for episode in some if episode.kind == "synthetic"} == set(KS)
    assert {episode.k for episode in some if episode.kind == "real"} == {k for k in KS if k < len(EVENTS)}


def test_every_event_counts_for_one_and_all_normals_together_for_one(some: list[Episode]) -> None:
    for episode in some:
        fault = episode.support_is_fault
        assert episode.support_weight[fault].sum() == pytest.approx(episode.k)
        assert episode.support_weight[~fault].sum() == pytest.approx(1.0)
        assert (episode.support_weight > 0).all()


def test_support_and_query_share_no_row_and_both_know_both_sides(some: list[Episode]) -> None:
    for episode in some:
        rows = np.concatenate([episode.support, episode.query])
        assert sorted(rows) == list(range(len(episode.perceived.evidence)))
        assert np.array_equal(episode.support[: episode.normals], np.arange(episode.normals))
        for side in (episode.support_is_fault, episode.query_is_fault):
            assert side.any()
            assert not side.all()


def test_a_real_query_lies_after_all_that_was_labelled(machines: list[Machine]) -> None:
    """Windows of one machine differ in the exact cells that they hold, so each can be found again in its series."""
    only = machines[1]
    episodes = Episodes([only], seed=3, real_share=1.0)
    every = only.scale.of(only.cut(np.arange(len(only.ends)))).cells
    for number in range(6):
        episode = episodes[number]
        assert episode.kind == "real"
        cells = episode.perceived.planes.cells
        places = np.array([np.flatnonzero((every == window).all(axis=(1, 2, 3)))[0] for window in cells])
        assert np.array_equal(only.is_event[places[episode.query]], episode.query_is_fault)
        assert np.array_equal(only.is_event[places[episode.support]], episode.support_is_fault)
        assert places[episode.query].min() > places[episode.support[episode.support_is_fault]].max()
        assert places[episode.query].min() > places[: episode.normals].max()


def test_what_is_called_a_fault_changes_from_episode_to_episode(machines: list[Machine]) -> None:
    """Without labels nobody could tell: strange windows are faults in one episode and distractors in another."""
    episodes = Episodes(machines[:1], seed=0, real_share=0.0)
    strange_normals = 0
    for number in range(20):
        episode = episodes[number]
        loudness = episode.perceived.evidence.mean(axis=1)[episode.query]
        fault = episode.query_is_fault
        strange_normals += int((loudness[~fault] > np.median(loudness[fault])).sum())
    assert strange_normals > 20


def test_made_up_faults_are_stranger_than_normal_operation(machines: list[Machine]) -> None:
    episodes = Episodes(machines[:1], seed=0, real_share=0.0)
    louder = []
    for number in range(10):
        loudness = (episode := episodes[number]).perceived.evidence.mean(axis=1)
        louder.append(loudness[episode.query[episode.query_is_fault]].mean() - loudness[: episode.normals].mean())
    assert np.mean(louder) > 0.2


def test_without_a_machine_there_is_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="at least one machine"):
        Episodes([], seed=0)
