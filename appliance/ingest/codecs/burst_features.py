"""Condenses one burst of vibration or sound into the features by which machine condition is judged.

Sources: ISO 20816-1 (r.m.s. and peak values), Randall, "Vibration-based Condition Monitoring" (2011): crest factor and
kurtosis in section 5.2, the envelope spectrum in section 5.5; Randall and Antoni, "Rolling element bearing
diagnostics", MSSP 25 (2011), for squaring the envelope.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from appliance.records import Floats

MIN_SAMPLES: Final = 16
"""Fewer give no spectrum worth the name."""
_FLAT: Final = 1e-12
"""Below this ratio of spread to level a burst is constant: float64 rounding alone makes 1e-16 per sample."""
_FAULT_HZ: Final = (5.0, 1000.0)
"""Where the rates of bearing, gear and shaft faults lie in the spectrum of the envelope."""
_CARRIER: Final = (0.25, 0.95)
"""Part of the Nyquist frequency whose envelope is taken: structural resonances, clear of shaft orders and aliasing."""


def burst_features(signal: Floats, rate_hz: float, band_edges_hz: Sequence[float]) -> dict[str, float]:
    """Compute the features of one burst.

    Parameters
    ----------
    signal
        [time], finite, at least :data:`MIN_SAMPLES` long. Its mean, a sensor's offset, is removed.
    rate_hz
        Samples per second.
    band_edges_hz
        Ascending. A band is left out if its middle (geometric) lies above half the rate or no spectral line is in it.

    Returns
    -------
    dict
        In the signal's unit: ``rms``, ``peak`` and ``band_<low>_<high>hz``, the r.m.s. within a band. Dimensionless:
        ``crest`` (peak / rms), ``kurtosis`` (fourth moment / variance², 3 for Gaussian noise) and, of the squared
        envelope relative to its mean, ``envelope_rms`` and ``envelope_peak`` (the largest line) from 5 Hz to 1 kHz.
        A constant burst has no dimensionless features.
    """
    level = float(np.abs(signal).max())
    x = signal / level if level > 0 else signal  # squares of huge values would overflow
    x = x - x.mean()
    power = float(np.mean(x**2))
    rms = math.sqrt(power)
    peak = float(np.abs(x).max())
    features = {"rms": rms * level, "peak": peak * level}
    flat = rms <= _FLAT
    if not flat:
        features["crest"] = peak / rms
        features["kurtosis"] = float(np.mean(x**4)) / power**2

    spectrum = np.fft.rfft(x)
    hz = np.fft.rfftfreq(len(x), 1 / rate_hz).astype(np.float64)
    power_lines = _line_power(spectrum, len(x))
    for low, high in pairwise(band_edges_hz):
        inside = (hz >= low) & (hz < high)
        if math.sqrt(low * high) <= rate_hz / 2 and inside.any():
            features[f"band_{low:g}_{high:g}hz"] = math.sqrt(float(power_lines[inside].sum())) * level
    if not flat:
        features |= _envelope_features(spectrum, hz, len(x))
    return {name: value for name, value in features.items() if math.isfinite(value)}


def _line_power(spectrum: NDArray[np.complexfloating], samples: int) -> Floats:
    """Mean square of each line of a one-sided spectrum; they add up to the signal's (Parseval)."""
    power: Floats = np.abs(spectrum / samples) ** 2
    power[1 : (samples + 1) // 2] *= 2  # each stands for its negative frequency too, but neither 0 nor Nyquist does
    return power


def _envelope_features(spectrum: NDArray[np.complexfloating], hz: Floats, samples: int) -> dict[str, float]:
    nyquist = hz[-1]
    carrier = (hz >= _CARRIER[0] * nyquist) & (hz <= _CARRIER[1] * nyquist)
    one_sided = np.zeros(samples, dtype=np.complex128)
    one_sided[: len(spectrum)][carrier] = 2 * spectrum[carrier]
    squared = np.abs(np.fft.ifft(one_sided)) ** 2  # of the analytic signal, so the envelope is its modulus
    mean = float(squared.mean())
    if mean <= _FLAT**2:
        return {}
    lines = _line_power(np.fft.rfft(squared / mean), samples)[(hz >= _FAULT_HZ[0]) & (hz <= _FAULT_HZ[1])]
    if not lines.size:
        return {}
    return {
        "envelope_rms": math.sqrt(float(lines.sum())),
        "envelope_peak": math.sqrt(2 * float(lines.max())),
    }
