"""Tasks made of traces: what the adapter would be given, what comes later, and who knows of what."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.adapt.adapters.base import examples_of
from appliance.adapt.adapters.task import Task, task_of
from appliance.adapt.support import Support
from appliance.detect.head import heard
from appliance.meta.episodes import KS
from appliance.meta.synthesis import FAMILIES
from appliance.meta.traced import TracedMachine, Watched
from appliance.meta.traced_episodes import POOL, TracedEpisode, TracedEpisodes
from appliance.records import Floats
from tests.meta.grounds import EVENTS

NUMBERS = range(60)


@pytest.fixture(scope="module")
def some(traced: list[TracedMachine]) -> list[TracedEpisode]:
    episodes = TracedEpisodes(traced, seed=0)
    return [episodes[number] for number in NUMBERS]


def same(one: TracedEpisode, other: TracedEpisode) -> bool:
    return one.machine == other.machine and all(
        np.array_equal(*pair) for pair in zip((*one.support, *one.query), (*other.support, *other.query), strict=True)
    )


def places(features: Floats, watched: Watched) -> list[int]:
    """Hops whose loudness the features begin with."""
    test, nothing = watched.test, np.zeros_like(watched.test.loudness)
    rows = {row.tobytes(): hop for hop, row in enumerate(heard(nothing, test)[:, : test.detectors])}
    return [rows[row.tobytes()] for row in np.ascontiguousarray(features[:, : test.detectors])]


def test_a_task_follows_from_its_number_alone(traced: list[TracedMachine], some: list[TracedEpisode]) -> None:
    again = TracedEpisodes(traced, seed=0)
    for number in (31, 7, 0, 7):
        assert same(again[number], some[number])
    assert same(again[7 + POOL], some[7])
    assert not same(TracedEpisodes(traced, seed=1)[7], some[7])


def test_both_kinds_and_every_number_of_labels_come_up(some: list[TracedEpisode]) -> None:
    assert {episode.kind for episode in some} == {"real", "synthetic"}
    assert {episode.k for episode in some if episode.kind == "real"} == {k for k in KS if k < len(EVENTS)}


def test_faults_and_others_count_for_a_half_each(some: list[TracedEpisode]) -> None:
    for episode in some:
        for task in (episode.support, episode.query):
            for side in (0.0, 1.0):
                assert task.weight[task.is_fault == side].sum() == pytest.approx(0.5)


def test_the_support_is_what_the_adapter_would_be_given(traced: list[TracedMachine]) -> None:
    watched = traced[0].own
    assert watched is not None
    labelled = watched.events[:5]
    past = watched.test[slice(0, labelled[-1].end)]
    given = task_of(examples_of(Support.of(watched.warm_up, past, labelled, straddle=watched.straddle))[0])
    episodes = TracedEpisodes(traced[:1], seed=0, real_share=1.0)
    made = [episodes[number].support for number in range(80)]
    assert any(equal(given, task) for task in made)


def equal(one: Task, other: Task) -> bool:
    return all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


def test_a_real_query_lies_after_all_that_was_labelled(traced: list[TracedMachine]) -> None:
    watched = traced[0].own
    assert watched is not None
    episodes = TracedEpisodes(traced[:1], seed=0, real_share=1.0)
    for number in range(10):
        episode = episodes[number]
        faults = places(episode.support.features[episode.support.is_fault > 0], watched)
        assert min(places(episode.query.features, watched)) > max(faults)


def test_with_fixed_families_only_those_of_the_first_half_are_faults(traced: list[TracedMachine]) -> None:
    watched = traced[0].struck
    assert watched is not None
    names = list(FAMILIES)
    first_half = names[: len(names) // 2]
    owner = {hop: name for span, name in zip(watched.events, watched.families, strict=True) for hop in range(*span[:2])}

    def called_faults(*, semantics: bool) -> set[str]:
        episodes = TracedEpisodes(traced[:1], seed=0, real_share=0.0, semantics=semantics)
        faults = [task.features[task.is_fault > 0] for number in range(20) for task in (episodes[number].query,)]
        return {owner[hop] for rows in faults for hop in places(rows, watched)}

    assert called_faults(semantics=False) <= set(first_half)
    assert called_faults(semantics=True) - set(first_half)


def test_nothing_unknown_is_learned_from_or_asked_about(traced: list[TracedMachine]) -> None:
    watched = traced[0].struck
    assert watched is not None
    episodes = TracedEpisodes(traced[:1], seed=0, real_share=0.0)
    hidden = np.flatnonzero(watched.unknown)
    for number in range(10):
        assert not set(places(episodes[number].query.features, watched)) & set(hidden.tolist())
