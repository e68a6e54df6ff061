from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from appliance.recordings import Recording
from appliance.records import Floats
from appliance.simulate.conditions import DAY_SECS, HOUR_SECS, Benign, at_work
from appliance.simulate.faults import MACHINE_FAULTS, SENSOR_FAULTS, Fault, SimulationError
from appliance.simulate.simulator import DEFAULT_START, MACHINES, simulate_machine

RISES_OR_FALLS = {
    ("pump", "bearing_wear"): 1,
    ("pump", "imbalance"): 1,
    ("pump", "blockage"): -1,
    ("pump", "leak"): -1,
    ("pump", "overheating"): 1,
    ("fan", "bearing_wear"): 1,
    ("fan", "imbalance"): 1,
    ("fan", "blockage"): 1,
    ("fan", "leak"): -1,
    ("fan", "belt_slip"): -1,
    ("compressor", "bearing_wear"): 1,
    ("compressor", "blockage"): 1,
    ("compressor", "leak"): 1,
    ("compressor", "overheating"): 1,
    ("compressor", "valve_failure"): 1,
    ("conveyor", "bearing_wear"): 1,
    ("conveyor", "imbalance"): 1,
    ("conveyor", "blockage"): 1,
    ("conveyor", "overheating"): 1,
    ("conveyor", "belt_slip"): -1,
}
"""Machine, fault → which way its principal channel goes."""
AT_NOON = 2 * DAY_SECS + 12 * HOUR_SECS
"""On a Wednesday, so every machine runs."""


def column(recording: Recording, channel: str) -> Floats:
    return recording.values[:, recording.channels.index(channel)]


def simulated(
    kind: str, faults: Sequence[Fault] = (), benign: Sequence[Benign] = (), days: float = 3, period_secs: float = 60.0
) -> Recording:
    return simulate_machine(
        kind, f"{kind}-1", hours=24 * days, period_secs=period_secs, seed=5, faults=faults, benign=benign
    )


def running(recording: Recording) -> Recording:
    moving = recording.values[:, 0] > 0.5 * recording.values[:, 0].max()
    return Recording(
        recording.machine, recording.channels, recording.times[moving], recording.values[moving], meta=recording.meta
    )


def test_every_fault_of_every_machine_is_covered_here() -> None:
    assert set(RISES_OR_FALLS) == {(kind, fault) for kind, machine in MACHINES.items() for fault in machine.blame}
    assert {fault for _, fault in RISES_OR_FALLS} == set(MACHINE_FAULTS)
    assert not set(MACHINE_FAULTS) & set(SENSOR_FAULTS)
    for machine in MACHINES.values():
        assert all(set(channels) <= set(machine.channel_names) for channels in machine.blame.values())


@pytest.mark.parametrize(("kind", "fault"), RISES_OR_FALLS)
def test_principal_channel_follows_severity(kind: str, fault: str) -> None:
    principal = MACHINES[kind].blame[fault][0]
    levels = []
    for severity in (0.15, 0.3, 0.45, 0.6):
        recording = simulated(kind, [Fault(fault, AT_NOON, 4 * HOUR_SECS, severity)])
        levels.append(float(column(recording, principal)[recording.labels == 1].mean()))
    healthy = simulated(kind)
    inside = (healthy.times >= healthy.times[0] + AT_NOON) & (
        healthy.times < healthy.times[0] + AT_NOON + 4 * HOUR_SECS
    )
    levels.insert(0, float(column(healthy, principal)[inside].mean()))
    assert all(np.diff(levels) * RISES_OR_FALLS[kind, fault] > 0), levels


@pytest.mark.parametrize(("kind", "fault"), RISES_OR_FALLS)
def test_a_fault_changes_nothing_before_it_and_shows_on_every_blamed_channel(kind: str, fault: str) -> None:
    faulty, healthy = simulated(kind, [Fault(fault, AT_NOON, 4 * HOUR_SECS, 0.6)]), simulated(kind)
    onset = faulty.meta["truth"][0]["start"]
    np.testing.assert_array_equal(faulty.values[:onset], healthy.values[:onset])
    inside = faulty.labels == 1
    for channel in MACHINES[kind].blame[fault][:2]:
        noise = next(sensor.noise for sensor in MACHINES[kind].channels if sensor.name == channel)
        shift = np.abs(column(faulty, channel)[inside] - column(healthy, channel)[inside]).max()
        assert shift > 3 * noise, channel


def test_pump_obeys_the_affinity_law_of_power() -> None:
    pump = simulated("pump", days=7)
    speed, flow = column(pump, "speed_rpm"), column(pump, "flow_m3h")
    assert np.corrcoef(speed, flow)[0, 1] > 0.9
    pressure_rise = column(pump, "discharge_pressure_bar") - column(pump, "suction_pressure_bar")
    shut_off = pressure_rise + 12 * 0.0981 * (flow / 200) ** 2
    np.testing.assert_allclose(shut_off / speed**2, np.median(shut_off / speed**2), rtol=0.05)


def test_fan_flow_pressure_and_power_go_with_powers_of_speed() -> None:
    fan = running(simulated("fan", days=5))
    speed = np.log(column(fan, "fan_speed_rpm"))
    total_pa = column(fan, "filter_pressure_pa") + column(fan, "duct_pressure_pa")
    for values, power, tolerance in ((column(fan, "airflow_m3h"), 1, 0.1), (total_pa, 2, 0.15)):
        exponent = np.polyfit(speed, np.log(values), 1)[0]
        assert exponent == pytest.approx(power, abs=tolerance)


