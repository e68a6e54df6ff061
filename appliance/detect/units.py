"""A reading that from one cell to the next comes in another unit: the factors, and how they are recognised."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from appliance.records import Floats


class Conversion(NamedTuple):
    """What a reading becomes: ``scale * reading + offset``."""

    scale: float
    offset: float
    least_steps: float
    """How many of the channel's large steps the jump must measure: the nearer the factor to what a machine may do of
    itself, the more."""


CONVERSIONS: tuple[Conversion, ...] = (
    *(Conversion(scale, 0.0, 10.0) for scale in (10.0, 100.0, 1000.0, 0.1, 0.01, 0.001)),
    Conversion(1.8, 32.0, 50.0),
    Conversion(1 / 1.8, -32 / 1.8, 50.0),
)
"""Shifted decimal points (mbar and bar, mm and m), and °C to °F and back."""

_FEWEST = 3
"""Readings on each side of the jump: fewer show no level."""
_MOST = 8
"""Readings on each side whose median is compared: near the jump the machine itself has moved little."""
_TOLERANCE = 0.04
"""Relative: the machine moves a little between the readings that are compared."""
_SPREAD_RATIO = 3.0
"""The scatter around the level changes by the same factor, within this factor."""


def conversion_at_jump(readings: Floats, large_step: float) -> int | None:
    """Recognise a change of unit in the readings [n] of a window, oldest first.

    Parameters
    ----------
    large_step
        From one reading to the next, in the channel's old unit: hardly ever is one larger.

    Returns
    -------
    int or None
        Which of `CONVERSIONS`; None where the largest jump is none of them.
    """
    jump = int(np.argmax(np.abs(np.diff(readings)))) + 1 if len(readings) > 1 else 0
    before, after = readings[max(jump - _MOST, 0) : jump], readings[jump : jump + _MOST]
    if len(before) < _FEWEST or len(after) < _FEWEST:
        return None
    was, became = float(np.median(before)), float(np.median(after))
    for which, (scale, offset, least_steps) in enumerate(CONVERSIONS):
        expected = scale * was + offset
        fine = scale * large_step
        ratio = (float(np.ptp(after)) + fine) / (scale * float(np.ptp(before)) + fine) if fine > 0 else 1.0
        if (
            abs(became - expected) <= _TOLERANCE * abs(expected)
            and abs(became - was) > least_steps * large_step
            and 1 / _SPREAD_RATIO <= ratio <= _SPREAD_RATIO
        ):
            return which
    return None
