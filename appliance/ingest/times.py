"""Reads the time of a measurement out of a payload: ISO 8601, or a number of seconds, ms, µs or ns since 1970."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, Literal

from appliance.ingest.reasons import quote, refuse

EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC).timestamp()
"""Unix seconds. Earlier times come from clocks that were never set."""
LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
"""Unix seconds. With :data:`EARLIEST` it keeps the four epoch units apart: no number is a time in two of them."""

EpochUnit = Literal["s", "ms", "us", "ns"]
UNITS_PER_SEC: Final[dict[EpochUnit, float]] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}

_MAX_CHARS = 64  # the longest ISO 8601 time with zone and nanoseconds has 35
_DIGITS = re.compile(r"[0-9]+(\.[0-9]*)?")


def read_time(value: object, naive_utc: bool = False) -> float:
    """Turn what a payload gives as its time into Unix seconds.

    Parameters
    ----------
    value
        An ISO 8601 string with a zone, or an epoch as a number or a string of digits. The unit of an epoch (s, ms, µs
        or ns) follows from its magnitude.
    naive_utc
        Whether an ISO time without a zone is taken as UTC; otherwise it is refused, because most often it is local
        time and would be wrong by hours.

    Raises
    ------
    DecodeError
        ``bad_time``: unreadable, without a zone, or not between 1990 and 2100.

    Examples
    --------
    >>> read_time("2026-01-02T03:04:05+01:00") == read_time(1767319445000) == 1767319445.0
    True
    """
    kind = type(value)
    if kind is float or kind is int:
        return _from_epoch(value)  # type: ignore[arg-type]  # `type() is` is not narrowed, and isinstance takes bool
    if isinstance(value, str) and len(value) <= _MAX_CHARS:
        return _from_epoch(float(value)) if _DIGITS.fullmatch(value) else _from_iso(value, naive_utc)
    raise refuse("bad_time", f"{quote(value)} is neither an ISO 8601 time nor a number")


def from_epoch(value: int, unit: EpochUnit) -> float:
    """Turn an epoch of a known unit into Unix seconds; raises DecodeError ``bad_time`` outside 1990 to 2100."""
    return _bounded(value / UNITS_PER_SEC[unit] if value.bit_length() <= 64 else 0.0)


def _from_epoch(value: float) -> float:
    for per_sec in UNITS_PER_SEC.values():
        if EARLIEST * per_sec <= value <= LATEST * per_sec:
            return value / per_sec
    raise refuse("bad_time", "the number is not between 1990 and 2100 in s, ms, us or ns since 1970")


def _from_iso(text: str, naive_utc: bool) -> float:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise refuse("bad_time", f"{quote(text)} is not an ISO 8601 time") from None
    if moment.tzinfo is None:
        if not naive_utc:
            raise refuse("bad_time", f"{quote(text)} has no zone: send one, or set naive_utc if the machine means UTC")
        moment = moment.replace(tzinfo=UTC)
    return _bounded(moment.timestamp())


def _bounded(seconds: float) -> float:
    if not EARLIEST <= seconds <= LATEST:
        raise refuse("bad_time", "the time is not between 1990 and 2100")
    return seconds
