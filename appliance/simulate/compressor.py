"""An oil-injected screw compressor that follows demand: its control hides faults until it runs out of speed."""

from __future__ import annotations

import numpy as np

from appliance.records import Floats
from appliance.simulate.conditions import Conditions
from appliance.simulate.machine import RAMP_SECS, Channel, Machine, Severities, motor_current_a, vibration_mm_s

RATED_FLOW_M3MIN = 12.0
RATED_SPEED_RPM = 3600.0
MAX_SPEED = 1.2
SET_PRESSURE_BAR = 7.0
ATMOSPHERE_BAR = 1.013
HEAT_RATIO = 1.4
"""cp/cv of air."""
ISENTROPIC = (HEAT_RATIO - 1) / HEAT_RATIO
EFFICIENCY = 0.75
RATED_POWER_W = 76_000.0
THERMOSTAT_C = 72.0
"""The oil by-passes its cooler below this, lest water condense in it."""
THERMOSTAT_BAND_C = 3.0


def _physics(c: Conditions, severity: Severities, rng: np.random.Generator) -> dict[str, Floats]:
    """Turn as fast as the demand needs, and compress adiabatically with losses.

    ``P = p1 V1 / k ((p2/p1)^k - 1) / η`` with ``k = 1 - cv/cp``; see Bloch, A Practical Guide to Compressor Technology,
    chapter 1. The leak lies before the flow meter, as a blow-down valve that does not close.
    """
    consumers = 0.02 * c.wander(rng, 240)
    texture = c.wander(rng, 60)
    regulation = 0.02 * c.wander(rng, 120)

    demand = c.running * np.clip(c.load + consumers, 0.15, 1.1)
    leak = c.running * 0.5 * severity["leak"]
    inlet_loss_mbar = 15 * (1 + 7 * severity["blockage"])
    filling = 1 - 0.25 * severity["valve_failure"] - inlet_loss_mbar / 1000 / ATMOSPHERE_BAR
    n = c.follow(np.minimum((demand + leak) / filling, MAX_SPEED), RAMP_SECS)
    made = n * filling
    shortfall = np.maximum(demand + leak - made, 0) * c.running
    pressure_bar = (SET_PRESSURE_BAR + regulation - 10 * c.follow(shortfall, 180)) * c.follow(c.running, 600)

    vacuum_mbar = inlet_loss_mbar * n**2
    inlet_bar = ATMOSPHERE_BAR - vacuum_mbar / 1000
    ratio = (np.maximum(pressure_bar, 0) + ATMOSPHERE_BAR) / inlet_bar
    swept_m3s = n * (1 - 0.15 * severity["valve_failure"]) * RATED_FLOW_M3MIN / 60
    gas_w = inlet_bar * 1e5 * swept_m3s / ISENTROPIC * (ratio**ISENTROPIC - 1) / EFFICIENCY
    friction_w = 4000 * n * (1 + 1.2 * severity["bearing_wear"])
    shaft = (gas_w + friction_w) / RATED_POWER_W

    cooled_c = c.ambient_c + 56 * shaft / (1 - 0.5 * severity["overheating"])
    regulated_c = np.logaddexp(THERMOSTAT_C / THERMOSTAT_BAND_C, cooled_c / THERMOSTAT_BAND_C) * THERMOSTAT_BAND_C
    warm = c.follow(c.running, 1800)
    oil_c = c.ambient_c + c.follow((regulated_c - c.ambient_c) * warm, 900)
    reheating = 1 + 1.1 * severity["valve_failure"]
    discharge_rise = 14 * ratio**ISENTROPIC * reheating * np.sqrt(n) + 14 * severity["bearing_wear"] * n
    return {
        "speed_rpm": RATED_SPEED_RPM * n,
        "delivery_m3min": RATED_FLOW_M3MIN * np.maximum(made - leak, 0),
        "inlet_vacuum_mbar": vacuum_mbar,
        "discharge_pressure_bar": pressure_bar,
        "motor_current_a": motor_current_a(shaft * RATED_POWER_W, 0.94, 35.0, c.running),
        "oil_temp_c": oil_c,
        "discharge_temp_c": oil_c + c.follow(discharge_rise, 120),
        "vibration_mm_s": vibration_mm_s(2.2, np.sqrt(n), severity, texture),
    }


COMPRESSOR = Machine(
    kind="compressor",
    summary="screw compressor, 75 kW, variable speed, follows the plant's shifts",
    duty="shift_demand",
    channels=(
        Channel("speed_rpm", 2.0, 1.0, 1500.0),
        Channel("delivery_m3min", 0.05, 0.01, 5.0),
        Channel("inlet_vacuum_mbar", 0.3, 0.1, 12.0),
        Channel("discharge_pressure_bar", 0.01, 0.01, 0.3),
        Channel("motor_current_a", 0.6, 0.1, 60.0),
        Channel("oil_temp_c", 0.25, 0.1, 10.0),
        Channel("discharge_temp_c", 0.3, 0.1, 12.0),
        Channel("vibration_mm_s", 0.03, 0.01, 1.5),
    ),
    blame={
        "bearing_wear": ("vibration_mm_s", "discharge_temp_c", "motor_current_a"),
        "blockage": ("inlet_vacuum_mbar", "speed_rpm"),
        "leak": ("speed_rpm", "motor_current_a", "oil_temp_c", "discharge_pressure_bar"),
        "overheating": ("oil_temp_c", "discharge_temp_c"),
        "valve_failure": ("discharge_temp_c", "speed_rpm", "motor_current_a", "discharge_pressure_bar"),
    },
    physics=_physics,
)
