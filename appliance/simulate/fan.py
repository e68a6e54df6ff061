"""A belt-driven supply fan with a filter that clogs and is changed: slow benign change beside its faults."""

from __future__ import annotations

import numpy as np

from appliance.records import Floats
from appliance.simulate.conditions import Conditions
from appliance.simulate.machine import RAMP_SECS, Channel, Machine, Severities, motor_current_a, vibration_mm_s

RATED_FLOW_M3H = 20_000.0
RATED_MOTOR_RPM = 1475.0
BELT_RATIO = 0.82
SHUT_OFF_PA = 1400.0
FAN_LOSS_PA = 400.0
DUCT_LOSS_PA = 700.0
CLEAN_FILTER_PA = 200.0
"""Losses at rated flow; each grows with flow squared."""
FILTER_GROWTH_PER_DAY = 0.05
EFFICIENCY = 0.62
FRICTION_W = 220.0


def _physics(c: Conditions, severity: Severities, rng: np.random.Generator) -> dict[str, Floats]:
    """Intersect the fan curve with filter and duct: flow follows speed, pressure its square, power its cube.

    The affinity laws as in ASHRAE Handbook, HVAC Systems and Equipment, chapter Fans. A slipping belt turns the fan
    slower than the motor and the lost power into heat beside the bearing.
    """
    dampers = 1 + 0.04 * c.wander(rng, 1800)
    texture = c.wander(rng, 60)
    motor = c.follow(c.running * np.clip(0.15 + 0.9 * c.load, 0, 1.05), RAMP_SECS)

    slip = 0.2 * severity["belt_slip"]
    n = motor * (1 - slip)
    dust = 1 + FILTER_GROWTH_PER_DAY * c.filter_age_days
    filter_loss = CLEAN_FILTER_PA * dust * (1 + 1.5 * severity["blockage"])
    duct_loss = DUCT_LOSS_PA * dampers / (1 + 0.5 * severity["leak"]) ** 2
    q = n * np.sqrt(SHUT_OFF_PA / (FAN_LOSS_PA + duct_loss + filter_loss))
    total_pa = (duct_loss + filter_loss) * q**2

    friction_w = FRICTION_W * (1 + 1.4 * severity["bearing_wear"]) * n
    fan_w = q * RATED_FLOW_M3H / 3600 * total_pa / EFFICIENCY + friction_w
    slip_w = fan_w * slip / (1 - slip)
    bearing_rise = 16 * friction_w / FRICTION_W + 8 * n + 8 * slip_w / 500
    flapping = 9.0 * slip * motor
    return {
        "motor_speed_rpm": RATED_MOTOR_RPM * motor,
        "fan_speed_rpm": RATED_MOTOR_RPM * BELT_RATIO * n,
        "airflow_m3h": RATED_FLOW_M3H * q,
        "filter_pressure_pa": filter_loss * q**2,
        "duct_pressure_pa": duct_loss * q**2,
        "motor_current_a": motor_current_a(fan_w + slip_w, 0.88, 8.0, c.running),
        "bearing_temp_c": c.ambient_c + c.follow(bearing_rise, 1200),
        "vibration_mm_s": vibration_mm_s(1.9, n, severity, texture, flapping),
    }


FAN = Machine(
    kind="fan",
    summary="belt-driven supply fan, 11 kW, follows the day, filter changed every few days",
    duty="continuous",
    channels=(
        Channel("motor_speed_rpm", 1.0, 1.0, 250.0),
        Channel("fan_speed_rpm", 1.5, 1.0, 200.0),
        Channel("airflow_m3h", 120.0, 10.0, 4000.0),
        Channel("filter_pressure_pa", 2.5, 1.0, 100.0),
        Channel("duct_pressure_pa", 6.0, 1.0, 250.0),
        Channel("motor_current_a", 0.12, 0.1, 6.0),
        Channel("bearing_temp_c", 0.2, 0.1, 12.0),
        Channel("vibration_mm_s", 0.03, 0.01, 1.5),
    ),
    blame={
        "bearing_wear": ("vibration_mm_s", "bearing_temp_c"),
        "imbalance": ("vibration_mm_s",),
        "blockage": ("filter_pressure_pa", "airflow_m3h", "duct_pressure_pa"),
        "leak": ("duct_pressure_pa", "airflow_m3h", "filter_pressure_pa", "motor_current_a"),
        "belt_slip": ("fan_speed_rpm", "vibration_mm_s", "bearing_temp_c", "airflow_m3h"),
    },
    physics=_physics,
    changes_filter=True,
)
