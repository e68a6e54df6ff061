"""What a machine's channels read, in their own units: window → score log, warm-up → the usual range in sentences."""

from __future__ import annotations

import numpy as np

from appliance.records import Floats, Signal, Window


def usual_range(series: Floats) -> Floats:
    """Return the 1st and 99th percentile [2, channel] of each channel's readings in ``series`` [channel, time]."""
    usual = np.full((2, len(series)), np.nan)
    present = ~np.isnan(series).all(axis=1)
    usual[:, present] = np.nanpercentile(series[present], [1, 99], axis=1)
    return usual


def signals(window: Window) -> dict[str, Signal]:
    """Mean, least and greatest value of every channel that has data in a window."""
    values = window.values
    present = ~np.isnan(values)
    counts = np.count_nonzero(present, axis=1)
    if counts.sum() < values.size:
        least, greatest = np.where(present, values, np.inf), np.where(present, values, -np.inf)
        means = np.where(present, values, 0.0).sum(axis=1) / np.maximum(counts, 1)
    else:
        least = greatest = values
        means = np.add.reduce(values, axis=1) / values.shape[1]
    least, greatest = np.minimum.reduce(least, axis=1), np.maximum.reduce(greatest, axis=1)
    rows = zip(window.channels, counts.tolist(), means.tolist(), least.tolist(), greatest.tolist(), strict=True)
    return {name: Signal(mean, low, high) for name, count, mean, low, high in rows if count}
