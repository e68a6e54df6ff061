from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.incidents import AlertRules, IncidentTracker, alert_id
from appliance.records import Alert, Score, Signal
from appliance.store import packing

HOP, LENGTH, THRESHOLD = 8.0, 16.0, 3.0
RULES = AlertRules(cooldown_secs=100.0)


def score(number: int, value: float | None, **changes: object) -> Score:
    made = Score(
        machine="m",
        source="s",
        start=number * HOP,
        end=number * HOP + LENGTH,
        score=value,
        threshold=None if value is None else THRESHOLD,
        alarm=value is not None and value >= THRESHOLD,
        trust="prior",
        blank="no_data" if value is None else None,
        extrapolated=False,
        coverage=1.0,
        model=1,
        evidence={"level": value or 0.0, "spread": 0.5, "spectrum": 0.1},
        contributions={"temp": 0.7, "rpm": 0.2, "load": 0.1},
        signals={"temp": Signal(81.25, 80.0, 82.0)},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def told(values: list[float | None], rules: AlertRules = RULES) -> list[Alert | None]:
    tracker = IncidentTracker(rules)
    return [tracker.update(score(number, value)) for number, value in enumerate(values)]


def states(values: list[float | None], rules: AlertRules = RULES) -> list[str]:
    return ["." if alert is None else alert.state for alert in told(values, rules)]


def test_two_of_three_strange_windows_open_an_alert() -> None:
    assert states([0, 4, 0, 0, 4, 0, 0]) == ["."] * 7
    assert states([0, 4, 0, 4]) == [".", ".", ".", "open"]
    assert states([4, 4]) == [".", "open"]
    assert states([4, 4, 4], AlertRules(open_windows=3, of_windows=5)) == [".", ".", "open"]


def test_an_alert_opens_on_a_strange_window_only() -> None:
    tracker = IncidentTracker(AlertRules(open_windows=1, of_windows=3, close_windows=1))
    assert tracker.update(score(0, 4)) is not None
    closed = tracker.update(score(1, 0))
    assert closed is not None
    assert closed.state == "closed"
    assert tracker.update(score(2, 0)) is None  # the alarm before is forgotten with its alert


def test_it_says_when_what_and_how_strange() -> None:
    alert = told([0, 4, 5])[-1]
    assert alert is not None
    assert (alert.id, alert.since, alert.opened_at) == ("m-19700101T000008Z", 1 * HOP, 2 * HOP + LENGTH)
    assert (alert.peak_score, alert.threshold) == (5, THRESHOLD)
    assert list(alert.channels) == ["temp", "rpm", "load"]
    assert alert.summary == "m: temp 81.2, rpm silent; the level is unusual; since 00:00 UTC on 1 January."


def test_it_closes_after_three_quiet_windows_in_a_row_below_the_hysteresis() -> None:
    limit = RULES.close_ratio * THRESHOLD
    assert states([4, 4, 2, 2, 2]) == [".", "open", ".", ".", "closed"]
    assert states([4, 4, 2, 2, limit, 2, 2]) == [".", "open", ".", ".", ".", ".", "."]
    assert states([4, 4, limit, limit, limit]) == [".", "open", ".", ".", "."]
    closed = told([4, 4, 2, 2, 2])[-1]
    assert closed is not None
    assert closed.closed_at == 4 * HOP + LENGTH


def test_a_window_without_a_score_neither_opens_nor_closes() -> None:
    assert states([4, None, None, 4]) == [".", ".", ".", "open"]
    assert states([4, 4, 2, None, None, None, 2]) == [".", "open", ".", ".", ".", ".", "."]
    assert states([None] * 9) == ["."] * 9


def stopped(number: int) -> Score:
    return score(number, None, blank="stopped")


def test_an_open_alert_closes_when_the_machine_has_stood_for_a_while() -> None:
    tracker = IncidentTracker(replace(RULES, close_stopped_secs=3 * HOP))
    told_of = [tracker.update(score(n, 4)) for n in range(2)] + [tracker.update(stopped(n)) for n in range(2, 8)]
    assert [alert and alert.state for alert in told_of] == [None, "open", None, None, None, "closed", None, None]
    assert not tracker.is_open


def test_a_start_between_stops_begins_their_time_anew() -> None:
    tracker = IncidentTracker(replace(RULES, close_stopped_secs=3 * HOP))
    windows = [score(0, 4), score(1, 4), stopped(2), stopped(3), score(4, None, blank="starting"), stopped(5)]
    assert [alert.state for alert in map(tracker.update, windows) if alert] == ["open"]
    assert [alert.state for alert in map(tracker.update, map(stopped, range(6, 9))) if alert] == ["closed"]


def test_an_alarm_before_a_stop_and_one_after_it_open_nothing() -> None:
    tracker = IncidentTracker(RULES)
    assert [tracker.update(entry) for entry in (score(0, 4), stopped(1), score(2, 4))] == [None] * 3


def test_soon_after_closing_the_same_alert_opens_again() -> None:
    quick = told([4, 4, 0, 0, 0, 4, 5])
    assert [alert.state for alert in quick if alert] == ["open", "closed", "open"]
    assert len({alert.id for alert in quick if alert}) == 1
    again = quick[-1]
    assert again is not None
    assert (again.closed_at, again.peak_score, again.opened_at) == (None, 5, HOP + LENGTH)


def test_alarms_of_a_closed_alert_do_not_help_to_open_the_next() -> None:
    rules = AlertRules(open_windows=2, of_windows=6, close_windows=1)
    assert states([4, 4, 0, 4, 4], rules) == [".", "open", "closed", ".", "open"]


def test_the_peak_of_an_alert_that_opens_again_is_not_lowered() -> None:
    again = told([6, 6, 0, 0, 0, 4, 4])[-1]
    assert again is not None
    assert again.peak_score == 6


def test_after_the_cooldown_it_is_another_alert() -> None:
    later = told([4, 4, *[0.0] * 20, 4, 4])
    assert [alert.state for alert in later if alert] == ["open", "closed", "open"]
    assert len({alert.id for alert in later if alert}) == 2


def test_a_worse_peak_is_told_again_only_when_ten_times_less_likely() -> None:
    alerts = told([4, 4, 4.5, 4.9, 5.0, 5.5, 6.0])
    assert [alert and alert.peak_score for alert in alerts] == [None, 4, None, None, 5.0, None, 6.0]


def test_the_closed_alert_keeps_the_peak_and_its_evidence() -> None:
    closed = told([4, 4.2, 4.7, 0, 0, 0])[-1]
    assert closed is not None
    assert closed.peak_score == 4.7
    assert closed.evidence["level"] == 4.7


def test_at_most_five_channels_are_blamed_and_none_without_a_share() -> None:
    tracker = IncidentTracker(AlertRules(open_windows=1))
    shares = {f"c{n}": share for n, share in enumerate([0.0, 0.3, 0.1, 0.2, 0.15, 0.14, 0.11])}
    alert = tracker.update(score(0, 4, contributions=shares))
    assert alert is not None
    assert list(alert.channels) == ["c1", "c3", "c4", "c5", "c6"]
    nobody = IncidentTracker(AlertRules(open_windows=1)).update(score(0, 4, contributions={}, evidence={}))
    assert nobody is not None
    assert nobody.summary == "m: no single channel; since 00:00 UTC on 1 January."


def test_an_id_follows_from_machine_and_time_alone() -> None:
    assert alert_id("a", 1e9) == alert_id("a", 1e9) != alert_id("b", 1e9)


values = st.lists(st.none() | st.floats(0, 9), max_size=40)
stops = st.lists(st.booleans(), min_size=40, max_size=40)
rules = st.builds(
    lambda n, extra, close, cooldown: AlertRules(n, n + extra, close, 0.8, cooldown),
    st.integers(1, 4), st.integers(0, 4), st.integers(1, 4), st.sampled_from([0.0, 60.0]),
)  # fmt: skip


@settings(deadline=None)
@given(values, stops, rules, st.integers(0, 40))
def test_a_restart_at_any_point_changes_nothing(
    series: list[float | None], stands: list[bool], rule: AlertRules, cut: int
) -> None:
    rule = replace(rule, close_stopped_secs=2 * HOP)
    scores = [
        stopped(number) if value is None and stands[number] else score(number, value)
        for number, value in enumerate(series)
    ]
    undisturbed, tracker, resumed = (IncidentTracker(rule) for _ in range(3))
    expected = [undisturbed.update(entry) for entry in scores]
    before = [tracker.update(entry) for entry in scores[:cut]]
    resumed.restore(packing.unpack(packing.pack(tracker.snapshot())))
    assert [*before, *(resumed.update(entry) for entry in scores[cut:])] == expected


@settings(deadline=None)
@given(values, rules)
def test_alerts_open_and_close_in_turn(series: list[float | None], rule: AlertRules) -> None:
    known: dict[str, Alert] = {}
    standing: str | None = None
    for alert in filter(None, told(series, rule)):
        assert standing in {None, alert.id}  # never two at a time
        standing = None if alert.state == "closed" else alert.id
        assert (alert.closed_at is None) == (alert.state != "closed")
        assert alert.since < alert.opened_at <= alert.updated_at
        assert alert.peak_score is not None
        assert alert.peak_score >= max(THRESHOLD, (alert.id in known and known[alert.id].peak_score) or 0)
        known[alert.id] = alert


@pytest.mark.parametrize("rule", [RULES, AlertRules(cooldown_secs=0.0)])
def test_no_alert_without_alarms(rule: AlertRules) -> None:
    assert told([THRESHOLD - 0.01] * 50, rule) == [None] * 50


def dismissed(values: list[float], rules: AlertRules = RULES) -> list[str]:
    """States of what comes after an alert with a peak of 4 that an operator has called a false alarm."""
    tracker = IncidentTracker(rules)
    for number in range(2):
        tracker.update(score(number, 4))
    closed = tracker.judge("false_alarm", 0.0, HOP, HOP + LENGTH + 0.5)
    assert closed is not None
    assert (closed.state, closed.closed_at, closed.verdict) == ("closed", HOP + LENGTH + 0.5, "false_alarm")
    resumed = IncidentTracker(rules)
    resumed.restore(packing.unpack(packing.pack(tracker.snapshot())))
    after = [resumed.update(score(number, value)) for number, value in enumerate(values, start=2)]
    return ["." if alert is None else alert.state for alert in after]


def test_what_goes_on_of_a_false_alarm_opens_no_alert() -> None:
    assert dismissed([4] * 9) == ["."] * 9
    assert dismissed([4, 0, 4, 0, 0, 4, 4]) == ["."] * 7


def test_a_false_alarm_is_over_when_it_has_been_quiet_or_grows_ten_times_less_likely() -> None:
    assert dismissed([4, 0, 0, 0, 4, 4]) == [".", ".", ".", ".", ".", "open"]
    assert dismissed([4, 5.1, 5.1]) == [".", ".", "open"]


def test_a_verdict_is_on_the_latest_alert_only_where_it_is_about_that() -> None:
    tracker = IncidentTracker(RULES)
    assert tracker.judge("fault", 0.0, 1e9, 0.0) is None
    for number in range(5):
        tracker.update(score(number, [4, 4, 0, 0, 0][number]))
    assert tracker.current is not None
    assert tracker.judge("fault", tracker.current.closed_at or 0.0, 1e9, 1e9) is None
    told = tracker.judge("fault", HOP, 2 * HOP, 1e9)
    assert told is not None
    assert (told.state, told.verdict, told.updated_at) == ("closed", "fault", 1e9)


def test_maintenance_closes_an_alert_and_forgets_the_alarms_before() -> None:
    tracker = IncidentTracker(RULES)
    silent = replace(score(2, None), blank="maintenance")
    for number in range(2):
        tracker.update(score(number, 4))
    closed = tracker.update(silent)
    assert closed is not None
    assert closed.state == "closed"
    assert tracker.update(score(3, 4)) is None
