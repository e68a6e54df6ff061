from __future__ import annotations

import numpy as np
import pytest

from appliance.detect.drift import Drift
from appliance.store import packing

QUIET, CHANGED = 0.2, 0.35


def statistic(windows: int, *, changes_at: int | None = None) -> list[float]:
    values = QUIET + 0.1 * np.random.default_rng(2).random(windows)
    if changes_at is not None:
        values[changes_at:] += CHANGED - QUIET
    return [float(value) for value in values]


def changes(drift: Drift, values: list[float]) -> list[int]:
    return [number for number, value in enumerate(values) if drift.take(value)]


def test_what_stays_the_same_is_no_change() -> None:
    assert changes(Drift(4), statistic(8000)) == []


def test_a_change_of_the_mean_is_noticed_soon_after_it() -> None:
    (first, *_) = changes(Drift(4), statistic(8000, changes_at=4000))
    assert 4000 < first < 4800


def test_after_a_reset_another_level_is_no_change() -> None:
    drift = Drift(4)
    assert changes(drift, statistic(4000)) == []
    drift.reset()
    assert changes(drift, statistic(4000, changes_at=0)) == []


@pytest.mark.parametrize("cut", [3, 1999, 4203, 5001])
def test_a_restart_notices_the_same_changes(cut: int) -> None:
    """Before and after the numbers that are remembered were thinned out, and in the middle of one."""
    values = statistic(8000, changes_at=4200)
    whole, resumed = Drift(4), Drift(4)
    changes(whole, values[:cut])
    resumed.restore(packing.unpack(packing.pack(whole.snapshot())))
    assert changes(resumed, values[cut:]) == changes(whole, values[cut:])
    assert packing.pack(resumed.snapshot()) == packing.pack(whole.snapshot())


def test_what_is_saved_stays_small() -> None:
    drift = Drift(1)
    changes(drift, statistic(5000))
    assert len(packing.pack(drift.snapshot())) < 5000
