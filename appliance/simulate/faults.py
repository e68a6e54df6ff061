"""Faults to inject: what can go wrong with a machine or with one of its sensors, when, how badly, and how it grows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from appliance.errors import ApplianceError
from appliance.records import Floats
from appliance.simulate.machine import Channel

MACHINE_FAULTS: Mapping[str, str] = {
    "bearing_wear": "friction heat and broadband vibration at the bearing",
    "imbalance": "deposits or a lost balance weight: vibration with the square of speed",
    "blockage": "clogged strainer or filter, or a jam: resistance where there should be none",
    "leak": "fluid takes a path that does no work",
    "overheating": "cooling lost: the same heat leaves through less",
    "belt_slip": "the belt has lost its tension: speed is lost, heat is made",
    "valve_failure": "an intake valve no longer opens fully and lets hot gas back",
}
SENSOR_FAULTS: Mapping[str, str] = {
    "stuck": "repeats its last value, whatever the severity",
    "dropout": "readings missing; severity is the share that is lost",
    "drift": "wanders away from the truth, at severity 1 by the channel's usual span",
    "noise": "scatters around the truth, at severity 1 by half the channel's usual span",
}
NOISE_SPANS = 0.5
RAMP_SHARE = 0.5
"""A ramp reaches its full severity after this share of its duration."""

Shape = Literal["step", "ramp"]


class SimulationError(ApplianceError):
    """A simulation that cannot be run: unknown machine, unsuitable fault, a fault outside the recording."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one machine or sensor.

    Parameters
    ----------
    kind
        A key of `MACHINE_FAULTS` or `SENSOR_FAULTS`.
    start_secs, duration_secs
        Since the recording's first sample.
    severity
        0 (none) to 1 (as bad as it gets before the machine trips).
    channel
        The sensor at fault; None for a fault of the machine.
    """

    kind: str
    start_secs: float
    duration_secs: float
    severity: float = 0.5
    shape: Shape = "step"
    channel: str | None = None

    @property
    def kind_of_fault(self) -> Literal["machine", "sensor"]:
        """Whether the machine is at fault or only what is known of it."""
        return "sensor" if self.kind in SENSOR_FAULTS else "machine"

    def span(self, elapsed: Floats) -> slice:
        """Return the samples [start, end) during the fault, for ``elapsed`` [T] seconds since the first sample."""
        bounds = np.searchsorted(elapsed, [self.start_secs, self.start_secs + self.duration_secs])
        return slice(int(bounds[0]), int(bounds[1]))

    def profile(self, elapsed: Floats) -> Floats:
        """Severity [T] at each of ``elapsed`` seconds since the recording's first sample."""
        since = elapsed - self.start_secs
        growth = np.ones_like(since)
        if self.shape == "ramp":
            growth = np.clip(since / (RAMP_SHARE * self.duration_secs), 0, 1)
        during: NDArray[np.bool_] = (since >= 0) & (since < self.duration_secs)
        severity: Floats = np.where(during, self.severity * growth, 0.0)
        return severity


def with_sensor_fault(
    measured: Floats, fault: Fault, channel: Channel, elapsed: Floats, rng: np.random.Generator
) -> Floats:
    """Return what a faulty sensor reports instead of ``measured`` [T]."""
    severity = fault.profile(elapsed)
    if fault.kind == "stuck":
        reported = measured.copy()
        span = fault.span(elapsed)
        reported[span] = measured[span.start]
        return reported
    if fault.kind == "dropout":
        return np.where(rng.random(len(measured)) < severity, np.nan, measured)
    if fault.kind == "drift":
        return measured + severity * channel.span
    return measured + severity * NOISE_SPANS * channel.span * rng.standard_normal(len(measured))