def test_compressor_speeds_up_to_deliver_and_loses_pressure_only_when_it_cannot() -> None:
    healthy = simulated("compressor")
    assert column(healthy, "discharge_pressure_bar").min() > 6.8
    leaking = simulated("compressor", [Fault("leak", AT_NOON, 4 * HOUR_SECS, 1.0)])
    assert column(leaking, "discharge_pressure_bar")[leaking.labels == 1].min() < 6.5
    assert column(leaking, "speed_rpm").max() < 1.21 * 3600


def test_conveyor_stands_outside_the_shifts_and_cools_to_the_hall() -> None:
    conveyor = simulate_machine("conveyor", "conveyor-1", hours=7 * 24, seed=3)
    settled = at_work(conveyor.times - 120) == at_work(conveyor.times)
    moving = column(conveyor, "belt_speed_m_s") > 0.5
    np.testing.assert_array_equal(moving[settled], at_work(conveyor.times)[settled])
    sunday_evening = (conveyor.times - DEFAULT_START) > 6.8 * DAY_SECS
    assert column(conveyor, "gearbox_temp_c")[sunday_evening].max() < 25
    assert column(conveyor, "gearbox_temp_c")[moving].mean() > 40


def test_temperature_lags_by_its_time_constant_at_any_period() -> None:
    shares = []
    for period_secs in (5.0, 60.0):
        stopped = simulated("pump", benign=[Benign("stop", AT_NOON, 3 * HOUR_SECS)], period_secs=period_secs)
        elapsed = stopped.times - stopped.times[0] - AT_NOON
        temperature = column(stopped, "motor_temp_c")
        before, after, settled = (temperature[np.searchsorted(elapsed, at)] for at in (0, 2400, 3 * HOUR_SECS - 60))
        shares.append((before - after) / (before - settled))
    assert shares[0] == pytest.approx(1 - np.exp(-1), abs=0.06)
    assert shares[1] == pytest.approx(1 - np.exp(-1), abs=0.06)


def test_filter_clogs_and_a_change_makes_it_new() -> None:
    change = Benign("filter_change", 4 * DAY_SECS, HOUR_SECS)
    fan = running(simulated("fan", benign=[change], days=6))
    day = (fan.times - fan.times[0]) // DAY_SECS
    resistance = column(fan, "filter_pressure_pa") / column(fan, "airflow_m3h") ** 2
    by_day = [float(np.median(resistance[day == number])) for number in range(6)]
    assert by_day[0] < by_day[1] < by_day[2] < by_day[3]
    assert by_day[5] < by_day[1]


def test_ramp_grows_and_step_does_not() -> None:
    elapsed = np.arange(100.0)
    step, ramp = (Fault("leak", 20, 60, 0.8, shape).profile(elapsed) for shape in ("step", "ramp"))
    assert set(step) == {0.0, 0.8}
    assert (np.diff(ramp[20:50]) > 0).all()
    assert (ramp[51:80] == 0.8).all()
    assert ramp[80] == 0


@pytest.mark.parametrize("kind", MACHINES)
def test_the_same_seed_gives_the_same_recording(kind: str) -> None:
    first, again = simulated(kind), simulated(kind)
    np.testing.assert_array_equal(first.values, again.values)
    other = simulate_machine(kind, f"{kind}-1", hours=72, seed=6)
    assert not np.array_equal(first.values, other.values)


def test_readings_are_multiples_of_the_resolution_and_never_negative() -> None:
    for kind, machine in MACHINES.items():
        recording = simulated(kind)
        for channel in machine.channels:
            steps = column(recording, channel.name) / channel.resolution
            np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)
            assert column(recording, channel.name).min() >= 0


@pytest.mark.parametrize("fault", SENSOR_FAULTS)
def test_a_sensor_fault_touches_its_channel_only(fault: str) -> None:
    healthy = simulated("pump")
    faulty = simulated("pump", [Fault(fault, AT_NOON, 4 * HOUR_SECS, 0.7, channel="motor_temp_c")])
    truth = faulty.meta["truth"][0]
    assert (truth["kind_of_fault"], truth["channels"]) == ("sensor", ["motor_temp_c"])
    touched = column(faulty, "motor_temp_c") != column(healthy, "motor_temp_c")
    assert touched[truth["start"] + 1 : truth["end"]].mean() > 0.5
    assert not touched[: truth["start"]].any()
    assert not touched[truth["end"] :].any()
    others = [name for name in faulty.channels if name != "motor_temp_c"]
    for name in others:
        np.testing.assert_array_equal(column(faulty, name), column(healthy, name))


def test_readings_are_missing_only_in_a_dropout() -> None:
    faulty = simulated("fan", [Fault("dropout", AT_NOON, 4 * HOUR_SECS, 0.7, channel="airflow_m3h")])
    missing = np.isnan(faulty.values)
    assert missing[:, faulty.channels.index("airflow_m3h")][faulty.labels == 1].mean() == pytest.approx(0.7, abs=0.1)
    assert not missing[faulty.labels == 0].any()
    assert missing.sum() == missing[:, faulty.channels.index("airflow_m3h")].sum()


@pytest.mark.parametrize(
    ("kind", "fault", "says"),
    [
        ("press", Fault("leak", 0, 3600), "no kind of machine"),
        ("fan", Fault("valve_failure", 0, 3600), "does not suit a fan"),
        ("fan", Fault("stuck", 0, 3600), "use one of motor_speed_rpm"),
        ("fan", Fault("leak", 0, 3600, channel="airflow_m3h"), "leave the channel out"),
        ("fan", Fault("leak", 0, 3600, severity=1.5), "severity 1.5"),
        ("fan", Fault("leak", 9 * DAY_SECS, 3600), "covers no sample"),
        ("fan", Fault("leak", 60, 0), "covers no sample"),
    ],
)
def test_an_impossible_fault_is_refused(kind: str, fault: Fault, says: str) -> None:
    with pytest.raises(SimulationError, match=says):
        simulated(kind, [fault])
