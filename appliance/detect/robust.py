"""Centre and spread of a statistic over the warm-up, unmoved by a few per cent of strange windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from appliance.records import Floats

_SPREAD_FLOOR = 0.02
"""A statistic that never moved in warm-up is taken to be known to this much: 2 % of the channel's normal spread."""
_IQR_OF_NORMAL = 1.349


def squared_excess(statistic: Floats, centre: Floats, per_spread: Floats) -> Floats:
    """Square of how far a statistic [n, ...] lies above its centre, in spreads; 0 below."""
    excess = statistic - centre
    excess *= per_spread
    np.maximum(excess, 0.0, out=excess)
    return np.square(excess, out=excess)


def robust_centre_and_scale(statistic: Floats) -> tuple[Floats, Floats]:
    """Median and spread of each column [n, ...] of NaN-marked statistics, with a floor under the spread.

    The spread is the interquartile range, or a quarter of the 2nd-to-98th percentile range where that is wider than
    the interquartile range of a normal distribution would lead one to expect.
    """
    known = np.isfinite(statistic)
    statistic = np.where(known.any(axis=0), statistic, 0.0)
    low, quarter, centre, three_quarters, high = quantiles(statistic, (0.02, 0.25, 0.5, 0.75, 0.98))
    scale = np.maximum((three_quarters - quarter) / _IQR_OF_NORMAL, (high - low) / 8.0)
    return centre, np.maximum(scale, _SPREAD_FLOOR)


def quantiles(statistic: Floats, shares: Sequence[float]) -> Floats:
    """Quantiles [share, ...] of each column [n, ...], NaN left out.

    The same as ``np.nanquantile``, which loops over all columns in Python where these few have a gap.
    """
    columns = statistic.reshape(len(statistic), -1)
    gaps = np.isnan(columns).any(axis=0)
    found = np.empty((len(shares), columns.shape[1]))
    found[:, ~gaps] = np.quantile(columns if not gaps.any() else columns[:, ~gaps], shares, axis=0)
    if gaps.any():
        found[:, gaps] = np.nanquantile(columns[:, gaps], shares, axis=0)
    return found.reshape(len(shares), *statistic.shape[1:])
