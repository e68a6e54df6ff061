"""What every kind of simulated machine is made of: channels, duty, physics, and which channels each fault shows on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from appliance.records import Floats
from appliance.simulate.conditions import Conditions, Duty
from appliance.simulate.signals import root_sum_square

Severities = Mapping[str, Floats]
"""Machine fault → [T] severity, 0 (absent) to 1; holds every fault the machine can have."""

LINE_VOLTAGE = 400.0
POWER_FACTOR = 0.9
WATTS_PER_AMP = np.sqrt(3) * LINE_VOLTAGE * POWER_FACTOR
RAMP_SECS = 12.0
"""Run-up and run-down of a drive with a frequency converter."""
BACKGROUND_VIBRATION_MM_S = 0.12
"""What the floor brings in from the neighbours."""
IMBALANCE_GROWTH = 2.4
"""Vibration of a fully imbalanced rotor, in excess of a good one and as a multiple of it."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A sensor: what it is called (with its unit), and how well it sees."""

    name: str
    noise: float
    """Standard deviation of the measurement noise, in the channel's unit."""
    resolution: float
    """Smallest step it reports."""
    span: float
    """What it usually ranges over: the yardstick for the sensor's own faults."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of machine."""

    kind: str
    summary: str
    duty: Duty
    channels: tuple[Channel, ...]
    blame: Mapping[str, tuple[str, ...]]
    """Machine fault that can befall it → the channels it shows on, principal first."""
    physics: Callable[[Conditions, Severities, np.random.Generator], dict[str, Floats]]
    """The true value of each channel [T]; draws from the generator in an order that no fault changes."""
    changes_filter: bool = False

    @property
    def channel_names(self) -> tuple[str, ...]:
        """In the order of the recording's columns."""
        return tuple(channel.name for channel in self.channels)


def motor_current_a(shaft_power_w: Floats, efficiency: float, magnetising_a: float, running: Floats) -> Floats:
    """Line current [T] of an induction motor: active and magnetising current are at right angles."""
    active = shaft_power_w / efficiency / WATTS_PER_AMP
    return root_sum_square(active, magnetising_a * running)


def vibration_mm_s(residual: float, speed: Floats, severity: Severities, texture: Floats, *others: Floats) -> Floats:
    """Velocity RMS [T] at the bearing housing.

    The rotor's imbalance force grows with speed squared; a worn bearing adds broadband energy of its own. A healthy
    machine of this size stays below 2.8 mm/s, and above 7.1 mm/s it is stopped (ISO 20816-3).

    Parameters
    ----------
    residual
        What remains after balancing, mm/s at rated speed.
    speed
        [T] share of the rated speed.
    texture
        [T] disturbance of deviation 1: vibration readings scatter in proportion to their level.
    others
        [T] independent sources of this machine, mm/s.
    """
    rotor = residual * speed**2 * (1 + IMBALANCE_GROWTH * severity["imbalance"])
    bearing = 3.4 * severity["bearing_wear"] * speed
    background = np.full_like(speed, BACKGROUND_VIBRATION_MM_S)
    steady = root_sum_square(rotor, bearing, background, *others)
    shaken: Floats = steady * np.exp((0.05 + 0.08 * severity["bearing_wear"]) * texture)
    return shaken
