"""An alert in one sentence for the person who is called: scores and usual ranges → here → summary."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime

from appliance.records import RefitReason, Score, SensorFault, Signal

Usual = Mapping[str, tuple[float, float]]
"""Channel → the range its readings usually have."""

MEANT_SHARE = 0.15
"""A channel with a smaller share of the blame is not named."""
MOST_NAMED = 3
MOST_REASONS = 2
LOUD = 3.0
"""Evidence, -ln p, from which a second detector is worth a word: one window in twenty."""

LARGE, FINEST = 1e7, 6
"""A number that is larger, or needs more decimals, is written with an exponent."""

IN_WORDS = {
    "extreme": "single readings are extreme",
    "outside": "it is where it never was",
    "level": "the level is unusual",
    "spread": "it swings unusually far or little",
    "pca_residual": "the channels no longer move together",
    "hotelling": "the channels combine unusually",
    "feature_pca": "levels and swings no longer go together",
    "neighbours": "nothing like it was learned",
    "clusters": "nothing like it was learned",
    "forecast": "it does not follow from what went before",
    "spectrum": "its rhythm is unusual",
    "autoregression": "each reading follows unusually from the last",
    "spectral_residual": "something sudden stands out",
}
"""What an evidence detector means when it speaks; one without words here speaks by its name."""

VAGUE = {"neighbours", "clusters"}
"""These say that something is strange, not what: they speak where no other does."""

SENSOR_FAULT_IN_WORDS: Mapping[SensorFault, str] = {
    "stuck": "is stuck at {now} while the others move",
    "dropout": "loses readings while the others arrive",
    "out_of_range": "reads {now}, which the machine cannot reach",
    "noise": "is noisy while the others are calm",
    "unit_change": "reads {now} since a jump, as if in another unit",
}

REFIT_IN_WORDS: Mapping[RefitReason, str] = {
    "schedule": "as scheduled",
    "drift": "because its normal has changed",
    "routine": "because it does the same every day",
    "lost": "because its model could not be used",
    "new_normal": "because an operator called it the new normal",
}


def describe(score: Score, channels: Mapping[str, float], usual: Usual, since: float) -> str:
    """Say what is strange, worst channel first, why, and since when.

    Parameters
    ----------
    channels
        Channel → share of the blame, worst first.
    usual
        May lack a channel.
    since
        Unix seconds.
    """
    meant = [name for name, share in channels.items() if share >= MEANT_SHARE] or list(channels)
    what = ", ".join(reading(name, score.signals.get(name), usual.get(name)) for name in meant[:MOST_NAMED])
    parts = [what or "no single channel", *reasons(score.evidence), f"since {moment(since)}"]
    return f"{score.machine}: {'; '.join(parts)}."


def describe_sensor(machine: str, channel: str, fault: SensorFault, now: float) -> str:
    """Say what is wrong with a sensor that reads ``now``.

    Examples
    --------
    >>> describe_sensor("pump-1", "motor_temp_c", "stuck", 54.2)
    'pump-1: the sensor motor_temp_c is stuck at 54.2 while the others move.'
    """
    return f"{machine}: the sensor {channel} {SENSOR_FAULT_IN_WORDS[fault].format(now=f'{now:.6g}')}."


def reading(name: str, signal: Signal | None, usual: tuple[float, float] | None) -> str:
    """Say what a channel reads and what it should.

    Examples
    --------
    >>> reading("vibration", Signal(4.09, 3.8, 4.4), (1.21, 1.88))
    'vibration 4.1, above its usual 1.2 to 1.9'
    >>> reading("flow", Signal(140.0, 120.0, 160.0), (95.0, 180.0))
    'flow 140, within its usual 95 to 180'
    """
    if signal is None:
        return f"{name} silent"
    if usual is None or math.isnan(usual[0]):
        return f"{name} {figure(signal.mean, abs(signal.mean) / 100)}"
    low, high = usual
    matters = min((high - low or math.inf) / 5, max(abs(low), abs(high)) / 10)
    now, least, most = (figure(value, matters) for value in (signal.mean, low, high))
    where = "above" if signal.mean > high else "below" if signal.mean < low else "within"
    expected = least if least == most else f"{least} to {most}"
    return f"{name} {now}, {where} its usual {expected}"


def reasons(evidence: Mapping[str, float]) -> list[str]:
    """Put the loudest evidence into words, each thought once.

    A detector that looks at several windows' worth of time is called ``name@16``, how many; one that looks at the end
    of the window ``name@1/4``.

    Examples
    --------
    >>> reasons({"level@16": 9.0, "pca_residual@1/4": 5.0, "pca_residual": 4.0, "spectrum": 0.1})
    ['slowly: the level is unusual', 'the channels no longer move together']
    """
    spoke = sorted(evidence, key=lambda name: -evidence[name])
    loud = [name for name in spoke if evidence[name] >= LOUD] or spoke[:1]
    loud.sort(key=lambda name: name.partition("@")[0] in VAGUE)
    return list(dict.fromkeys(_in_words(name) for name in loud))[:MOST_REASONS]


def _in_words(name: str) -> str:
    kind, _, windows = name.partition("@")
    words = IN_WORDS.get(kind, kind)
    return f"slowly: {words}" if windows.isdecimal() else words


def figure(value: float, matters: float) -> str:
    """Write a number with no more decimals than a difference that matters needs.

    Examples
    --------
    >>> figure(4.0912, 0.13), figure(1475.2, 48.0), figure(0.0001234, 0.00001), figure(1e20, 1.0)
    ('4.1', '1475', '0.00012', '1e+20')
    """
    decimals = max(0, -math.floor(math.log10(matters))) if matters > 0 else math.inf
    if abs(value) >= LARGE or decimals > FINEST:
        return f"{value:.4g}"
    return f"{value:.{decimals}f}"


def moment(time: float) -> str:
    """Write a time for a sentence.

    Examples
    --------
    >>> moment(1_772_547_600.0)
    '14:20 UTC on 3 March'
    """
    at = datetime.fromtimestamp(time, UTC)
    return f"{at:%H:%M} UTC on {at.day} {at:%B}"
