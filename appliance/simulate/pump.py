"""A centrifugal pump on a frequency converter, feeding a network with static head."""

from __future__ import annotations

import numpy as np

from appliance.records import Floats
from appliance.simulate.conditions import Conditions
from appliance.simulate.machine import RAMP_SECS, Channel, Machine, Severities, motor_current_a, vibration_mm_s

RATED_FLOW_M3H = 200.0
RATED_SPEED_RPM = 2950.0
SHUT_OFF_HEAD_M = 60.0
STATIC_HEAD_M = 20.0
PUMP_LOSS_M = 12.0
NETWORK_LOSS_M = 28.0
STRAINER_LOSS_M = 1.0
"""Losses are heads at rated flow; each grows with flow squared."""
BEST_EFFICIENCY = 0.78
GRAVITY = 9.81
BAR_PER_M = GRAVITY / 100
"""Pressure of a metre of water."""
FRICTION_KW = 0.8
CAVITATION_BAR = 0.25
"""Suction pressure (gauge) below which bubbles start to form."""


def _physics(c: Conditions, severity: Severities, rng: np.random.Generator) -> dict[str, Floats]:
    """Intersect the pump curve with the system curve, then let power become heat.

    ``H = n² H0 - k q²`` (affinity laws) meets ``H = Hs + R q²``; see Gülich, Centrifugal Pumps, chapters 3 and 11.
    A leak is a second path to the low side, parallel to the network and seen by the pump but not by the flow meter.
    """
    tank = 0.55 + 0.03 * c.wander(rng, 4 * 3600)
    valves = 1 + 0.05 * c.wander(rng, 1200)
    texture = c.wander(rng, 60)
    n = c.follow(c.running * np.clip(0.42 + 0.58 * c.load, 0, 1.05), RAMP_SECS)

    network = NETWORK_LOSS_M * valves
    strainer = STRAINER_LOSS_M * (1 + 7 * severity["blockage"])
    leak = 0.9 * severity["leak"] * np.sqrt(network / NETWORK_LOSS_M)
    loss = PUMP_LOSS_M + strainer + network / (1 + leak) ** 2
    q = np.sqrt(np.maximum(n**2 * SHUT_OFF_HEAD_M - STATIC_HEAD_M, 0) / loss)
    pump_head = np.maximum(n**2 * SHUT_OFF_HEAD_M - PUMP_LOSS_M * q**2, STATIC_HEAD_M)
    suction_bar = tank - strainer * q**2 * BAR_PER_M

    off_design = q / np.maximum(n, 0.1) - 1
    efficiency = BEST_EFFICIENCY * (1 - 0.6 * off_design**2)
    hydraulic_w = 1000 * GRAVITY * q * RATED_FLOW_M3H / 3600 * pump_head / efficiency
    friction_kw = (FRICTION_KW + 1.1 * severity["bearing_wear"]) * n
    current_a = motor_current_a(hydraulic_w + 1000 * friction_kw, 0.93, 20.0, c.running)

    motor_rise = 45 * (current_a / 62) ** 2 / (1 - 0.7 * severity["overheating"])
    motor_c = c.ambient_c + c.follow(motor_rise, 2400)
    bearing_rise = 24 * friction_kw / FRICTION_KW + 0.15 * motor_rise
    cavitation = 5.0 * np.maximum(CAVITATION_BAR - suction_bar, 0) * n
    return {
        "speed_rpm": RATED_SPEED_RPM * n,
        "flow_m3h": RATED_FLOW_M3H * q / (1 + leak),
        "suction_pressure_bar": suction_bar,
        "discharge_pressure_bar": suction_bar + pump_head * BAR_PER_M,
        "motor_current_a": current_a,
        "motor_temp_c": motor_c,
        "bearing_temp_c": c.ambient_c + c.follow(bearing_rise, 1500),
        "vibration_mm_s": vibration_mm_s(1.5, n, severity, texture, cavitation),
    }


PUMP = Machine(
    kind="pump",
    summary="centrifugal pump, 45 kW, frequency converter, day and night",
    duty="continuous",
    channels=(
        Channel("speed_rpm", 1.5, 1.0, 600.0),
        Channel("flow_m3h", 0.8, 0.1, 60.0),
        Channel("suction_pressure_bar", 0.006, 0.001, 0.3),
        Channel("discharge_pressure_bar", 0.015, 0.01, 1.5),
        Channel("motor_current_a", 0.25, 0.1, 25.0),
        Channel("motor_temp_c", 0.2, 0.1, 25.0),
        Channel("bearing_temp_c", 0.2, 0.1, 15.0),
        Channel("vibration_mm_s", 0.02, 0.01, 1.5),
    ),
    blame={
        "bearing_wear": ("vibration_mm_s", "bearing_temp_c", "motor_current_a"),
        "imbalance": ("vibration_mm_s",),
        "blockage": ("suction_pressure_bar", "flow_m3h", "discharge_pressure_bar", "vibration_mm_s"),
        "leak": ("flow_m3h", "discharge_pressure_bar", "motor_current_a", "suction_pressure_bar"),
        "overheating": ("motor_temp_c", "bearing_temp_c"),
    },
    physics=_physics,
)
