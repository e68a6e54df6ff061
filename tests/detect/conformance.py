"""What every evidence detector must do, as one list of checks that takes any detector."""

from collections.abc import Callable

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector
from appliance.detect.normalise import Normaliser
from appliance.detect.windows import FeatureScale, Windows, cut
from appliance.records import Floats

LENGTH, HOP = 32, 8
MAX_BYTES_PER_CHANNEL = 64 * 1024

Make = Callable[[], EvidenceDetector]


def machine_signal(cells: int, channels: int, seed: int) -> Floats:
    """A machine in shifts: a shared daily load, each channel with its own gain, lag and noise. [channel, time]."""
    rng = np.random.default_rng(seed)
    load = np.sin(2 * np.pi * np.arange(cells + channels) / 288) + 0.3 * np.sin(
        2 * np.pi * np.arange(cells + channels) / 17
    )
    gains = rng.uniform(0.5, 2.0, channels)
    lagged = np.stack([load[channel : channel + cells] for channel in range(channels)])
    return 20.0 + gains[:, None] * lagged + 0.2 * rng.normal(size=(channels, cells))


class Scales:
    """What turns a machine's raw series into the windows that a detector sees."""

    def __init__(self, series: Floats) -> None:
        self.normaliser = Normaliser(series, rate=0.0)
        self.features = FeatureScale(self.normaliser.apply(cut(series, LENGTH, HOP)))

    def stack(self, series: Floats) -> Windows:
        windows = self.normaliser.apply(cut(series, LENGTH, HOP))
        self.features.apply(windows)
        return windows


def fitted(make: Make, channels: int, seed: int = 3) -> tuple[EvidenceDetector, Scales, Floats]:
    series = machine_signal(4000, channels, seed)
    scales = Scales(series)
    detector = make()
    detector.fit(scales.stack(series), seed=0)
    return detector, scales, series


def leaves_its_input_alone(make: Make) -> None:
    detector, scales, series = fitted(make, 4)
    windows = scales.stack(series[:, :800])
    before = windows.values.copy()
    first = detector.oddity(windows).values
    second = detector.oddity(scales.stack(series[:, :800])).values
    assert np.array_equal(windows.values, before), "oddity wrote into the windows"
    assert np.array_equal(first, second), "judging the same windows twice gave two answers"


def is_deterministic(make: Make) -> None:
    (one, scales, series), (other, _, _) = fitted(make, 3), fitted(make, 3)
    windows = scales.stack(series)
    assert np.array_equal(one.oddity(windows).values, other.oddity(windows).values), (
        "two fits on the same windows differ"
    )


def treats_windows_alone(make: Make) -> None:
    detector, scales, series = fitted(make, 4)
    windows = scales.stack(series[:, :600])
    together = detector.oddity(windows).values
    alone = [detector.oddity(windows[slice(i, i + 1)]).values[0] for i in range(len(windows))]
    np.testing.assert_allclose(together, alone, rtol=1e-9, atol=1e-9, err_msg="the batch changes a window's oddity")


def speaks_for_any_number_of_channels(make: Make) -> None:
    for channels in (1, 2, 100):
        detector, scales, series = fitted(make, channels)
        oddity = detector.oddity(scales.stack(series[:, :400]))
        assert oddity.values.shape == (47,)
        assert np.isfinite(oddity.values).all()
        if oddity.by_channel is not None:
            assert oddity.by_channel.shape == (47, channels)
            assert (oddity.by_channel >= 0).all(), "a channel cannot add less than nothing"


def bears_gaps(make: Make) -> None:
    detector, scales, series = fitted(make, 6)
    rng = np.random.default_rng(1)
    holey = series[:, :800].copy()
    holey[rng.random(holey.shape) < 0.3] = np.nan
    holey[2] = np.nan
    oddity = detector.oddity(scales.stack(holey))
    assert np.isfinite(oddity.values).all()
    if oddity.by_channel is not None:
        assert np.isfinite(oddity.by_channel).all()
        assert (oddity.by_channel[:, 2] == 0).all(), "a channel without readings was blamed"


