"""Means with their intervals."""

from __future__ import annotations

import pytest
import torch

from appliance.meta.sanity.figures import figure


def test_the_interval_is_that_of_students_t() -> None:
    found = figure("p", "u", "m", 5, [1.0, 2.0, 3.0])
    assert found.low is not None
    assert found.high is not None
    assert (found.value, found.samples) == (2.0, 3)
    assert found.high - 2.0 == pytest.approx(4.303 / 3**0.5, abs=1e-3)
    assert 2.0 - found.low == pytest.approx(found.high - 2.0)


def test_a_single_value_has_no_interval() -> None:
    found = figure("p", "u", "m", 5, torch.tensor([0.5]))
    assert (found.value, found.low, found.high) == (0.5, None, None)
