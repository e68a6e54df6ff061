from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.evaluation.alerting import (
    consistent_if_perfect,
    counted,
    false_alerts,
    is_within,
    poisson_range,
    within_if_perfect,
)
from appliance.evaluation.results import Row


def row(machine: int, count: int | None, budget: float | None, dataset: str = "A", seed: int = 0, k: int = 0) -> Row:
    return Row(
        dataset=dataset,
        machine=f"m{machine}",
        cluster=f"c{machine}",
        method="appliance",
        k=k,
        seed=seed,
        draw=0,
        tail="whole",
        hops=10,
        events=1,
        false_alerts=count,
        budget_alerts=budget,
    )


def test_the_ratio_pools_alerts_and_the_shares_count_machines() -> None:
    (kept,) = false_alerts([row(0, 1, 1.0), row(1, 0, 2.0), row(2, 30, 10.0), row(3, 7, 7.0)], "all")
    assert (kept.dataset, kept.budget, kept.realised, kept.budgeted) == ("A", "week", 38, 20)
    assert kept.ratio.value == pytest.approx(1.9)
    assert kept.within.value == 0.5
    assert (kept.enough_machines, kept.within_enough) == (2, 0.5)
    assert kept.consistent.value == 0.75


def test_unknown_counts_labelled_rows_and_time_not_watched_stay_out() -> None:
    rows = [row(0, None, 1.0), row(1, 3, None), row(2, 0, 0.0), row(3, 9, 1.0, k=2)]
    assert false_alerts(rows, "all") == []
    (kept,) = false_alerts([*rows, row(4, 1, 1.0)], "all")
    assert (kept.within.machines, kept.within_enough) == (1, None)


def test_seeds_of_a_machine_count_as_one_machine() -> None:
    (kept,) = false_alerts([row(0, 0, 1.0), row(0, 1, 1.0, seed=1), row(1, 1, 1.0)], "all")
    assert (kept.realised, kept.budgeted, kept.within.value, kept.within.machines) == (1.5, 2.0, 0.75, 2)


def test_all_datasets_stand_together_where_there_are_several() -> None:
    kept = false_alerts([row(0, 1, 1.0), row(0, 3, 1.0, "B")], "all")
    assert [(each.dataset, each.ratio.value) for each in kept] == [("A", 1.0), ("B", 3.0), ("all", 2.0)]


def test_the_shares_of_a_perfect_threshold_are_those_of_a_poisson_process() -> None:
    assert within_if_perfect(1.0) == pytest.approx(np.exp(-1))
    assert within_if_perfect(2.0) == pytest.approx(np.exp(-2) * (2 + 2 + 4 / 3))
    counts = np.random.default_rng(0).poisson(5.0, 100_000)
    low, high = poisson_range(5.0)
    assert [float(low), float(high)] == [1, 10]
    assert is_within(counts, 5.0).mean() == pytest.approx(within_if_perfect(5.0), abs=0.005)
    assert ((low <= counts) & (counts <= high)).mean() == pytest.approx(consistent_if_perfect(5.0), abs=0.005)


@given(st.floats(0.01, 1000.0))
def test_chance_explains_at_least_what_it_promises(budget: float) -> None:
    assert 0.95 - 1e-9 <= consistent_if_perfect(budget) <= 1
    assert 0 <= within_if_perfect(budget) <= 1


def test_a_budget_is_counted_only_if_both_sides_are_known() -> None:
    assert counted(row(0, 2, 1.5), "week") == (2, 1.5)
    assert counted(row(0, 2, 1.5), "day") is None
