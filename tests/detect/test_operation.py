from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.detect.operation import Operation, StateChannel
from appliance.records import Floats
from appliance.simulate.simulator import MACHINES
from appliance.store import packing
from tests.detect.sensor_cases import BEGIN, DAY, END, HOP, LEARNED, LENGTH, fault, recorded, well

SEED = 11


def plain(cells: int, seed: int = 0) -> Floats:
    """Speed, current, flow, and three temperatures: the first three fall to zero when the machine stops."""
    noise = np.random.default_rng(seed).normal(size=(6, cells))
    levels = np.array([1450.0, 60.0, 200.0, 70.0, 55.0, 40.0])
    return levels[:, None] * (1 + 0.02 * np.sin(np.arange(cells) / 30) + 0.005 * noise)


def stopped(series: Floats, begin: int, end: int, *, cooling: float = 0.5) -> Floats:
    """The same with a stop, in which the temperatures lag behind."""
    series = series.copy()
    series[:3, begin:end] *= 0.001
    for cell in range(begin, series.shape[1]):
        target = 20.0 if cell < end else series[3:, cell]
        series[3:, cell] = series[3:, cell - 1] + cooling / 20 * (target - series[3:, cell - 1])
    return series


def states(operation: Operation, series: Floats) -> list[str]:
    return [operation.judge(series[:, at : at + LENGTH]) for at in range(0, series.shape[1] - LENGTH + 1, HOP)]


def of(series: Floats, state: StateChannel | None = None) -> Operation:
    return Operation(series, length=LENGTH, hop=HOP, state=state)


def test_a_stop_is_seen_as_soon_as_a_whole_hop_of_it_is_there_and_as_long_as_it_lasts() -> None:
    found = states(of(plain(4000)), stopped(plain(600, 1), 200, 360))
    ends = [LENGTH + HOP * number for number in range(len(found))]
    assert {end for end, state in zip(ends, found, strict=True) if state == "stopped"} == set(range(208, 361, HOP))


def test_a_start_lasts_until_the_window_is_free_of_the_stop_and_slow_channels_are_back() -> None:
    for cooling, shortest, longest in ((10.0, 4, 7), (0.6, 8, 20)):
        found = states(of(plain(4000)), stopped(plain(1000, 1), 200, 360, cooling=cooling))
        after = found[found.index("starting") :]
        assert after == ["starting"] * after.count("starting") + ["running"] * after.count("running")
        assert shortest <= after.count("starting") <= longest


def test_a_start_never_lasts_longer_than_the_stop_beyond_its_window() -> None:
    series = stopped(plain(1000, 1), 200, 264)
    series[3, 264:] = 70.0 - 400 * 0.99 ** np.arange(len(series[3, 264:]))
    found = states(of(plain(4000)), series)
    assert found.count("stopped") == 8
    assert found.count("starting") == LENGTH // HOP + 8
    assert found[-1] == "running"


def test_little_to_do_is_no_standstill() -> None:
    idle = plain(600, 1)
    idle[:3, 200:360] *= 0.1
    assert set(states(of(plain(4000)), idle)) == {"running"}


def test_a_collapse_shorter_than_a_window_has_no_start() -> None:
    assert HOP < LENGTH - HOP
    found = states(of(plain(4000)), stopped(plain(1000, 1), 200, 200 + LENGTH - HOP))
    assert found.count("stopped") == LENGTH // HOP - 1
    assert "starting" not in found


def test_a_start_does_not_wait_for_a_channel_that_a_fault_keeps_away() -> None:
    series = stopped(plain(1000, 1), 200, 360, cooling=10.0)
    series[4, 360:] += 30.0
    assert states(of(plain(4000)), series).count("starting") <= LENGTH // HOP + 3


def test_a_fault_of_the_machine_is_no_stop() -> None:
    for kind, machine in MACHINES.items():
        operation = of(well(kind, SEED)[:, :LEARNED])
        for name in machine.blame:
            series = recorded(kind, SEED, fault(name, severity=1.0))
            assert set(states(operation, series[:, BEGIN - 64 : END])) == {"running"}


@pytest.mark.parametrize("kind", MACHINES)
def test_the_stop_of_a_simulated_machine_is_seen_though_its_warm_up_had_none(kind: str) -> None:
    stop_at = 2 * DAY + 10 * 60
    series = well(kind, SEED)
    calm = series[:, DAY + 7 * 60 : DAY + 21 * 60]
    found = Counter(states(of(calm), series[:, stop_at - 60 : stop_at + 180]))
    assert found["stopped"] >= 13
    assert set(states(of(calm), series[:, stop_at - 120 : stop_at])) == {"running"}


def test_stops_are_familiar_where_the_warm_up_is_full_of_them() -> None:
    assert of(well("conveyor", SEED)[:, :LEARNED]).taught
    assert not of(well("pump", SEED)[:, :LEARNED]).taught


def test_two_channels_at_zero_among_many_are_no_stop() -> None:
    series = np.vstack([plain(4000), plain(4000, 2)[3:], plain(4000, 3)[3:]])
    quiet = series[:, :400].copy()
    quiet[:2, 100:] = 0.0
    assert set(states(of(series), quiet)) == {"running"}


def test_a_channel_that_is_mostly_at_zero_says_nothing() -> None:
    series = plain(4000)
    series[:3] = 0.0
    series[:3, ::50] = 9.0
    assert set(states(of(series), series[:, :400])) == {"running"}


def test_a_state_channel_decides_alone() -> None:
    series = np.vstack([plain(4000), np.ones(4000)])
    live = stopped(plain(400, 1), 100, 200)
    live = np.vstack([live, np.where(np.arange(400) < 250, 1.0, 0.0)])
    found = states(of(series, StateChannel(6, 0.5)), live)
    assert found.index("stopped") * HOP + LENGTH == 264
    live[6] = np.nan
    assert set(states(of(series, StateChannel(6, 0.5)), live)) == {"running"}


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 70))
def test_a_restart_at_any_window_changes_nothing(cut: int) -> None:
    series = stopped(plain(600, 1), 200, 360)
    whole = states(of(plain(4000)), series)
    operation = of(plain(4000))
    before = states(operation, series[:, : LENGTH + HOP * cut - HOP])
    model, live = (packing.unpack(packing.pack(part)) for part in operation.snapshot())
    resumed = Operation.restore(model, live)
    windows = [series[:, at : at + LENGTH] for at in range(HOP * len(before), 600 - LENGTH + 1, HOP)]
    assert [*before, *(resumed.judge(window) for window in windows)] == whole
