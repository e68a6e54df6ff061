"""The calibration spends the false-alarm budget on stationary machines and says when it extrapolates."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from appliance.detect.calibrate import Calibrator, Threshold, block_windows
from appliance.detect.pareto import Tail
from appliance.records import Floats

BLOCK, CONFIRM, OF = 8, 2, 3
WEEK, DAY = 1 / 504, 1 / 72
"""One alert a week and one a day where a window comes every twenty minutes."""


def strangeness(n: int, seed: int) -> Floats:
    """Like the mean of ln(1 + evidence) of overlapping windows: skewed, and correlated over some ten windows.

    How much evidence there is and for how long windows resemble each other differs from machine to machine.
    """
    rng = np.random.default_rng(seed)
    kinds, memory = int(rng.choice([6, 8, 16, 40])), float(rng.uniform(0.5, 0.9))
    innovation = rng.normal(size=(kinds, n + 100))
    normal = lfilter([np.sqrt(1 - memory**2)], [1, -memory], innovation, axis=1)[:, 100:]
    mixed: Floats = np.log1p(np.square(normal) / 2).mean(axis=0)
    return mixed


def alerts(calibrator: Calibrator, values: Floats, per_window: float) -> int:
    """Let a calibrator watch windows as a machine does: N of M open an alert, M quiet ones close it."""
    recent: list[bool] = []
    count, is_open = 0, False
    for value in values.tolist():
        above = calibrator.score(value)[0] >= calibrator.threshold(per_window).score
        if not above and not is_open:
            calibrator.learn(value)
        recent = [*recent[1 - OF :], above]
        if is_open:
            is_open = any(recent)
            continue
        is_open = sum(recent) >= CONFIRM
        count += is_open
        calibrator.spend(is_open, per_window)
    return count


def is_kept(made: type[Calibrator], per_window: float, machines: int, budgeted: int = 20) -> bool:
    """Whether stationary machines raise about the alerts that were asked for: in the sum, and four of five of them."""
    warm_up, windows = 504, round(budgeted / per_window)
    ratios = []
    for seed in range(machines):
        values = strangeness(warm_up + windows, seed)
        calibrator = made(values[:warm_up], BLOCK, CONFIRM, OF)
        ratios.append(alerts(calibrator, values[warm_up:], per_window) / budgeted)
    within = sum(0.5 <= ratio <= 1.5 for ratio in ratios)
    return 0.7 * machines <= sum(ratios) <= 1.4 * machines and within >= 0.8 * machines


class Deaf(Calibrator):
    """Never hears of alerts, and asks for three times as many as are wanted."""

    def threshold(self, alarms_per_window: float) -> Threshold:
        return super().threshold(3 * alarms_per_window)

    def spend(self, alerted: bool, alarms_per_window: float) -> float:
        return 0.0


class Contrary(Calibrator):
    """Lowers the threshold where it should raise it."""

    def spend(self, alerted: bool, alarms_per_window: float) -> float:
        return super().spend(not alerted, 1.0 - alarms_per_window)


@pytest.mark.parametrize(("per_window", "machines"), [(WEEK, 10), (DAY, 50)])
def test_false_alarms_on_stationary_machines_are_near_the_budget(per_window: float, machines: int) -> None:
    assert is_kept(Calibrator, per_window, machines)


@pytest.mark.parametrize("broken", [Deaf, Contrary])
def test_a_broken_calibrator_does_not_keep_the_budget(broken: type[Calibrator]) -> None:
    assert not is_kept(broken, DAY, 10)


@pytest.mark.parametrize("change", [1.15, 0.9])
def test_the_budget_is_kept_where_machines_become_more_restless_or_calmer(change: float) -> None:
    realised = 0
    for seed in range(10):
        values = strangeness(504 + 2880, seed)
        calibrator = Calibrator(values[:504], BLOCK, CONFIRM, OF)
        realised += alerts(calibrator, change * values[504:], DAY)
    assert 0.5 <= realised / 400 <= 1.5


def test_what_was_spent_is_given_back_and_no_more() -> None:
    """Beyond its bound an alert costs nothing, and so gives nothing back."""
    calibrator = Calibrator(strangeness(2000, 1), BLOCK, CONFIRM, OF)
    spent = [calibrator.spend(True, WEEK) for _ in range(10)]
    assert sum(spent) == pytest.approx(calibrator.correction)
    calibrator.give_back(sum(spent))
    assert calibrator.correction == pytest.approx(0.0)


def test_a_threshold_is_lowered_by_steps_to_its_bound() -> None:
    calibrator = Calibrator(strangeness(2000, 1), BLOCK, CONFIRM, OF)
    before, steps = calibrator.threshold(WEEK).score, [calibrator]
    while (lower := steps[-1].lowered()) is not None:
        steps.append(lower)
    thresholds = [each.threshold(WEEK).score for each in steps]
    assert thresholds == sorted(set(thresholds), reverse=True)
    assert thresholds[-1] == pytest.approx(before - 1.0)
    assert calibrator.threshold(WEEK).score == before


def test_what_was_given_back_is_taken_again_by_steps_and_no_further() -> None:
    calibrator = Calibrator(strangeness(2000, 1), BLOCK, CONFIRM, OF)
    calibrator.give_back(0.6)
    steps = [calibrator]
    while (higher := steps[-1].raised(0.0)) is not None:
        steps.append(higher)
    assert [each.correction for each in steps] == pytest.approx([-0.6, -0.35, -0.1, 0.0])
    assert calibrator.raised(-0.6) is None


def test_alerts_raise_the_threshold_and_quiet_lowers_it_both_within_bounds() -> None:
    calibrator = Calibrator(strangeness(2000, 1), BLOCK, CONFIRM, OF)
    before = calibrator.threshold(WEEK).score
    calibrator.spend(True, WEEK)
    once = calibrator.threshold(WEEK).score - before
    assert 0.3 < once < 0.6
    for _ in range(503):
        calibrator.spend(False, WEEK)
    assert calibrator.threshold(WEEK).score == pytest.approx(before, abs=1e-3)
    for _ in range(1000):
        calibrator.spend(True, WEEK)
    assert calibrator.threshold(WEEK).score == pytest.approx(before + 1.5)
    for _ in range(10_000):
        calibrator.spend(False, WEEK)
    assert calibrator.threshold(WEEK).score == pytest.approx(before - 1.0)


@pytest.mark.parametrize("cut", [1, 100, 777])
def test_restored_anywhere_it_goes_on_bit_for_bit(cut: int) -> None:
    values = strangeness(2500, 5)
    whole = Calibrator(values[:500], BLOCK, CONFIRM, OF)
    alerts(whole, values[500 : 500 + cut], DAY)
    restored = Calibrator.restore(*whole.snapshot())
    assert alerts(restored, values[500 + cut :], DAY) == alerts(whole, values[500 + cut :], DAY)
    assert restored.threshold(WEEK) == whole.threshold(WEEK)
    assert restored.score(1.0) == whole.score(1.0)


def test_what_is_missing_until_the_budget_was_seen_shrinks_by_every_window() -> None:
    values = strangeness(2000, 2)
    calibrator = Calibrator(values[:200], BLOCK, CONFIRM, OF)  # 25 blocks
    needs = calibrator.threshold(WEEK).needs_windows
    assert needs == pytest.approx(504 - 200, abs=2 * BLOCK)
    for count, value in enumerate(values[200 : 200 + needs], start=1):
        assert calibrator.threshold(WEEK).extrapolated
        calibrator.learn(value)
        assert calibrator.threshold(WEEK).needs_windows == needs - count
    assert not calibrator.threshold(WEEK).extrapolated


@pytest.mark.parametrize("n", [1, 2, 5, 30, 512])
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_a_tail_is_finite_and_falls_whatever_the_sample(n: int, spread: float) -> None:
    sample = (0.5 + spread * np.random.default_rng(n).gamma(3.0, 0.1, n)).astype(np.float32)
    tail = Tail(sample, 1e-3)
    levels = [tail.level(log_share) for log_share in np.linspace(0.0, -30.0, 301).tolist()]
    assert np.isfinite(levels).all()
    assert all(low <= high for low, high in pairwise(levels))
    assert levels[-1] > levels[100] > levels[30]
    for level in levels[30:]:
        assert tail.level(tail.log_share(level)) == pytest.approx(level)


def test_a_short_sample_promises_less_than_a_long_one() -> None:
    """The predictive distribution: what is not known of the tail counts as more of it."""
    quantiles = -0.1 * np.log1p(-np.arange(1, 501) / 501)
    short, long = (Tail(sample.astype(np.float32), 1e-3) for sample in (quantiles[12::25], quantiles))
    assert short.level(np.log(1e-3)) > long.level(np.log(1e-3)) + 0.05


def test_a_dozen_restless_blocks_do_not_put_the_threshold_out_of_reach() -> None:
    """The prior of the scale: strangeness is a mean of logarithms, and hardly ever comes to ten."""
    short, long = (
        np.median([Tail(restless(blocks, seed), 1e-3).level(np.log(1e-4)) for seed in range(20)])
        for blocks in (15, 300)
    )
    assert 0.5 * long < short < 1.5 * long


def restless(blocks: int, seed: int) -> NDArray[np.float32]:
    return (0.8 + np.random.default_rng(seed).exponential(0.8, blocks)).astype(np.float32)


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
