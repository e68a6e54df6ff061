"""The calibration spends the false-alarm budget on stationary machines and says when it extrapolates."""

import numpy as np
import pytest

from appliance.detect.calibrate import Calibrator, block_windows
from appliance.records import Floats

BLOCK, CONFIRM, OF = 8, 2, 3


def strangeness(n: int, seed: int) -> Floats:
    """Like the mean of ln(1 + evidence) of overlapping windows: skewed, and correlated over some ten windows."""
    rng = np.random.default_rng(seed)
    normal = np.empty((8, n))
    normal[:, 0] = rng.normal(size=8)
    for t in range(1, n):
        normal[:, t] = 0.8 * normal[:, t - 1] + 0.6 * rng.normal(size=8)
    mixed: Floats = np.log1p(np.square(normal) / 2).mean(axis=0)
    return mixed


def alarms(calibrator: Calibrator, values: Floats, per_window: float, learn: bool) -> int:
    """Runs of `CONFIRM` of `OF` windows above the threshold, those within a block of each other counted once."""
    recent: list[bool] = []
    count, last = 0, -BLOCK - 1
    for t, value in enumerate(values.tolist()):
        above = calibrator.score(value)[0] >= calibrator.threshold(per_window).score
        recent = [*recent[1 - OF :], above]
        if sum(recent) >= CONFIRM:
            count += t - last > BLOCK
            last = t
        elif learn and not above:
            calibrator.learn(value)
    return count


@pytest.mark.parametrize("learn", [False, True])
def test_false_alarms_on_stationary_machines_are_near_the_budget(learn: bool) -> None:
    per_window = 1 / 500
    realised = 0
    for seed in range(20):
        values = strangeness(7000, seed)
        calibrator = Calibrator(values[:2000], BLOCK, CONFIRM, OF)
        realised += alarms(calibrator, values[2000:], per_window, learn)
    budget = 20 * 5000 * per_window
    assert 0.5 * budget <= realised <= 2.5 * budget


def test_a_higher_strangeness_never_scores_lower() -> None:
    calibrator = Calibrator(strangeness(3000, 1), BLOCK, CONFIRM, OF)
    scores = [calibrator.score(level)[0] for level in np.linspace(0, 6, 2000)]
    assert np.all(np.diff(scores) >= -1e-12)
    assert 0 <= scores[0] < 0.1
    assert calibrator.score(50.0)[0] > 10


def test_the_threshold_says_when_the_sample_cannot_show_the_budget() -> None:
    calibrator = Calibrator(strangeness(2000, 2), BLOCK, CONFIRM, OF)  # 250 blocks
    assert not calibrator.threshold(1 / 500).extrapolated
    assert calibrator.threshold(1 / 20_000).extrapolated
    assert calibrator.threshold(1 / 1000).score == pytest.approx(3.0)


def test_a_few_strange_events_in_the_warm_up_hardly_move_the_threshold() -> None:
    values = strangeness(4000, 3)
    clean = Calibrator(values, BLOCK, CONFIRM, OF)
    strange = values.copy()
    for start in range(100, 4000, 800):
        strange[start : start + 20] += 4.0
    contaminated = Calibrator(strange, BLOCK, CONFIRM, OF)
    level = np.linspace(0, 6, 3000)
    at_budget = [level[np.searchsorted([c.score(v)[0] for v in level], 3.0)] for c in (clean, contaminated)]
    assert at_budget[1] == pytest.approx(at_budget[0], rel=0.2)


def test_a_lasting_change_of_normal_moves_the_threshold_and_not_the_score() -> None:
    values = strangeness(12_000, 4)
    calibrator = Calibrator(values[:2000], BLOCK, CONFIRM, OF)
    score, threshold = calibrator.score(1.2), calibrator.threshold(1 / 1000).score
    for value in values[2000:] * 1.3:
        calibrator.learn(value)
    assert calibrator.score(1.2) == score
    assert calibrator.threshold(1 / 1000).score > threshold + 0.2


def test_a_block_is_two_windows_long_so_that_neighbours_share_few_cells() -> None:
    assert [block_windows(64, 16), block_windows(64, 4), block_windows(30, 4), block_windows(1, 1)] == [8, 32, 16, 8]
