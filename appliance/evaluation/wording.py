"""Figures → the words that the terminal and the report print."""

from __future__ import annotations

from appliance.evaluation.bootstrap import Estimate
from appliance.evaluation.targets import Target, Unit

UNKNOWN = "—"
MINUS = "\N{MINUS SIGN}"


def number(value: float | None, digits: int = 3) -> str:
    """Write a figure without a sign.

    Examples
    --------
    >>> number(0.4567), number(None)
    ('0.457', '—')
    """
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def signed(value: float | None) -> str:
    """Write a difference.

    Examples
    --------
    >>> signed(0.0123), signed(-0.5), signed(None)
    ('+0.012', '−0.500', '—')
    """
    return UNKNOWN if value is None else f"{value:+.3f}".replace("-", MINUS)


def percent(value: float | None) -> str:
    """Write a share.

    Examples
    --------
    >>> percent(0.104), percent(None)
    ('10 %', '—')
    """
    return UNKNOWN if value is None else f"{100 * value:.0f} %"


def span(secs: float | None) -> str:
    """Write a time from seconds to days.

    Examples
    --------
    >>> span(42), span(300), span(5400), span(200_000), span(None)
    ('42 s', '5 min', '1.5 h', '2.3 d', '—')
    """
    if secs is None:
        return UNKNOWN
    for unit, length, upto, digits in (("s", 1, 120, 0), ("min", 60, 3600, 0), ("h", 3600, 172_800, 1)):
        if secs < upto:
            return f"{secs / length:.{digits}f} {unit}"
    return f"{secs / 86_400:.1f} d"


def interval(found: Estimate | None) -> str:
    """Write the interval of an unsigned figure, empty where it is unknown.

    Examples
    --------
    >>> interval(Estimate(0.4, 0.31, 0.52, 8, 4))
    '0.310–0.520'
    """
    return "" if found is None or found.low is None else f"{number(found.low)}–{number(found.high)}"


def signed_interval(found: Estimate | None) -> str:
    """Write the interval of a difference, empty where it is unknown.

    Examples
    --------
    >>> signed_interval(Estimate(0.1, -0.02, 0.22, 8, 4))
    '−0.020 to +0.220'
    """
    return "" if found is None or found.low is None else f"{signed(found.low)} to {signed(found.high)}"


def target_value(target: Target) -> str:
    """Write what was reached in the target's unit."""
    return _in_unit(target.value, target.unit)


def target_interval(target: Target) -> str:
    """Write the interval of what was reached, empty where it is unknown."""
    if target.interval is None:
        return ""
    return " to ".join(_in_unit(bound, target.unit) for bound in target.interval)


def _in_unit(value: float, unit: Unit) -> str:
    return {"delta": signed(value), "share": percent(value), "ms": f"{value:.1f} ms"}[unit]
