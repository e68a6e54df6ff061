from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.evaluation.bootstrap import RESAMPLES, Estimate, Stratum, estimate, pooled_ratio, resampled_sums


def stratum(values: list[float], clusters: str = "", dataset: str = "d") -> Stratum:
    names = tuple(f"m{i}" for i in range(len(values)))
    return Stratum(dataset, names, tuple(clusters) or names, np.array(values))


def test_a_constant_has_a_degenerate_interval() -> None:
    found = estimate([stratum([0.1] * 5)])
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    assert (found.machines, found.clusters) == (5, 5)


def test_the_interval_of_many_machines_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(1).normal(0.3, 0.1, 400)
    found = estimate([stratum(list(values))])
    assert found is not None
    half = 1.96 * values.std() / 20
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.001)


def test_machines_of_a_cluster_are_drawn_together() -> None:
    sums = resampled_sums(stratum([1.0, 1.0, 0.0, 0.0], "aabb"), np.array([[1.0], [1.0], [0.0], [0.0]]))
    assert sums.shape == (RESAMPLES, 1)
    assert set(sums[:, 0]) == {0.0, 2.0, 4.0}
    alone, together = (
        estimate([stratum([1.0, 1.0, 0.0, 0.0] * 8)]),
        estimate([stratum([1.0] * 16 + [0.0] * 16, "a" * 16 + "b" * 16)]),
    )
    assert alone is not None
    assert together is not None
    assert (together.low, together.high) == (0.0, 1.0)
    assert alone.low is not None
    assert alone.low > 0.2


def test_one_cluster_has_no_interval() -> None:
    assert estimate([stratum([0.1, 0.3], "aa")]) == Estimate(0.2, None, None, 2, 1)


def test_a_dataset_of_one_cluster_enters_a_mean_as_certain() -> None:
    found = estimate([stratum([0.0, 1.0, 0.0, 1.0]), stratum([0.2], dataset="e")])
    alone = estimate([stratum([0.0, 1.0, 0.0, 1.0])])
    assert found is not None
    assert alone is not None
    assert found.value == pytest.approx(0.35)
    assert alone.low is not None
    assert found.low == pytest.approx((alone.low + 0.2) / 2)


def test_every_dataset_counts_the_same_in_a_mean_and_every_alert_in_a_ratio() -> None:
    strata = [stratum([1.0] * 9), stratum([0.0], dataset="e")]
    found = estimate(strata)
    assert found is not None
    assert found.value == 0.5
    assert pooled_ratio(strata, [np.ones(9), np.ones(1)]).value == 0.9


def test_unknown_values_are_left_out() -> None:
    assert estimate([stratum([np.nan, np.nan])]) is None
    found = estimate([stratum([0.2, np.nan, 0.4], "aab")])
    assert found is not None
    assert found.value == pytest.approx(0.3)
    assert (found.machines, found.clusters) == (2, 2)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.floats(-0.5, 0.5))
def test_an_interval_holds_its_estimate_moves_with_the_values_and_turns_with_the_sign(
    values: list[float], shift: float
) -> None:
    found, moved = estimate([stratum(values)]), estimate([stratum([value + shift for value in values])])
    turned = estimate([stratum([-value for value in values])])
    assert found is not None
    assert moved is not None
    assert turned is not None
    assert found.low is not None
    assert found.high is not None
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    assert moved.low == pytest.approx(found.low + shift, abs=1e-9)
    assert (-found).low == pytest.approx(turned.low, abs=1e-9)
