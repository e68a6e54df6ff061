"""Runs one simulated machine: surroundings, physics with its faults, sensors with theirs, and the truth about both."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from appliance.recordings import Recording
from appliance.records import Floats
from appliance.simulate.compressor import COMPRESSOR
from appliance.simulate.conditions import DAY_SECS, HOUR_SECS, Benign, conditions
from appliance.simulate.conveyor import CONVEYOR
from appliance.simulate.fan import FAN
from appliance.simulate.faults import MACHINE_FAULTS, SENSOR_FAULTS, Fault, SimulationError, with_sensor_fault
from appliance.simulate.machine import Channel, Machine
from appliance.simulate.pump import PUMP

MACHINES: Mapping[str, Machine] = {machine.kind: machine for machine in (PUMP, FAN, COMPRESSOR, CONVEYOR)}
DEFAULT_START = 1_767_571_200.0
"""Monday 5 January 2026, 00:00 UTC: a week of learning then holds whole shifts and a whole weekend."""


def machine_of(kind: str) -> Machine:
    """Look a kind of machine up.

    Raises
    ------
    SimulationError
        If there is no such kind.
    """
    if kind not in MACHINES:
        raise SimulationError(f"{kind!r} is no kind of machine: use one of {', '.join(MACHINES)}")
    return MACHINES[kind]


def simulate_machine(
    kind: str,
    name: str,
    *,
    hours: float,
    period_secs: float = 60.0,
    seed: int = 0,
    start: float = DEFAULT_START,
    learning_hours: float = 0.0,
    faults: Sequence[Fault] = (),
    benign: Sequence[Benign] = (),
) -> Recording:
    """Record ``hours`` of a machine's life.

    The same kind, name, seed, start and length give the same machine on the same days, whatever faults are injected:
    two runs that differ in a fault differ only by it and by what it causes.

    Parameters
    ----------
    learning_hours
        Declared free of faults: becomes the recording's ``train_end``.

    Returns
    -------
    Recording
        ``meta["events"]`` has a [start, end) sample span per fault, ``meta["truth"]`` its kind, severity and channels
        (principal first), ``meta["benign"]`` the changes nobody wants an alert for.

    Raises
    ------
    SimulationError
        If the kind is unknown, a fault does not suit the machine, or lies outside the recording.
    """
    machine = machine_of(kind)
    samples = round(hours * HOUR_SECS / period_secs)
    if samples < 1:
        raise SimulationError(f"{hours:g} hours hold no sample at a period of {period_secs:g} s: simulate longer")
    elapsed = period_secs * np.arange(samples, dtype=np.float64)
    times = start + elapsed
    spans = [_checked_span(fault, machine, name, elapsed) for fault in faults]

    seeds = np.random.SeedSequence([seed, zlib.crc32(name.encode())]).spawn(4)
    outside, inside, measuring, failing = (np.random.default_rng(child) for child in seeds)
    severity = {
        kind: np.max([np.zeros(samples), *(fault.profile(elapsed) for fault in faults if fault.kind == kind)], axis=0)
        for kind in MACHINE_FAULTS
    }
    around = conditions(times, period_secs, machine.duty, benign, outside)
    truth = machine.physics(around, severity, inside)
    columns = []
    for channel in machine.channels:
        measured = _measured(truth[channel.name], channel, measuring)
        for fault in faults:
            if fault.channel == channel.name:
                measured = with_sensor_fault(measured, fault, channel, elapsed, failing)
        columns.append(_quantised(measured, channel))

    labels = np.zeros(samples, dtype=np.uint8)
    for span in spans:
        labels[span] = 1
    meta = {
        "dataset": "simulated",
        "kind": kind,
        "seed": seed,
        "events": [[span.start, span.stop] for span in spans],
        "truth": [_truth(fault, span, machine, times, period_secs) for fault, span in zip(faults, spans, strict=True)],
        "benign": [
            {"kind": change.kind, "start_time": start + change.start_secs, "duration_secs": change.duration_secs}
            for change in benign
        ],
    }
    train_end = min(samples, round(learning_hours * HOUR_SECS / period_secs))
    return Recording(name, machine.channel_names, times, np.column_stack(columns), labels, train_end, meta)


def _checked_span(fault: Fault, machine: Machine, name: str, elapsed: Floats) -> slice:
    if fault.kind in SENSOR_FAULTS:
        if fault.channel not in machine.channel_names:
            raise SimulationError(
                f"{name}: sensor fault {fault.kind} on {fault.channel!r}: use one of {', '.join(machine.channel_names)}"
            )
    elif fault.kind not in machine.blame:
        suited = ", ".join([*machine.blame, *SENSOR_FAULTS])
        raise SimulationError(f"{name}: fault {fault.kind!r} does not suit a {machine.kind}: use one of {suited}")
    elif fault.channel is not None:
        raise SimulationError(f"{name}: {fault.kind} is a fault of the machine: leave the channel out")
    if not 0 < fault.severity <= 1:
        raise SimulationError(f"{name}: severity {fault.severity:g} of {fault.kind}: use more than 0 and at most 1")
    span = fault.span(elapsed)
    if fault.start_secs < 0 or span.start >= span.stop:
        raise SimulationError(
            f"{name}: {fault.kind} at day {fault.start_secs / DAY_SECS:g} for {fault.duration_secs / HOUR_SECS:g} h"
            f" covers no sample of a recording of {len(elapsed)} samples: move it or make it longer"
        )
    return span


def _truth(fault: Fault, span: slice, machine: Machine, times: Floats, period_secs: float) -> dict[str, Any]:
    return {
        "start": span.start,
        "end": span.stop,
        "start_time": float(times[span.start]),
        "end_time": float(times[span.stop - 1] + period_secs),
        "kind": fault.kind,
        "kind_of_fault": fault.kind_of_fault,
        "severity": fault.severity,
        "shape": fault.shape,
        "channels": [fault.channel] if fault.channel else list(machine.blame[fault.kind]),
    }


def _measured(true: Floats, channel: Channel, rng: np.random.Generator) -> Floats:
    """Add noise [T]; a quantity that is never negative is never reported as such."""
    measured = true + channel.noise * rng.standard_normal(len(true))
    return np.where(true >= 0, np.maximum(measured, 0), measured)


def _quantised(measured: Floats, channel: Channel) -> Floats:
    # Rounded again in decimals: 1239 * 0.01 is not quite 12.39, and every payload would show it.
    decimals = max(0, -int(np.floor(np.log10(channel.resolution))))
    stepped: Floats = np.round(np.round(measured / channel.resolution) * channel.resolution, decimals)
    return stepped
