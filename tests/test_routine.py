from __future__ import annotations

from dataclasses import replace

from appliance.records import Alert
from appliance.routine import DAY_SECS, Routine
from appliance.store import packing

BEGIN = 1_767_571_200.0
HOUR = 3600.0
WINDOW_SECS = 960.0


def alert(day: int, begin: float, end: float, *, channels: str = "ab") -> Alert:
    """An alert that was open between two hours of a day since the machine was learned."""
    since, closed = (BEGIN + day * DAY_SECS + hour * HOUR for hour in (begin, end))
    shares = dict.fromkeys(channels, 0.5)
    return Alert(f"{since}", "m", "closed", since, since, closed, closed, 5.0, 3.0, shares, {}, "")


def routine() -> Routine:
    made = Routine(WINDOW_SECS)
    made.begin(BEGIN)
    return made


def learned(*alerts: Alert) -> list[int]:
    """How many episodes each alert showed to be routine."""
    made = routine()
    return [len(made.ended(each)) for each in alerts]


def test_what_comes_back_a_day_later_at_the_same_time_is_routine() -> None:
    assert learned(alert(0, 8, 16), alert(1, 8.2, 16.5)) == [0, 2]


def test_what_keeps_no_hours_is_not() -> None:
    assert learned(alert(0, 8, 16), alert(1, 10, 18), alert(2, 4, 12)) == [0, 0, 0]


def test_what_lasts_longer_the_next_day_is_not() -> None:
    assert learned(alert(0, 8, 12), alert(1, 8, 18)) == [0, 0]


def test_what_begins_days_after_the_warm_up_is_a_fault_that_shows_in_one_shift() -> None:
    assert learned(*(alert(day, 8, 16) for day in range(2, 9))) == [0] * 7


def test_two_episodes_a_day_are_routine_once_both_came_back() -> None:
    day = [(6, 9), (14, 18)]
    assert learned(*(alert(number, *hours) for number in (0, 1) for hours in day)) == [0, 0, 0, 4]


def test_one_that_did_not_come_back_keeps_the_others_from_being_routine() -> None:
    assert learned(alert(0, 8, 16), alert(0, 20, 22), alert(1, 2, 4), alert(1, 8, 16)) == [0] * 4


def test_short_ones_may_be_chance() -> None:
    assert learned(alert(0, 8, 8.4), alert(1, 8, 8.4)) == [0, 0]


def test_other_channels_are_something_else() -> None:
    assert learned(alert(0, 8, 16), alert(1, 8, 16, channels="cd")) == [0, 0]


def test_an_alert_that_opened_again_is_the_same_episode() -> None:
    first = alert(0, 8, 12)
    again = replace(first, closed_at=BEGIN + 16 * HOUR)
    assert learned(first, again, alert(1, 8, 16)) == [0, 0, 2]


def test_a_restart_between_the_two_days_makes_no_difference() -> None:
    made, resumed = routine(), Routine(WINDOW_SECS)
    made.ended(alert(0, 8, 16))
    resumed.restore(packing.unpack(packing.pack(made.snapshot())))
    second = alert(1, 8, 16)
    assert resumed.ended(second) == made.ended(second) != []
