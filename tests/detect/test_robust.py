"""Quantiles of many columns at once are those of each column alone."""

from __future__ import annotations

import numpy as np

from appliance.detect.robust import quantiles

SHARES = (0.02, 0.25, 0.5, 0.75, 0.98)


def test_columns_with_gaps_and_without_have_the_quantiles_of_what_is_known() -> None:
    values = np.random.default_rng(3).normal(size=(70, 4, 6))
    values[::3, 1, 2] = np.nan
    values[1:, 3, 0] = np.nan
    np.testing.assert_array_equal(quantiles(values, SHARES), np.nanquantile(values, SHARES, axis=0))


def test_without_any_gap_they_are_the_plain_ones() -> None:
    values = np.random.default_rng(4).normal(size=(31, 5))
    np.testing.assert_array_equal(quantiles(values, SHARES), np.quantile(values, SHARES, axis=0))
