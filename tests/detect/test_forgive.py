"""What repeats a false alarm is forgiven, and the fewer features there are, the closer it must come."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.detect.forgive import Forgiveness, detail

USUAL, STRANGE = 1.0, 5.0


def left(features: int, off_by: float) -> float:
    """Strangeness of a window whose distance from a false alarm is so large a share of its distance from usual."""
    false_alarm = np.full((1, features), 4.0)
    forgiveness = Forgiveness(false_alarm, np.array([STRANGE]), USUAL, np.empty((0, features)))
    return float(forgiveness.forgive(false_alarm / (1.0 - off_by), np.array([STRANGE]))[0])


@pytest.mark.parametrize("features", [4, 8, 32, 400])
def test_a_repeat_is_forgiven_whatever_the_machine(features: int) -> None:
    assert left(features, 0.05) == pytest.approx(USUAL)


def test_on_one_channel_a_window_as_strange_is_not_taken_for_a_repeat() -> None:
    assert left(4, 0.25) == STRANGE
    assert left(32, 0.25) == pytest.approx(USUAL)
    assert left(32, 0.6) == STRANGE


def test_features_tell_windows_apart_up_to_a_number() -> None:
    assert [detail(features) for features in (4, 16, 32, 400)] == [0.125, 0.5, 1.0, 1.0]
