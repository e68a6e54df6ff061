from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from appliance.simulate.conditions import DAY_SECS
from appliance.simulate.faults import Fault, SimulationError
from appliance.simulate.plant import LEARNING_DAYS, demo_plant, simulate_plant


@pytest.mark.parametrize("seed", range(5))
def test_demo_plant_has_a_clean_week_then_its_faults(seed: int) -> None:
    plant = demo_plant(seed)
    truth = [fault for recording in plant for fault in recording.meta["truth"]]
    assert Counter(fault["kind_of_fault"] for fault in truth) == {"machine": 10, "sensor": 3}
    assert len({fault["kind"] for fault in truth if fault["kind_of_fault"] == "machine"}) >= 4
    assert 120_000 <= sum(len(recording.times) for recording in plant) <= 180_000
    assert len({recording.machine for recording in plant}) == len(plant) == 6
    for recording in plant:
        assert recording.labels is not None
        assert recording.train_end == LEARNING_DAYS * 1440
        assert not recording.labels[: recording.train_end].any()
        assert 1 <= len(recording.meta["truth"]) <= 3
        from_learning = [
            change for change in recording.meta["benign"] if change["start_time"] < recording.times[10_000]
        ]
        assert {"stop", "set_point"} <= {change["kind"] for change in from_learning}


@pytest.mark.parametrize("seed", range(5))
def test_truth_events_and_labels_tell_the_same_story(seed: int) -> None:
    for recording in demo_plant(seed):
        labels = np.zeros(len(recording.times), dtype=np.uint8)
        for fault, (start, end) in zip(recording.meta["truth"], recording.meta["events"], strict=True):
            assert (fault["start"], fault["end"]) == (start, end)
            assert fault["start_time"] == recording.times[start]
            assert fault["end_time"] == recording.times[end - 1] + 60
            assert 3 * 60 <= end - start <= 24 * 60 + 1
            assert set(fault["channels"]) <= set(recording.channels)
            labels[start:end] = 1
        np.testing.assert_array_equal(labels, recording.labels)


@pytest.mark.parametrize("seed", range(5))
def test_machines_break_down_at_work_and_are_calm_in_between(seed: int) -> None:
    for recording in demo_plant(seed):
        spans = [(fault["start"], fault["end"]) for fault in recording.meta["truth"]]
        for start, end in spans:
            assert (recording.values[start:end, 0] > 0).mean() > 0.9 or np.isnan(recording.values[start:end, 0]).any()
        for (_, before), (after, _) in pairwise(spans):
            assert after - before > 1440
        begins = np.array([start for start, _ in spans])
        for change in recording.meta["benign"]:
            if change["kind"] != "filter_change":
                apart = np.abs(recording.times[begins] - change["start_time"])
                assert apart.min() > DAY_SECS


def test_demo_plant_follows_its_seed() -> None:
    first, again, other = demo_plant(1), demo_plant(1), demo_plant(2)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.values, two.values)
        assert one.meta == two.meta
    assert [recording.meta["truth"] for recording in first] != [recording.meta["truth"] for recording in other]


def test_given_faults_are_injected_where_they_are_said_to_be() -> None:
    leak = Fault("leak", 1.5 * DAY_SECS, 3600, 0.5)
    pump, fan = simulate_plant(["pump", "fan"], days=2, learning_days=1, faults={"pump-1": [leak]})
    assert [fault["kind"] for fault in pump.meta["truth"]] == ["leak"]
    assert pump.meta["events"] == [[2160, 2220]]
    assert fan.meta["truth"] == []


def test_too_many_faults_are_refused() -> None:
    with pytest.raises(SimulationError, match="do not fit into 1 machines and 3 days"):
        simulate_plant(["pump"], days=10, machine_faults=9)


def test_unknown_machine_is_refused() -> None:
    with pytest.raises(SimulationError, match="no machine is called pump-2: use one of pump-1"):
        simulate_plant(["pump"], days=2, faults={"pump-2": [Fault("leak", 0, 3600)]})
