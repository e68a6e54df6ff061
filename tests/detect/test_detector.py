"""One machine's detector: what it promises to the pipeline."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from appliance.detect import fitting
from appliance.detect.detector import Detector, DetectorOptions
from appliance.detect.evidence import subspace
from appliance.detect.state import State
from appliance.detect.windows import cut
from appliance.records import Floats, Verdict
from tests.detect.conformance import HOP, LENGTH, machine_signal

CHANNELS = 5
WARM_UP = 6000


def fit(series: Floats, **options: object) -> Detector:
    detector, _ = fitting.fit(series, length=LENGTH, hop=HOP, seed=1, options=DetectorOptions(**options))  # type: ignore[arg-type]
    return detector


@pytest.fixture(scope="module")
def series() -> Floats:
    return machine_signal(WARM_UP + 8000, CHANNELS, seed=11)


@pytest.fixture(scope="module")
def detector(series: Floats) -> Detector:
    """Shared by tests that only score."""
    return fit(series[:, :WARM_UP])


def test_a_fault_scores_far_above_normal_and_blames_its_channel(detector: Detector, series: Floats) -> None:
    fresh = cut(series[:, WARM_UP:], LENGTH, HOP)
    normal = [detector.score(window).score for window in fresh[:500]]
    for channel in range(CHANNELS):
        faulty = fresh[40].copy()
        faulty[channel, 10:] += 8.0
        verdict = detector.score(faulty)
        assert verdict.score > np.quantile(normal, 0.99) + 1
        assert verdict.extrapolated
        assert verdict.contributions.argmax() == channel
        assert verdict.contributions.sum() == pytest.approx(1.0)


def test_a_broken_relation_between_channels_is_heard_where_each_channel_looks_normal(series: Floats) -> None:
    detector = fit(series[:, :WARM_UP])
    fresh = cut(series[:, WARM_UP:], LENGTH, HOP)
    normal = np.quantile([detector.score(window).score for window in fresh[:300]], 0.99)
    strange = []
    for start in range(0, 300, 20):
        window = fresh[start].copy()
        window[1] = 2 * np.median(series[1]) - window[1]  # the same range, the opposite way round
        strange.append(detector.score(window).score)
    assert np.median(strange) > normal


def test_score_changes_nothing(series: Floats) -> None:
    detector = fit(series[:, :WARM_UP])
    before = detector.snapshot()
    window = series[:, WARM_UP : WARM_UP + LENGTH].copy()
    first = detector.score(window)
    for start in range(WARM_UP, WARM_UP + 800, 40):
        detector.score(series[:, start : start + LENGTH])
    assert_same(detector.score(window), first)
    assert flat(detector.snapshot()[0]) == flat(before[0])
    assert flat(detector.snapshot()[1]) == flat(before[1])
    assert np.array_equal(window, series[:, WARM_UP : WARM_UP + LENGTH])


def test_restored_from_its_snapshot_it_goes_on_bit_for_bit(series: Floats) -> None:
    detector = fit(series[:, :WARM_UP])
    fresh = cut(series[:, WARM_UP:], LENGTH, HOP).copy()
    fresh[::7, 2, 5:9] = np.nan
    for window in fresh[:500]:
        detector.learn(window, detector.score(window))
    model, live = detector.snapshot()
    again = Detector.restore(model, live)
    for window in fresh[500:700]:
        verdict = detector.score(window)
        assert_same(again.score(window), verdict)
        detector.learn(window, verdict)
        again.learn(window, verdict)
    assert flat(again.snapshot()[1]) == flat(detector.snapshot()[1])


def test_a_state_of_another_format_is_refused(detector: Detector) -> None:
    model, live = detector.snapshot()
    old = {name: value for name, value in model.items() if name != "format"}
    with pytest.raises(ValueError, match="format None"):
        Detector.restore(old, live)
    with pytest.raises(ValueError, match="fit it anew"):
        Detector.restore(model | {"format": 1}, live)


def test_learning_leaves_the_model_part_alone_and_the_live_part_small(series: Floats) -> None:
    wide = machine_signal(WARM_UP, 10, seed=2)
    detector = fit(wide)
    model, _ = detector.snapshot()
    for window in cut(wide, LENGTH, HOP)[:300]:
        detector.learn(window, detector.score(window))
    after, live = detector.snapshot()
    assert flat(after) == flat(model)
    assert size(live) <= 6 * 1024
    assert size(model) <= 500 * 1024


def test_two_fits_on_the_same_warm_up_agree(series: Floats, detector: Detector) -> None:
    window = series[:, -LENGTH:]
    assert_same(fit(series[:, :WARM_UP]).score(window), detector.score(window))


def test_a_few_per_cent_of_strange_warm_up_does_not_hide_faults(series: Floats) -> None:
    contaminated = series[:, :WARM_UP].copy()
    rng = np.random.default_rng(4)
    for start in rng.integers(0, WARM_UP - 60, 5):
        contaminated[rng.integers(CHANNELS), start : start + 60] += rng.choice((-8.0, 8.0))  # 5 % of the warm-up
    detector = fit(contaminated)
    fresh = cut(series[:, WARM_UP:], LENGTH, HOP)
    normal = [detector.score(window).score for window in fresh[:500]]
    faulty = fresh[100].copy()
    faulty[3, 8:] += 12.0
    assert detector.score(faulty).score > max(normal)


def test_a_silent_channel_is_neither_strange_nor_blamed(detector: Detector, series: Floats) -> None:
    fresh = cut(series[:, WARM_UP:], LENGTH, HOP)[:300]
    whole = [detector.score(window).score for window in fresh]
    silent = fresh.copy()
    silent[:, 1] = np.nan
    verdicts = [detector.score(window) for window in silent]
    assert np.median([verdict.score for verdict in verdicts]) <= np.quantile(whole, 0.9)
    assert all(verdict.contributions[1] == 0 for verdict in verdicts)


def test_a_slow_fault_is_not_learned_while_it_grows(series: Floats) -> None:
    detector = fit(series[:, :WARM_UP])
    fresh = cut(series[:, WARM_UP:], LENGTH, HOP).copy()
    threshold = detector.threshold(windows_per_week=2520, false_alarms_per_week=1).score
    growth = np.linspace(0.0, 10.0, 400)
    scores = []
    for window, drift in zip(fresh[:400], growth, strict=True):
        window[2] += drift
        verdict = detector.score(window)
        scores.append(verdict.score)
        if verdict.score < threshold:
            detector.learn(window, verdict)
    assert np.min(scores[-50:]) > threshold


def test_a_window_without_any_reading_is_refused(detector: Detector) -> None:
    with pytest.raises(ValueError, match="no reading"):
        detector.score(np.full((CHANNELS, LENGTH), np.nan))


def test_a_warm_up_too_short_says_how_much_is_needed() -> None:
    with pytest.raises(ValueError, match=r"has 18 usable windows of 32 cells, needs 32"):
        fit(machine_signal(100, 3, seed=0))


def test_nothing_to_fit_is_said_clearly() -> None:
    with pytest.raises(ValueError, match="a machine without a channel"):
        fitting.fit(np.zeros((0, 2000)), length=32, hop=1, seed=0, options=DetectorOptions())


@pytest.mark.parametrize("length", [1, 2, 7, 8])
def test_windows_may_be_a_single_cell(length: int) -> None:
    """A source that sends one message per part, or per burst, has nothing to average over."""
    series = machine_signal(1200, 3, seed=7)
    detector, _ = fitting.fit(series, length=length, hop=1, seed=1, options=DetectorOptions())
    normal = [detector.score(series[:, at : at + length]).score for at in range(800, 900)]
    faulty = series[:, -length:] + np.array([[0.0], [9.0], [0.0]])
    assert detector.score(faulty).score > max(normal)


def test_infinite_and_huge_readings_are_borne(series: Floats) -> None:
    warm_up = series[:, :3000].copy()
    warm_up[0, 100] = np.inf
    warm_up[1, 200:203] = -np.inf, np.inf, 1.7e308
    warm_up[2] = np.where(warm_up[2] > 20, 1.7e308, -1.7e308)
    detector = fit(warm_up)
    for start in (90, 180, 1000):
        window = warm_up[:, start : start + LENGTH]
        verdict = detector.score(window)
        detector.learn(window, verdict)
        assert np.isfinite(verdict.score)


def test_the_second_planned_stop_is_forgiven_and_a_new_fault_is_not(series: Floats) -> None:
    warm_up, later = series[:, :WARM_UP].copy(), series[:, WARM_UP:].copy()
    for stretch, start in ((warm_up, 2000), (later, 3000)):
        stretch[:, start : start + 120] = 5.0
    detector = fit(warm_up)
    threshold = detector.threshold(windows_per_week=1260, false_alarms_per_week=1).score
    faulty = later[:, 1000 : 1000 + LENGTH].copy()
    faulty[1] += 12.0
    assert detector.score(later[:, 3040 : 3040 + LENGTH]).score < threshold
    assert detector.score(faulty).score > threshold


@pytest.mark.parametrize("channels", [1, 2, 100])
def test_any_number_of_channels(channels: int) -> None:
    series = machine_signal(1200, channels, seed=7)
    detector = fit(series)
    verdict = detector.score(series[:, -LENGTH:])
    assert np.isfinite(verdict.score)
    assert verdict.contributions.shape == (channels,)


def test_beyond_a_number_of_channels_the_planes_of_a_sample_hear_the_same(
    monkeypatch: pytest.MonkeyPatch, detector: Detector, series: Floats
) -> None:
    monkeypatch.setattr(subspace, "_MOST_DIMENSIONS", CHANNELS - 1)
    wide = fit(series[:, :WARM_UP])
    fresh = cut(series[:, WARM_UP:], LENGTH, HOP)[:60]
    scores = np.array([[each.score(window).score for each in (detector, wide)] for window in fresh])
    assert np.abs(np.diff(scores)).mean() < 0.15
    faulty = fresh[40].copy()
    faulty[3, 10:] += 8.0
    verdict = wide.score(faulty)
    assert verdict.score > scores.max() + 1
    assert verdict.contributions.argmax() == 3


def test_channels_that_never_moved_or_never_spoke_are_borne(series: Floats) -> None:
    warm_up = series[:, :3000].copy()
    warm_up[0] = 5.0
    warm_up[1] = np.nan
    warm_up[2, ::3] = np.nan
    detector = fit(warm_up)
    calm = detector.score(warm_up[:, -LENGTH:])
    moved = warm_up[:, -LENGTH:].copy()
    moved[0] = 9.0
    alarmed = detector.score(moved)
    assert alarmed.score > calm.score + 1
    assert alarmed.contributions.argmax() == 0


def test_a_status_bit_set_for_the_first_time_is_heard_and_does_not_drown_a_fault(series: Floats) -> None:
    warm_up = series[:, :3000].copy()
    warm_up[0] = 0.0
    detector = fit(warm_up)
    calm = warm_up[:, -LENGTH:]
    bit, both = calm.copy(), calm.copy()
    bit[0] = both[0] = 1.0
    both[3] += 12.0
    assert detector.score(bit).score > detector.score(calm).score
    verdict = detector.score(both)
    assert verdict.contributions[3] > 0.25
    assert verdict.strangeness > detector.score(bit).strangeness + 0.3


@settings(max_examples=60, deadline=None)
@given(
    window=arrays.arrays(
        np.float64,
        (CHANNELS, LENGTH),
        elements=st.one_of(st.floats(-1e12, 1e12), st.just(float("nan")), st.just(0.0)),
    )
)
def test_any_window_gets_a_finite_verdict(detector: Detector, window: Floats) -> None:
    if np.isnan(window).all():
        window[0, 0] = 0.0
    verdict = detector.score(window)
    assert np.isfinite(verdict.score)
    assert verdict.score >= 0
    assert all(np.isfinite(value) and value >= 0 for value in verdict.evidence.values())
    assert (verdict.contributions >= 0).all()
    assert verdict.contributions.sum() == pytest.approx(1.0) or not verdict.contributions.any()


def size(state: State) -> int:
    """Bytes of a state."""
    return sum(size(value) if isinstance(value, dict) else np.asarray(value).nbytes for value in state.values())


def flat(state: State, prefix: str = "") -> dict[str, object]:
    """A state as comparable values."""
    flattened: dict[str, object] = {}
    for name, value in state.items():
        if isinstance(value, dict):
            flattened |= flat(value, f"{prefix}{name}.")
        else:
            flattened[prefix + name] = value.tobytes() if isinstance(value, np.ndarray) else value
    return flattened


def assert_same(one: Verdict, other: Verdict) -> None:
    assert (one.score, one.strangeness, one.extrapolated) == (other.score, other.strangeness, other.extrapolated)
    assert one.evidence == other.evidence
    assert np.array_equal(one.contributions, other.contributions)
