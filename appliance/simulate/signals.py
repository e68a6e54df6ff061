"""Building blocks of every simulated signal: lags, wandering disturbances, sums of vibration energy."""

from __future__ import annotations

import numpy as np

from appliance.records import Floats


def first_order(target: Floats, tau_secs: float, period_secs: float) -> Floats:
    """Follow ``target`` [T] with time constant ``tau_secs``, starting settled.

    The exact sampled solution of ``tau dy/dt = target - y`` for a target constant over each period, so it is the same
    curve at any period.

    Examples
    --------
    >>> heating = first_order(np.array([0.0, 1.0, 1.0, 1.0]), tau_secs=60, period_secs=60)
    >>> heating.round(2).tolist()
    [0.0, 0.63, 0.86, 0.95]
    """
    from scipy.signal import lfilter  # noqa: PLC0415 - half a second and 60 MB that no other command needs

    keep = np.exp(-period_secs / tau_secs)
    followed: Floats = lfilter([1 - keep], [1, -keep], target, zi=[keep * target[0]])[0]
    return followed


def wander(rng: np.random.Generator, length: int, tau_secs: float, period_secs: float) -> Floats:
    """Draw a stationary Gaussian disturbance [T], mean 0 and deviation 1, forgotten over ``tau_secs``.

    A sampled Ornstein-Uhlenbeck process: its look does not depend on the period.
    """
    from scipy.signal import lfilter  # noqa: PLC0415 - as above

    keep = np.exp(-period_secs / tau_secs)
    shocks = rng.standard_normal(length)
    drift: Floats = lfilter([np.sqrt(1 - keep**2)], [1, -keep], shocks, zi=[keep * rng.standard_normal()])[0]
    return drift


def root_sum_square(*parts: Floats) -> Floats:
    """RMS of several independent vibration sources [T] together: their energies add."""
    total: Floats = np.sqrt(np.sum(np.square(parts), axis=0))
    return total
