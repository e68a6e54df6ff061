from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.detect.sensors import SensorCheck
from appliance.records import Floats
from appliance.simulate.simulator import MACHINES
from appliance.store import packing
from tests.detect.sensor_cases import (
    BEGIN,
    DAY,
    END,
    HOP,
    LEARNED,
    LENGTH,
    SENSOR_FAULTS,
    diagnosed,
    fault,
    fitted,
    recorded,
    well,
)

SEED = 11
BEFORE = BEGIN - 2 * LENGTH
MACHINE_FAULTS = [(kind, name) for kind, machine in MACHINES.items() for name in machine.blame]


def tame(cells: int, channels: int = 5, seed: int = 0) -> Floats:
    """Channels that swing together with noise of their own, in tenths. [channel, time]."""
    rng = np.random.default_rng(seed)
    load = np.sin(np.arange(cells) / 40)
    gains = np.arange(1, channels + 1)[:, None]
    return np.round(50 + 5 * gains * load + gains * rng.normal(size=(channels, cells)), 1)


def check_of(series: Floats, **options: tuple[int, ...]) -> SensorCheck:
    return SensorCheck(series, length=LENGTH, hop=HOP, **options)


@pytest.mark.parametrize("kind", MACHINES)
@pytest.mark.parametrize("name", SENSOR_FAULTS)
def test_a_faulty_sensor_is_named_by_its_second_window_and_no_other(kind: str, name: str) -> None:
    names, make = SENSOR_FAULTS[name]
    late, missed = [], []
    for channel, described in enumerate(MACHINES[kind].channels):
        windows = diagnosed(fitted(kind, SEED), make(kind, SEED, channel), BEFORE, END)
        assert {found for window in windows for found in window} <= {channel}
        first = next((number for number, window in enumerate(windows) if window), None)
        if first is None:
            missed.append(described.name)
            continue
        assert windows[first + 2][channel] in names
        if first * HOP + LENGTH - (BEGIN - BEFORE) > 3 * HOP:
            late.append(described.name)
    assert len(missed) + len(late) <= 2, f"missed {missed}, late {late}"


@pytest.mark.parametrize(("kind", "name"), MACHINE_FAULTS)
@pytest.mark.parametrize("shape", ["step", "ramp"])
def test_a_fault_of_the_machine_is_never_blamed_on_a_sensor(kind: str, name: str, shape: str) -> None:
    for severity in (0.4, 0.7, 1.0):
        readings = recorded(kind, SEED, fault(name, severity=severity, shape=shape))
        assert not any(diagnosed(fitted(kind, SEED), readings, BEFORE, END + 2 * LENGTH))


@pytest.mark.parametrize("kind", MACHINES)
def test_a_day_without_faults_with_its_start_and_stop_names_no_sensor(kind: str) -> None:
    assert not any(diagnosed(fitted(kind, SEED), well(kind, SEED), LEARNED, LEARNED + DAY))


def test_a_celsius_sensor_set_to_fahrenheit_has_changed_its_unit() -> None:
    for kind, machine in MACHINES.items():
        for channel in [n for n, name in enumerate(machine.channel_names) if name.endswith("_temp_c")]:
            readings = well(kind, SEED).copy()
            readings[channel, BEGIN:END] = 1.8 * readings[channel, BEGIN:END] + 32
            last = diagnosed(fitted(kind, SEED), readings, BEFORE, END)[-1]
            assert last in ({channel: "unit_change"}, {channel: "out_of_range"})


def test_a_diagnosis_lasts_as_long_as_the_fault_and_its_mask_until_the_window_is_free_of_it() -> None:
    series = tame(6000)
    for reading in (1e5, np.nan):
        readings = tame(400, seed=5)
        readings[1, 100:300] = reading
        check = check_of(series)
        for start in range(0, 400 - LENGTH, HOP):
            end = start + LENGTH
            found = check.judge(readings[:, start:end])
            if 100 + 2 * HOP <= end <= 300:
                assert set(found) == {1}
            if (end >= 100 + 2 * HOP and start < 300) or end <= 100:
                assert check.masked.tolist() == [False, end > 100, False, False, False]
        assert not check.masked.any()


def test_a_blow_far_beyond_anything_is_the_machine() -> None:
    readings = tame(400, seed=5)
    readings[1, 200:210] += 1000.0 * np.random.default_rng(5).uniform(1.0, 2.0, size=10)
    check = check_of(tame(6000))
    assert all(check.judge(readings[:, start : start + LENGTH]) == {} for start in range(0, 400 - LENGTH, HOP))


def test_a_value_that_a_channel_has_long_had_is_no_jump() -> None:
    """Zero, with a reading now and then that was known from the warm-up, but is far from usual."""
    warm_up = tame(6000)
    warm_up[1, 3000:3010] = np.arange(0.5, 5.5, 0.5)
    readings = tame(400, seed=5)
    readings[1] = 0.0
    readings[1, ::8] = 5.0
    check = check_of(warm_up)
    assert all(check.judge(readings[:, start : start + LENGTH]) == {} for start in range(0, 400 - LENGTH, HOP))


def test_bursts_to_one_side_are_work_and_not_noise() -> None:
    rng = np.random.default_rng(5)
    for both_sides in (False, True):
        readings = tame(400, seed=5)
        bursts = 150.0 * (rng.random(200) < 0.25)
        readings[1, 200:] += bursts * (rng.choice([-1.0, 1.0], size=200) if both_sides else 1.0)
        check = check_of(tame(6000))
        found = [check.judge(readings[:, start : start + LENGTH]) for start in range(0, 400 - LENGTH, HOP)]
        assert any(faults.get(1) == "noise" for faults in found) == both_sides


