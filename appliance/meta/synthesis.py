"""Made-up faults for training: normal stretches in, the same with a fault of one family in some channels out.

Every family is a pure function of a stretch, a generator, a severity and the channels struck. Which families count as
faults is drawn anew for every episode (`episodes.py`), so none of them is a fault by itself: only the labels tell.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from appliance.records import Floats

Channels = NDArray[np.intp]
Family = Callable[[Floats, np.random.Generator, float, Channels], Floats]
"""(stretch [channel, time] in normal spreads, generator, severity 0…1, channels struck) → stretch; a copy."""

_FAINTEST, _LOUDEST = 1.0, 12.0
"""Normal spreads at severity 0 and 1: from what hides in the noise to what nobody could miss."""


def _size(severity: float) -> float:
    return float(_FAINTEST * (_LOUDEST / _FAINTEST) ** severity)


def _signs(rng: np.random.Generator, channels: Channels) -> Floats:
    return rng.choice([-1.0, 1.0], size=(len(channels), 1))


def spike(values: Floats, rng: np.random.Generator, severity: float, channels: Channels) -> Floats:
    """One to a few cells far off."""
    struck = values.copy()
    cells = rng.choice(values.shape[1], size=min(values.shape[1], int(rng.integers(1, 4))), replace=False)
    struck[np.ix_(channels, cells)] += 2.0 * _size(severity) * _signs(rng, channels)
    return struck


def level_shift(values: Floats, rng: np.random.Generator, severity: float, channels: Channels) -> Floats:
    """Another level from one moment to the next."""
    struck = values.copy()
    struck[channels] += _size(severity) * _signs(rng, channels)
    return struck


def drift(values: Floats, rng: np.random.Generator, severity: float, channels: Channels) -> Floats:
    """Let the level walk away steadily."""
    struck = values.copy()
    struck[channels] += _size(severity) * _signs(rng, channels) * np.linspace(0.0, 1.5, values.shape[1])
    return struck


def more_spread(values: Floats, rng: np.random.Generator, severity: float, channels: Channels) -> Floats:
    """Noise on top."""
    struck = values.copy()
    struck[channels] += 0.5 * _size(severity) * rng.standard_normal((len(channels), values.shape[1]))
    return struck


def less_spread(values: Floats, rng: np.random.Generator, severity: float, channels: Channels) -> Floats:
    """Movements damped towards the stretch's own level."""
    struck = values.copy()
    mean = values[channels].mean(axis=1, keepdims=True)
    struck[channels] = mean + (1.0 - 0.5 * (1.0 + severity)) * (values[channels] - mean)
    return struck


def faster(values: Floats, rng: np.random.Generator, severity: float, channels: Channels) -> Floats:
    """Speed the movements up, as of a machine that turns faster: resampled from the stretch's begin."""
    struck = values.copy()
    time = np.arange(values.shape[1])
    sped = (time * (1.5 + 2.0 * severity)) % max(values.shape[1] - 1, 1)
    for channel in channels:
        struck[channel] = np.interp(sped, time, values[channel])
    return struck


def oscillation(values: Floats, rng: np.random.Generator, severity: float, channels: Channels) -> Floats:
    """Add a hum that was not there: a control loop that hunts."""
    struck = values.copy()
    phase = 2 * np.pi * (np.arange(values.shape[1]) / rng.uniform(3.0, 16.0) + rng.uniform())
    struck[channels] += _size(severity) * _signs(rng, channels) * np.sin(phase)
    return struck


def missing_oscillation(values: Floats, rng: np.random.Generator, severity: float, channels: Channels) -> Floats:
    """Movements that stay away: only the slow part is left."""
    struck = values.copy()
    width = int(2 + 14 * severity)
    kernel = np.full(width, 1.0 / width)
    for channel in channels:
        padded = np.pad(values[channel], (width // 2, width - 1 - width // 2), mode="edge")
        struck[channel] = np.convolve(padded, kernel, mode="valid")
    return struck


def stuck(values: Floats, rng: np.random.Generator, severity: float, channels: Channels) -> Floats:
    """One value held."""
    struck = values.copy()
    struck[channels] = values[channels, :1]
    return struck


def stuck_between(values: Floats, rng: np.random.Generator, severity: float, channels: Channels) -> Floats:
    """Held half-way between two values that it usually has, as a valve that no longer closes, with a little noise."""
    struck = values.copy()
    low, high = np.quantile(values[channels], (0.1, 0.9), axis=1)[:, :, None]
    share = rng.uniform(0.3, 0.7)
    noise = 0.1 * rng.standard_normal((len(channels), values.shape[1]))
    struck[channels] = low + share * (high - low) + noise + _signs(rng, channels) * severity
    return struck


def broken_correlation(values: Floats, rng: np.random.Generator, severity: float, channels: Channels) -> Floats:
    """Each channel plausible by itself, at the wrong time: blocks in another order."""
    struck = values.copy()
    blocks = np.array_split(np.arange(values.shape[1]), max(2, int(2 + 4 * severity)))
    for channel in channels:
        order = np.concatenate([blocks[i][::-1] for i in rng.permutation(len(blocks))])
        struck[channel] = values[channel, order]
    return struck


def lag(values: Floats, rng: np.random.Generator, severity: float, channels: Channels) -> Floats:
    """Late: what the others do now it does some cells later."""
    struck = values.copy()
    cells = min(int(2 + 10 * severity), values.shape[1] - 1)
    if cells > 0:
        struck[channels, cells:] = values[channels, :-cells]
        struck[channels, :cells] = values[channels, :1]
    return struck


def inverted(values: Floats, rng: np.random.Generator, severity: float, channels: Channels) -> Floats:
    """Mirrored at its own level: a relation with the wrong sign."""
    struck = values.copy()
    mean = values[channels].mean(axis=1, keepdims=True)
    struck[channels] = mean - (0.5 + severity) * (values[channels] - mean)
    return struck


def bumps(values: Floats, rng: np.random.Generator, severity: float, channels: Channels) -> Floats:
    """Short dips that come back again and again: a load or a supply that drops out."""
    struck = values.copy()
    every, wide = int(rng.integers(6, 14)), int(rng.integers(2, 5))
    inside = (np.arange(values.shape[1]) + rng.integers(every)) % every < wide
    struck[channels] -= _size(severity) * inside
    return struck


def exchanged(values: Floats, rng: np.random.Generator, severity: float, channels: Channels) -> Floats:
    """Modes mixed: each struck channel follows, partly, another channel of the machine."""
    struck = values.copy()
    others = rng.integers(len(values), size=len(channels))
    share = 0.3 + 0.7 * severity
    struck[channels] = (1.0 - share) * values[channels] - share * values[others]
    return struck


def saturated(values: Floats, rng: np.random.Generator, severity: float, channels: Channels) -> Floats:
    """Cut off above, or below, what it usually reaches."""
    struck = values.copy()
    limit = np.quantile(values[channels], 0.5 - 0.4 * severity, axis=1, keepdims=True)
    struck[channels] = np.minimum(values[channels], limit)
    return struck


FAMILIES: dict[str, Family] = {
    family.__name__: family
    for family in (
        spike,
        level_shift,
        drift,
        more_spread,
        less_spread,
        faster,
        oscillation,
        missing_oscillation,
        stuck,
        stuck_between,
        broken_correlation,
        lag,
        inverted,
        bumps,
        exchanged,
        saturated,
    )
}
"""A new family is a function and its name here; the tests pick it up."""