def takes_no_alarm_from_a_silent_channel(make: Make) -> None:
    detector, scales, series = fitted(make, 6)
    normal = detector.oddity(scales.stack(series)).values
    silent = series.copy()
    silent[2] = np.nan
    oddity = detector.oddity(scales.stack(silent)).values
    assert np.median(oddity) <= np.quantile(normal, 0.9), "a silent channel looks like a fault of the machine"


def bears_constant_and_stuck_channels(make: Make) -> None:
    series = machine_signal(3000, 4, seed=5)
    series[1] = 7.0
    series[2] = 0.0
    scales = Scales(series)
    detector = make()
    detector.fit(scales.stack(series), seed=0)
    stuck = series[:, :400].copy()
    stuck[0] = stuck[0, 0]
    for judged in (series[:, :400], stuck):
        assert np.isfinite(detector.oddity(scales.stack(judged)).values).all()


def hears_a_large_step(make: Make) -> None:
    detector, scales, series = fitted(make, 5)
    normal = detector.oddity(scales.stack(machine_signal(3000, 5, seed=3))).values
    spread = np.subtract(*np.quantile(series[3], (0.75, 0.25)))
    stepped = series[:, :LENGTH].copy()
    stepped[3, LENGTH // 3 :] += 12 * spread
    oddity = detector.oddity(scales.stack(stepped)).values[0]
    assert oddity > np.quantile(normal, 0.99), "a step of twelve spreads is not odd"


def hears_a_large_step_after_a_strange_warm_up(make: Make) -> None:
    clean = machine_signal(4000, 5, seed=3)
    spread = np.subtract(*np.quantile(clean, (0.75, 0.25), axis=1))
    series = clean.copy()
    for begin in (700, 1900, 3100):  # 200 cells, one in twenty
        series[1, begin : begin + 67] += 40 * spread[1]
    scales = Scales(series)
    detector = make()
    detector.fit(scales.stack(series), seed=0)
    normal = detector.oddity(scales.stack(clean)).values
    stepped = clean[:, :LENGTH].copy()
    stepped[3, LENGTH // 3 :] += 10 * spread[3]
    oddity = detector.oddity(scales.stack(stepped)).values[0]
    assert oddity > np.quantile(normal, 0.99), "a twentieth of strange warm-up hides a step of ten spreads"


def bears_a_channel_that_wakes_up(make: Make) -> None:
    series = machine_signal(4000, 4, seed=5)
    asleep = series.copy()
    asleep[1] = 20.0
    scales = Scales(asleep)
    detector = make()
    detector.fit(scales.stack(asleep), seed=0)
    awake = detector.oddity(scales.stack(series[:, :400]))
    assert np.isfinite(awake.values).all()
    if awake.by_channel is not None:
        assert np.isfinite(awake.by_channel).all()


def stays_small(make: Make) -> None:
    detector, _, series = fitted(make, 5)
    size = sum(np.asarray(value).nbytes for part in detector.snapshot() for value in part.values())
    assert size <= MAX_BYTES_PER_CHANNEL * len(series), f"{size} bytes for {len(series)} channels"


def comes_back_from_its_snapshot(make: Make) -> None:
    detector, scales, series = fitted(make, 3)
    windows = scales.stack(series)
    again = type(detector).restore(*detector.snapshot())
    assert np.array_equal(detector.oddity(windows).values, again.oddity(windows).values), (
        "restored, it judges differently"
    )


CHECKS: tuple[Callable[[Make], None], ...] = (
    leaves_its_input_alone,
    is_deterministic,
    treats_windows_alone,
    speaks_for_any_number_of_channels,
    bears_gaps,
    takes_no_alarm_from_a_silent_channel,
    bears_constant_and_stuck_channels,
    bears_a_channel_that_wakes_up,
    hears_a_large_step,
    hears_a_large_step_after_a_strange_warm_up,
    stays_small,
    comes_back_from_its_snapshot,
)
