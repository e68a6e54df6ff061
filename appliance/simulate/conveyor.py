"""An inclined belt conveyor on two shifts: starts, stops, idle weekends, and a load that changes with the product."""

from __future__ import annotations

import numpy as np

from appliance.records import Floats
from appliance.simulate.conditions import Conditions
from appliance.simulate.machine import RAMP_SECS, Channel, Machine, Severities, motor_current_a, vibration_mm_s

RATED_THROUGHPUT_TH = 400.0
RATED_BELT_M_S = 1.6
LENGTH_M = 80.0
LIFT_M = 6.0
FRICTION = 0.025
"""Artificial friction coefficient of a well kept installation (DIN 22101)."""
MOVING_KG_M = 60.0
"""Belt and rollers, both strands."""
GRAVITY = 9.81
PRETENSION_KN = 8.0
DRUM_FRICTION_W = 350.0
MOTOR_SLIP = 0.03
RATED_POWER_W = 12_500.0


def _physics(c: Conditions, severity: Severities, rng: np.random.Generator) -> dict[str, Floats]:
    """Sum the resistances to motion as DIN 22101 does, then let power and slip become heat.

    ``F = f L g (m' + m'_load) + H g m'_load``. A slipping belt has lost its pretension: it runs slower than the drum,
    so each metre carries more. A jam in the chute holds material back and drags on the belt.
    """
    feed = 1 + 0.04 * c.wander(rng, 180)
    moisture = 1 + 0.03 * c.wander(rng, 6 * 3600)
    texture = c.wander(rng, 60)

    on = c.follow(c.running, RAMP_SECS)
    throughput = np.clip(c.load * feed, 0, 1.2) * on * (1 - 0.25 * severity["blockage"])
    slip = 0.12 * severity["belt_slip"]
    unslipped = RATED_BELT_M_S * on
    load_kg_m = throughput * RATED_THROUGHPUT_TH / 3.6 / (RATED_BELT_M_S * (1 - slip))
    resistance_n = (
        FRICTION * moisture * LENGTH_M * GRAVITY * (MOVING_KG_M + load_kg_m)
        + LIFT_M * GRAVITY * load_kg_m
        + 7000 * severity["blockage"]
    ) * on
    drum_w = DRUM_FRICTION_W * (1 + 1.6 * severity["bearing_wear"]) * on
    shaft_w = (resistance_n * unslipped + drum_w) / 0.9
    belt_m_s = unslipped * (1 - slip) * (1 - MOTOR_SLIP * shaft_w / RATED_POWER_W)

    gearbox_rise = (12 + 26 * shaft_w / RATED_POWER_W) * on / (1 - 0.65 * severity["overheating"])
    slip_w = resistance_n * unslipped * slip
    bearing_rise = 17 * drum_w / DRUM_FRICTION_W + 10 * slip_w / 500
    return {
        "belt_speed_m_s": belt_m_s,
        "throughput_th": RATED_THROUGHPUT_TH * throughput,
        "belt_tension_kn": PRETENSION_KN * (1 - 0.3 * severity["belt_slip"]) + resistance_n / 2000,
        "motor_current_a": motor_current_a(shaft_w, 0.9, 9.0, c.running),
        "gearbox_temp_c": c.ambient_c + c.follow(gearbox_rise, 2400),
        "bearing_temp_c": c.ambient_c + c.follow(bearing_rise, 1500),
        "vibration_mm_s": vibration_mm_s(1.1, on, severity, texture, 0.5 * throughput, 8.0 * slip * on),
    }


CONVEYOR = Machine(
    kind="conveyor",
    summary="inclined belt conveyor, 15 kW, two shifts, stands at nights and weekends",
    duty="two_shift",
    channels=(
        Channel("belt_speed_m_s", 0.003, 0.001, 0.15),
        Channel("throughput_th", 3.0, 1.0, 120.0),
        Channel("belt_tension_kn", 0.04, 0.01, 2.0),
        Channel("motor_current_a", 0.15, 0.1, 8.0),
        Channel("gearbox_temp_c", 0.2, 0.1, 12.0),
        Channel("bearing_temp_c", 0.2, 0.1, 10.0),
        Channel("vibration_mm_s", 0.03, 0.01, 1.2),
    ),
    blame={
        "bearing_wear": ("vibration_mm_s", "bearing_temp_c"),
        "imbalance": ("vibration_mm_s",),
        "blockage": ("motor_current_a", "belt_tension_kn", "throughput_th", "gearbox_temp_c"),
        "overheating": ("gearbox_temp_c",),
        "belt_slip": ("belt_speed_m_s", "belt_tension_kn", "bearing_temp_c", "vibration_mm_s"),
    },
    physics=_physics,
)
