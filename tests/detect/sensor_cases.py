"""Simulated machines with a fault of a sensor or of the machine on their eighth day, and what is found of them."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from appliance.detect.sensors import SensorCheck
from appliance.records import Floats, SensorFault
from appliance.simulate.conditions import Benign
from appliance.simulate.faults import Fault
from appliance.simulate.machine import Machine
from appliance.simulate.simulator import MACHINES, simulate_machine

LENGTH, HOP = 32, 8
PERIOD_SECS = 60.0
DAY = round(86_400 / PERIOD_SECS)
LEARNED = 7 * DAY
BEGIN, END = LEARNED + 9 * 60, LEARNED + 13 * 60
"""Nine in the morning of a Monday: every machine works."""
BENIGN = (Benign("stop", 2 * 86_400 + 36_000, 7200.0), Benign("filter_change", 3 * 86_400 + 25_200, 1800.0))


class Case(NamedTuple):
    """A machine, what its sensors read [channel, time], and the channels that may be named."""

    machine: Machine
    readings: Floats
    channels: tuple[int, ...]


def recorded(kind: str, seed: int, *faults: Fault) -> Floats:
    recording = simulate_machine(
        kind, f"{kind}-1", hours=8 * 24, period_secs=PERIOD_SECS, seed=seed, faults=faults, benign=BENIGN
    )
    return recording.values.T


@functools.lru_cache(maxsize=8)
def well(kind: str, seed: int) -> Floats:
    return recorded(kind, seed)


@functools.lru_cache(maxsize=8)
def fitted(kind: str, seed: int) -> SensorCheck:
    return SensorCheck(well(kind, seed)[:, :LEARNED], length=LENGTH, hop=HOP)


def fault(kind: str, *, severity: float, shape: str = "step", channel: str | None = None) -> Fault:
    start, duration = BEGIN * PERIOD_SECS, (END - BEGIN) * PERIOD_SECS
    return Fault(kind, start, duration, severity, shape, channel)  # type: ignore[arg-type]


def replaced(change: Callable[[Floats, np.random.Generator], Floats]) -> Callable[[str, int, int], Floats]:
    def make(kind: str, seed: int, channel: int) -> Floats:
        readings = well(kind, seed).copy()
        readings[channel, BEGIN:END] = change(readings[channel, BEGIN:END], np.random.default_rng(seed))
        return readings

    return make


def simulated(kind_of_fault: str, severity: float) -> Callable[[str, int, int], Floats]:
    def make(kind: str, seed: int, channel: int) -> Floats:
        name = MACHINES[kind].channel_names[channel]
        return recorded(kind, seed, fault(kind_of_fault, severity=severity, channel=name))

    return make


SENSOR_FAULTS: dict[str, tuple[set[SensorFault], Callable[[str, int, int], Floats]]] = {
    "stuck": ({"stuck"}, simulated("stuck", 1.0)),
    "dropout": ({"dropout"}, simulated("dropout", 0.8)),
    "noise": ({"noise"}, simulated("noise", 0.6)),
    "-999": ({"out_of_range"}, replaced(lambda x, _: np.full_like(x, -999.0))),
    "65535": ({"out_of_range"}, replaced(lambda x, _: np.full_like(x, 65535.0))),
    "some 65535": ({"out_of_range"}, replaced(lambda x, rng: np.where(rng.random(len(x)) < 0.5, 65535.0, x))),
    "x 1000": ({"unit_change", "out_of_range"}, replaced(lambda x, _: 1000.0 * x)),
    "x 10": ({"unit_change", "out_of_range"}, replaced(lambda x, _: 10.0 * x)),
}
"""What is done to a sensor → what it may be called, and how. A reading a thousand times too high is both."""


def diagnosed(check: SensorCheck, readings: Floats, begin: int, end: int) -> list[dict[int, SensorFault]]:
    """What each window between two cells is found to hold, by a copy of the check."""
    check = copy.deepcopy(check)
    return [check.judge(readings[:, start : start + LENGTH]) for start in range(begin, end - LENGTH + 1, HOP)]
