"""What every evidence detector must do, as one list of checks that takes any detector."""

from collections.abc import Callable

import numpy as np

from appliance.detect.evidence.base import EvidenceDetector
from appliance.detect.normalise import Normaliser
from appliance.detect.windows import Windows, cut
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


def stacked(series: Floats, normaliser: Normaliser) -> Windows:
    return normaliser.apply(cut(series, LENGTH, HOP))


def fitted(make: Make, channels: int, seed: int = 3) -> tuple[EvidenceDetector, Normaliser, Floats]:
    series = machine_signal(4000, channels, seed)
    normaliser = Normaliser(series, rate=0.0)
    detector = make()
    detector.fit(stacked(series, normaliser), seed=0)
    return detector, normaliser, series


def leaves_its_input_alone(make: Make) -> None:
    detector, normaliser, series = fitted(make, 4)
    windows = stacked(series[:, :800], normaliser)
    before = windows.values.copy()
    first = detector.oddity(windows).values
    second = detector.oddity(stacked(series[:, :800], normaliser)).values
    assert np.array_equal(windows.values, before), "oddity wrote into the windows"
    assert np.array_equal(first, second), "judging the same windows twice gave two answers"


def is_deterministic(make: Make) -> None:
    (one, normaliser, series), (other, _, _) = fitted(make, 3), fitted(make, 3)
    windows = stacked(series, normaliser)
    assert np.array_equal(one.oddity(windows).values, other.oddity(windows).values), (
        "two fits on the same windows differ"
    )


def treats_windows_alone(make: Make) -> None:
    detector, normaliser, series = fitted(make, 4)
    windows = stacked(series[:, :600], normaliser)
    together = detector.oddity(windows).values
    alone = [detector.oddity(windows[slice(i, i + 1)]).values[0] for i in range(len(windows))]
    np.testing.assert_allclose(together, alone, rtol=1e-9, atol=1e-9, err_msg="the batch changes a window's oddity")


def speaks_for_any_number_of_channels(make: Make) -> None:
    for channels in (1, 2, 100):
        detector, normaliser, series = fitted(make, channels)
        oddity = detector.oddity(stacked(series[:, :400], normaliser))
        assert oddity.values.shape == (47,)
        assert np.isfinite(oddity.values).all()
        if oddity.by_channel is not None:
            assert oddity.by_channel.shape == (47, channels)
            assert (oddity.by_channel >= 0).all(), "a channel cannot add less than nothing"


def bears_gaps(make: Make) -> None:
    detector, normaliser, series = fitted(make, 6)
    rng = np.random.default_rng(1)
    holey = series[:, :800].copy()
    holey[rng.random(holey.shape) < 0.3] = np.nan
    holey[2] = np.nan
    oddity = detector.oddity(stacked(holey, normaliser))
    assert np.isfinite(oddity.values).all()
    if oddity.by_channel is not None:
        assert np.isfinite(oddity.by_channel).all()
        assert (oddity.by_channel[:, 2] == 0).all(), "a channel without readings was blamed"


def takes_no_alarm_from_a_silent_channel(make: Make) -> None:
    detector, normaliser, series = fitted(make, 6)
    normal = detector.oddity(stacked(series, normaliser)).values
    silent = series.copy()
    silent[2] = np.nan
    oddity = detector.oddity(stacked(silent, normaliser)).values
    assert np.median(oddity) <= np.quantile(normal, 0.9), "a silent channel looks like a fault of the machine"


def bears_constant_and_stuck_channels(make: Make) -> None:
    series = machine_signal(3000, 4, seed=5)
    series[1] = 7.0
    series[2] = 0.0
    normaliser = Normaliser(series, rate=0.0)
    detector = make()
    detector.fit(stacked(series, normaliser), seed=0)
    stuck = series[:, :400].copy()
    stuck[0] = stuck[0, 0]
    for judged in (series[:, :400], stuck):
        assert np.isfinite(detector.oddity(stacked(judged, normaliser)).values).all()


def hears_a_large_step(make: Make) -> None:
    detector, normaliser, series = fitted(make, 5)
    normal = detector.oddity(stacked(machine_signal(3000, 5, seed=3), normaliser)).values
    spread = np.subtract(*np.quantile(series[3], (0.75, 0.25)))
    stepped = series[:, :LENGTH].copy()
    stepped[3, LENGTH // 3 :] += 12 * spread
    oddity = detector.oddity(stacked(stepped, normaliser)).values[0]
    assert oddity > np.quantile(normal, 0.99), "a step of twelve spreads is not odd"


def stays_small(make: Make) -> None:
    detector, _, series = fitted(make, 5)
    size = sum(np.asarray(value).nbytes for part in detector.snapshot() for value in part.values())
    assert size <= MAX_BYTES_PER_CHANNEL * len(series), f"{size} bytes for {len(series)} channels"


def comes_back_from_its_snapshot(make: Make) -> None:
    detector, normaliser, series = fitted(make, 3)
    windows = stacked(series, normaliser)
    for i in range(150):
        detector.learn(windows[slice(i, i + 1)])
    again = type(detector).restore(*detector.snapshot())
    for i in range(150, 200):
        one = windows[slice(i, i + 1)]
        assert np.array_equal(detector.oddity(one).values, again.oddity(one).values), "restored, it judges differently"
        detector.learn(one)
        again.learn(one)


CHECKS: tuple[Callable[[Make], None], ...] = (
    leaves_its_input_alone,
    is_deterministic,
    treats_windows_alone,
    speaks_for_any_number_of_channels,
    bears_gaps,
    takes_no_alarm_from_a_silent_channel,
    bears_constant_and_stuck_channels,
    hears_a_large_step,
    stays_small,
    comes_back_from_its_snapshot,
)
