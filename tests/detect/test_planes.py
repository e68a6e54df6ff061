import numpy as np

from appliance.detect.normalise import Normaliser
from appliance.detect.planes import PLANES, PlaneScale
from appliance.detect.windows import Windows, cut
from tests.detect.conformance import HOP, LENGTH, machine_signal


def windows_of(channels: int, *, missing: int | None = None) -> Windows:
    series = machine_signal(2000, channels, seed=3)
    normaliser = Normaliser(series, rate=0.0)
    if missing is not None:
        series = series.copy()
        series[missing] = np.nan
    return normaliser.apply(cut(series, LENGTH, HOP))


def test_planes_of_normal_windows_lie_on_one_small_scale() -> None:
    windows = windows_of(5)
    planes = PlaneScale(windows, seed=0).of(windows)
    assert planes.cells.shape == (len(windows), 5, PLANES, LENGTH)
    spread = planes.cells.std(axis=(0, 1, 3))
    assert ((spread > 0.2) & (spread < 2.0)).all(), spread
    assert np.abs(planes.cells).max() < 6.0


def test_a_single_channel_has_no_residual_and_all_other_planes() -> None:
    windows = windows_of(1)
    spread = PlaneScale(windows, seed=0).of(windows).cells.std(axis=(0, 1, 3))
    assert spread[3] < 1e-6
    assert (spread[:3] > 0.2).all()


def test_where_there_is_no_reading_planes_are_zero_and_what_stood_there_does_not_matter() -> None:
    scale = PlaneScale(windows_of(4), seed=0)
    silent = windows_of(4, missing=2)
    planes = scale.of(silent)
    assert not planes.cells[:, 2].any()
    assert not planes.mask[:, 2].any()
    assert silent.mask is not None
    filled = Windows(np.where(silent.mask, silent.values, 7.0), silent.mask)
    np.testing.assert_allclose(scale.of(filled).cells, planes.cells, atol=1e-6)


def test_a_broken_relation_shows_in_the_residual_alone() -> None:
    warm_up = windows_of(6)
    scale = PlaneScale(warm_up, seed=0)
    broken = warm_up.values.copy()
    broken[:, 0] = broken[::-1, 0]
    usual, strange = (np.abs(scale.of(each).cells[:, 0]).mean(axis=(0, 2)) for each in (warm_up, Windows(broken)))
    assert strange[3] > 1.3 * usual[3]
    np.testing.assert_allclose(strange[:3], usual[:3], rtol=0.05)


def test_it_comes_back_from_a_snapshot_bit_for_bit() -> None:
    windows = windows_of(4, missing=1)
    scale = PlaneScale(windows_of(4), seed=0)
    again = PlaneScale.restore(*scale.snapshot())
    np.testing.assert_array_equal(again.of(windows).cells, scale.of(windows).cells)
