"""The subspace behind three evidence detectors: the same whichever way it is found."""

import numpy as np
import pytest

from appliance.detect.evidence import subspace
from appliance.detect.evidence.subspace import Residual, principal_subspace
from appliance.records import Floats


def rows_with_structure(rows: int, dimensions: int) -> Floats:
    rng = np.random.default_rng(3)
    mixing = rng.normal(size=(3, dimensions))
    mixed: Floats = rng.normal(size=(rows, 3)) @ mixing + 0.05 * rng.normal(size=(rows, dimensions))
    return mixed


def test_of_many_dimensions_the_same_plane_is_found_among_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_with_structure(200, 60)
    exact = principal_subspace(rows, 0.95, 12)
    monkeypatch.setattr(subspace, "_MOST_DIMENSIONS", 59)
    found = principal_subspace(rows, 0.95, 12)
    np.testing.assert_allclose(found.variances, exact.variances, rtol=1e-9)
    np.testing.assert_allclose(found.components @ found.components.T, exact.components @ exact.components.T, atol=1e-9)


def test_a_sample_of_the_rows_shows_nearly_the_same_plane_of_thousands_of_dimensions() -> None:
    rows = rows_with_structure(2000, 5000)
    components = principal_subspace(rows, 0.95, 12).components
    assert components.shape == (5000, 3)
    np.testing.assert_allclose(components.T @ components, np.eye(3), atol=1e-9)
    outside = Residual(components).of_rows(rows)
    assert np.square(outside).sum() < 0.01 * np.square(rows).sum()


@pytest.mark.parametrize("rank", [1, 5])
def test_a_residual_is_the_same_by_one_product_as_by_two(rank: int) -> None:
    components = np.linalg.qr(np.random.default_rng(0).normal(size=(8, rank))).Q
    rows = np.random.default_rng(1).normal(size=(4, 6, 8))
    expected = rows - rows @ components @ components.T
    np.testing.assert_allclose(Residual(components).of_rows(rows), expected, atol=1e-12)
    np.testing.assert_allclose(
        Residual(components).of_columns(rows.swapaxes(1, 2)), expected.swapaxes(1, 2), atol=1e-12
    )
