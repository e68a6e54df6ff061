"""The instants at which two of the evidence detectors look for the planes in which channels move: windows → here."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from appliance.detect.windows import Windows
from appliance.records import Floats

_MOST = 20_000
"""Instants looked at; more change nothing..."""
_MOST_READINGS = 100 * _MOST
"""...of more than 100 channels so many readings..."""
_LEAST = 500
"""...but always as many instants, far more than there are directions to find."""


class Instants(NamedTuple):
    """What a machine's channels read at moments of its warm-up."""

    centre: Floats
    """[channel] the median."""
    offsets: Floats
    """[n, channel] from there."""


def instants_of(windows: Windows) -> Instants:
    """Take evenly chosen instants at which every channel that ever speaks does speak, if there are enough."""
    count, channels, length = windows.values.shape
    most = max(_LEAST, min(_MOST, _MOST_READINGS // channels))
    chosen = np.arange(count * length)
    if windows.mask is not None:
        speaks = windows.present.max(axis=0) > 0
        whole = np.flatnonzero(windows.mask[:, speaks].all(axis=1))
        chosen = whole if len(whole) >= count else chosen
    chosen = chosen[:: max(1, len(chosen) // most)]
    instants = windows.values[chosen // length, :, chosen % length]
    centre = np.median(instants, axis=0)
    return Instants(centre, instants - centre)
