import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import DecodeError
from appliance.ingest.times import EARLIEST, LATEST, UNITS_PER_SEC, EpochUnit, from_epoch, read_time

SECONDS = 1_767_319_445.0


@pytest.mark.parametrize(
    "value",
    [
        1_767_319_445,
        1_767_319_445.0,
        1_767_319_445_000,
        1_767_319_445_000_000,
        1_767_319_445_000_000_000,
        "1767319445",
        "1767319445000.0",
        "2026-01-02T02:04:05Z",
        "2026-01-02T03:04:05+01:00",
        "2026-01-02 02:04:05.000000000+00:00",
        "20260102T020405Z",
    ],
)
def test_the_same_moment_in_many_forms(value: Any) -> None:
    assert read_time(value) == SECONDS


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        -SECONDS,
        math.nan,
        math.inf,
        10**400,
        EARLIEST - 1,
        LATEST + 1,
        "",
        "now",
        "nan",
        "1e9",
        "1_767_319_445",
        "\u00b2",
        "-1767319445",
        "1" * 5_000,
        "2026-01-02T02:04:05",
        "2026-01-02",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+14:00",
        [SECONDS],
        {},
    ],
)
def test_what_is_no_time(value: Any) -> None:
    with pytest.raises(DecodeError, match="bad_time"):
        read_time(value)


def test_a_time_without_zone_is_utc_only_on_request() -> None:
    assert read_time("2026-01-02T02:04:05", naive_utc=True) == SECONDS
    with pytest.raises(DecodeError, match="set naive_utc"):
        read_time("2026-01-02T02:04:05")


@given(
    st.datetimes(datetime(1990, 1, 2), datetime(2099, 12, 31), timezones=st.just(UTC)),
    st.sampled_from(sorted(UNITS_PER_SEC)),
)
def test_the_unit_of_an_epoch_follows_from_its_magnitude(moment: datetime, unit: EpochUnit) -> None:
    seconds = int(moment.timestamp())
    number = seconds * int(UNITS_PER_SEC[unit])
    assert read_time(number) == from_epoch(number, unit) == seconds
    assert read_time(moment.isoformat()) == moment.timestamp()


@given(st.text() | st.integers() | st.floats() | st.none() | st.booleans())
def test_any_value_is_a_time_within_bounds_or_refused(value: Any) -> None:
    try:
        assert EARLIEST <= read_time(value) <= LATEST
    except DecodeError as error:
        assert error.reason == "bad_time"  # noqa: PT017 - a value may also be a time
