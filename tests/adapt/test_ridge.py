"""The fits behind the default head."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.adapt.adapters.base import examples_of
from appliance.adapt.adapters.ridge import Ridge, logistic_regression, shares_of
from appliance.adapt.adapters.task import Task, task_of
from appliance.adapt.prior import Prior
from appliance.adapt.support import Span
from appliance.detect.head import Linear
from tests.adapt.test_adapters import SPANS, support

FAULTS, OTHERS, COLUMNS = 12, 60, 5


def task(seed: int = 0) -> Task:
    """Faults stand out in two columns, and weigh as much as all others."""
    rng = np.random.default_rng(seed)
    features = rng.exponential(size=(OTHERS + FAULTS, COLUMNS))
    features[OTHERS:, :2] += 2.0
    is_fault = np.repeat([0.0, 1.0], [OTHERS, FAULTS])
    return Task(features, is_fault, np.repeat([0.5 / OTHERS, 0.5 / FAULTS], [OTHERS, FAULTS]))


@pytest.mark.parametrize("penalty", [3.0, 0.3, 0.003])
def test_the_regression_is_that_of_scikit_learn(penalty: float) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    given = task()
    model = linear_model.LogisticRegression(C=1.0 / penalty, tol=1e-10, max_iter=1000)
    model.fit(given.features, given.is_fault, sample_weight=given.weight)
    expected: NDArray[np.float64] = model.coef_[0]
    assert logistic_regression(given, penalty) == pytest.approx(expected, abs=1e-5)


def test_the_regression_ends_where_a_column_tells_all_or_nothing() -> None:
    given = task()
    given.features[:, 0] = 100.0 * given.is_fault
    given.features[:, 1] = 0.0
    weights = logistic_regression(given, 1e-3)
    assert np.isfinite(weights).all()
    assert weights[0] > 0.0 == weights[1]


def test_the_order_of_windows_means_nothing_to_the_regression() -> None:
    given, order = task(), np.random.default_rng(1).permutation(OTHERS + FAULTS)
    shuffled = Task(*(each[order] for each in given))
    assert logistic_regression(shuffled, 0.1) == pytest.approx(logistic_regression(given, 0.1), abs=1e-9)


@pytest.mark.parametrize("k", [1, 2, 3, 7, 10, 50])
def test_the_parts_share_everything(k: int) -> None:
    shares = shares_of(Prior(), k)
    assert sum(shares) == pytest.approx(1.0)
    assert min(shares) >= 0.0
    assert (shares[-1] > 0.0) == (k > 1)


def test_each_label_lightens_the_penalty_of_the_regression() -> None:
    examples, _ = examples_of(support(SPANS))
    *_, regression = Ridge().parts(Prior(), examples)[0]
    assert isinstance(regression, Linear)
    lightened = logistic_regression(task_of(examples, 512).ranked, Prior().logistic / len(SPANS))
    assert regression.by_rank == pytest.approx(lightened, abs=1e-9)
    assert not regression.by_loudness.any()


def test_events_are_in_the_order_of_time_whatever_was_said_first() -> None:
    said = [Span(200, 210, "fault"), Span(20, 30, "fault"), Span(120, 130, "fault")]
    assert [int(event[0]) for event in support(said).events] == [20, 120, 200]