def test_what_all_channels_do_together_is_the_machine() -> None:
    check, readings = check_of(tame(6000)), tame(400, seed=5)
    for factor, offset in ((np.nan, 0.0), (10.0, 0.0), (0.0, readings[:, 99:100])):
        together = readings.copy()
        together[:, 100:] = factor * together[:, 100:] + offset
        assert not any(diagnosed(check, together, 0, 400))


def test_one_spoilt_message_is_no_fault_of_a_sensor() -> None:
    readings = tame(400, seed=5)
    readings[2, 200] = 65535.0
    assert not any(diagnosed(check_of(tame(6000)), readings, 0, 400))


def test_a_way_to_an_extreme_is_no_jump() -> None:
    readings = tame(400, seed=5)
    readings[2, 200:] += np.minimum(np.arange(200) * 100.0, 5000.0)
    assert not any(diagnosed(check_of(tame(6000)), readings, 0, 400))


def test_a_channel_may_hold_the_values_that_it_held_for_as_long_as_it_did() -> None:
    """A valve that is shut for two hours now and then is stuck only when it stays open at one value."""
    series, shut = tame(6000), np.arange(6000) % 1500 < 120
    series[1, shut] = 0.0
    readings = tame(400, seed=5)
    readings[1, 100:300] = 0.0
    assert not any(diagnosed(check_of(series), readings, 0, 300))
    readings[1, 100:300] = 50.3
    assert diagnosed(check_of(series), readings, 0, 300)[-1] == {1: "stuck"}


def test_a_channel_that_is_often_flat_is_stuck_only_after_far_longer_than_ever() -> None:
    rng = np.random.default_rng(0)
    series, readings = tame(6000), tame(600, seed=5)
    series[1] = np.repeat(rng.integers(40, 60, 120), 50)
    readings[1] = np.repeat(rng.integers(40, 60, 12), 50)
    readings[1, 200:] = 51.0
    windows = diagnosed(check_of(series), readings, 0, 600)
    first = next(number for number, window in enumerate(windows) if window)
    assert first * HOP + LENGTH - 200 > 75


def test_five_per_cent_of_strange_warm_up_hide_no_fault() -> None:
    series = tame(6000)
    series[1, 1000:1250] = series[1, 1000]
    series[2, 2000:2250] = -999.0
    series[3, 3000:3250] = np.nan
    check, readings = check_of(series), tame(400, seed=5)
    for channel, value, name in ((1, 50.0, "stuck"), (2, -999.0, "out_of_range"), (3, np.nan, "dropout")):
        faulty = readings.copy()
        faulty[channel, 200:] = value
        assert diagnosed(check, faulty, 0, 400)[-1] == {channel: name}


def test_a_constant_channel_and_one_without_readings_are_never_at_fault() -> None:
    series, readings = tame(6000), tame(400, seed=5)
    for values in (series, readings):
        values[0] = 7.0
        values[1] = np.nan
    assert not any(diagnosed(check_of(series), readings, 0, 400))
    readings[0, 200:] = 8.0
    assert not any(diagnosed(check_of(series), readings, 0, 400))


def test_a_single_channel_has_no_others_to_speak_for_it() -> None:
    readings = tame(400, channels=1, seed=5)
    readings[0, 200:] = -999.0
    assert not any(diagnosed(check_of(tame(6000, channels=1)), readings, 0, 400))


def test_an_ignored_channel_is_not_judged() -> None:
    readings = tame(400, seed=5)
    readings[1, 200:] = -999.0
    assert not any(diagnosed(check_of(tame(6000), ignored=(1,)), readings, 0, 400))


def test_judging_leaves_the_window_alone() -> None:
    check, window = fitted("pump", SEED), well("pump", SEED)[:, BEGIN : BEGIN + LENGTH].copy()
    before = window.copy()
    copy.deepcopy(check).judge(window)
    np.testing.assert_array_equal(window, before)


def test_its_state_is_small() -> None:
    model, live = fitted("pump", SEED).snapshot()
    assert len(packing.pack(model)) + len(packing.pack(live)) < 1024 * len(well("pump", SEED))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 45), st.sampled_from(["stuck", "-999", "x 10", "dropout"]))
def test_a_restart_at_any_window_changes_nothing(cut: int, name: str) -> None:
    readings = {"stuck": 50.0, "-999": -999.0, "dropout": np.nan}
    faulty = tame(400, seed=5)
    faulty[1, 150:300] = 10 * faulty[1, 150:300] if name == "x 10" else readings[name]
    windows = [faulty[:, start : start + LENGTH] for start in range(0, 400 - LENGTH, HOP)]
    check = TAME_CHECK_OF_5
    whole, halves = copy.deepcopy(check), copy.deepcopy(check)
    expected = [(whole.judge(window), whole.masked.tolist()) for window in windows]
    found = [(halves.judge(window), halves.masked.tolist()) for window in windows[:cut]]
    model, live = (packing.unpack(packing.pack(part)) for part in halves.snapshot())
    resumed = SensorCheck.restore(model, live)
    found += [(resumed.judge(window), resumed.masked.tolist()) for window in windows[cut:]]
    assert found == expected


TAME_CHECK_OF_5 = check_of(tame(6000))
anything = st.floats(allow_nan=True, allow_infinity=True, width=64) | st.sampled_from([0.0, -999.0, 1e308, 50.0])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(anything, min_size=5, max_size=5), min_size=1, max_size=LENGTH))
def test_no_readings_break_it_and_most_channels_are_never_at_fault(columns: list[list[float]]) -> None:
    check, window = copy.deepcopy(TAME_CHECK_OF_5), tame(LENGTH, seed=5)
    window[:, -len(columns) :] = np.array(columns).T
    for _ in range(4):
        assert len(check.judge(window)) <= 2
