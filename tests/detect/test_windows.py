"""What is made of windows is made once, whatever is chosen of them, and the same a few at a time as all at once."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.detect.windows import FeatureScale, Windows
from appliance.records import Floats


def some(count: int, channels: int, gaps: bool) -> Windows:
    rng = np.random.default_rng(5)
    values = rng.normal(size=(count, channels, 64))
    windows = Windows(values, rng.random(values.shape) > 0.1 if gaps else None)
    FeatureScale(windows).apply(windows)
    return windows


@pytest.mark.parametrize("gaps", [False, True])
def test_made_of_a_few_at_a_time_it_is_what_is_made_of_all(gaps: bool) -> None:
    windows = some(300, 20, gaps)  # more than one part
    np.testing.assert_array_equal(windows.by_parts(Windows.features), windows.features())


def test_what_was_made_of_all_is_not_made_again_of_those_chosen() -> None:
    calls = 0

    def highest(windows: Windows) -> Floats:
        nonlocal calls
        calls += 1
        peaks: Floats = windows.values.max(axis=2)
        return peaks

    windows = some(30, 3, gaps=False)
    odd, first = windows[np.arange(1, 30, 2)], windows[:5]
    np.testing.assert_array_equal(odd.each(highest), windows.values[1::2].max(axis=2))
    np.testing.assert_array_equal(first.each(highest), windows.values[:5].max(axis=2))
    np.testing.assert_array_equal(odd[:3].each(highest), windows.values[1:7:2].max(axis=2))
    assert calls == 1


def test_what_is_made_of_all_together_is_made_anew_of_those_chosen() -> None:
    windows = some(30, 3, gaps=False)

    def total(windows: Windows) -> float:
        return float(windows.values.sum())

    assert windows.once(total) == windows.once(total) == windows.values.sum()
    assert windows[:5].once(total) == windows.values[:5].sum()
