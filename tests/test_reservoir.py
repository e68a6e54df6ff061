from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from appliance.reservoir import Reservoir, Span
from appliance.store import packing

ALL = 10**9


def reservoir(**changes: Any) -> Reservoir:
    options = {"recent": 100, "older": 200, "memory": 1000, "shortest": 5, "longest": 20, "seed": 1}
    return Reservoir(**options | changes)


def lived(hops: range, **changes: Any) -> Reservoir:
    made = reservoir(**changes)
    for hop in hops:
        made.add(hop)
    return made


def covered(made: Reservoir) -> set[int]:
    return {hop for span in made.spans(ALL) for hop in range(*span)}


def test_the_newest_is_kept_whole_and_no_more_than_asked_for() -> None:
    kept = covered(lived(range(5000)))
    assert set(range(4900, 5000)) <= kept
    assert 280 <= len(kept) <= 320


def test_the_older_part_holds_some_of_all_that_is_remembered() -> None:
    """Many lives: what lies one memory back is there less often than what is young, and yet often."""
    ages = np.zeros(5000)
    for seed in range(200):
        ages[[4999 - hop for hop in covered(lived(range(5000), seed=seed))]] += 1 / 200
    young, old, ancient = ages[200:400].mean(), ages[1000:1200].mean(), ages[4000:].mean()
    assert 0.12 < young < 0.25
    assert 0.25 < old / young < 0.6
    assert ancient < 0.1 * young


def test_until_the_memory_is_full_everything_is_kept_alike() -> None:
    ages = np.zeros(900)
    for seed in range(300):
        ages[list(covered(lived(range(900), seed=seed)))] += 1 / 300
    assert ages[:300].mean() == pytest.approx(ages[400:700].mean(), rel=0.2)


def test_what_led_to_an_alert_is_forgotten() -> None:
    made = lived(range(300))
    assert made.held == 100
    made.forget_recent()
    assert made.held == 0
    assert covered(made) == set(range(200))


def test_stretches_too_short_to_learn_from_are_left_out() -> None:
    made = reservoir()
    for begin in range(0, 3000, 10):
        for hop in range(begin, begin + (3 if begin < 1500 else 7)):
            made.add(hop)
    assert min(covered(made)) >= 1500
    assert {span.hops for span in made.spans(ALL)} == {7}


def test_neighbours_are_joined_and_overlaps_count_once() -> None:
    made = lived(range(250))
    made.keep([Span(140, 160), Span(400, 430)])
    assert made.spans(ALL)[-2:] == [Span(made.spans(ALL)[-2].first, 250), Span(400, 430)]


def test_what_is_known_to_be_normal_takes_the_place_of_something_else() -> None:
    made = lived(range(2000))
    made.keep([Span(10_000, 10_150)])
    assert Span(10_000, 10_150) in made.spans(ALL)
    assert len(covered(made)) <= 320


def test_a_machine_with_many_channels_is_learned_from_an_even_part() -> None:
    made = lived(range(2000))
    hops = sum(span.hops for span in made.spans(100))
    assert 80 <= hops <= 120


@pytest.mark.parametrize("cut", [50, 333, 2500])
def test_a_restart_keeps_the_same(cut: int) -> None:
    whole = lived(range(cut))
    resumed = reservoir()
    resumed.restore(packing.unpack(packing.pack(whole.snapshot())))
    for hop in range(cut, 4000):
        whole.add(hop)
        resumed.add(hop)
    assert resumed.spans(ALL) == whole.spans(ALL)
    assert resumed.held == whole.held
