from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from appliance.evaluation.truth import WEEK_SECS, Event, compare, events_of
from appliance.recordings import Recording
from appliance.records import Alert

WATCHED = {"m": (0.0, WEEK_SECS)}
EVENT = Event("m", "bearing", 1000.0, 2000.0, ("vibration", "temp"))
SENSOR = replace(EVENT, kind="stuck", is_sensor=True)


def alert(opened: float, closed: float | None = None, *, machine: str = "m", channel: str = "vibration") -> Alert:
    state = "open" if closed is None else "closed"
    return Alert("id", machine, state, opened, opened, opened, closed, 5.0, 4.0, {channel: 1.0}, {}, "")  # type: ignore[arg-type]


def test_an_event_is_caught_by_an_alert_that_opens_during_it() -> None:
    for opened, closed, delay in ((1000.0, None, 0.0), (1500.0, 1600.0, 500.0), (2050.0, None, 1050.0)):
        (match,) = compare([EVENT], [alert(opened, closed)], WATCHED, grace_secs=50.0).matches
        assert match.alert is not None
        assert match.delay_secs == delay


def test_an_alert_that_never_closes_catches_nothing_but_its_own_event() -> None:
    later = replace(EVENT, start=5000.0, end=6000.0)
    for opened, caught, false in ((1500.0, 1, 0), (500.0, 0, 1)):
        found = compare([EVENT, later], [alert(opened)], WATCHED, grace_secs=50.0)
        assert (found.caught, len(found.false_alerts)) == (caught, false)
        assert found.matches[1].was_open
        assert found.overshadowed == 2 - caught
        assert found.alert_hours == (WEEK_SECS - opened) / 3600


def test_an_alert_before_after_or_elsewhere_is_false() -> None:
    for stray in (alert(500.0, 999.0), alert(999.0, 1500.0), alert(2051.0)):
        found = compare([EVENT], [stray], WATCHED, grace_secs=50.0)
        assert (found.caught, found.false_alerts) == (0, [stray])
    elsewhere = compare([EVENT], [alert(1500.0, machine="n")], WATCHED | {"n": (0.0, WEEK_SECS)}, 50.0)
    assert (elsewhere.caught, len(elsewhere.false_alerts), elsewhere.false_per_week) == (0, 1, 0.5)


def test_the_first_alert_counts_and_none_is_false_that_opens_during_the_event() -> None:
    found = compare([EVENT], [alert(1800.0), alert(1200.0, 1300.0)], WATCHED, 0.0)
    assert found.matches[0].delay_secs == 200.0
    assert found.false_alerts == []


def test_a_sensor_event_is_neither_expected_nor_false() -> None:
    found = compare([SENSOR], [alert(1500.0)], WATCHED, 0.0)
    assert (found.machine_events, found.false_alerts, found.caught) == ([], [], 0)
    assert found.summary()["sensor_events"] == 1


def of_sensor(opened: float, channel: str = "vibration") -> Alert:
    return replace(alert(opened, channel=channel), kind="sensor", sensor_fault="stuck")


def test_a_sensor_s_alert_is_held_against_sensor_events_only() -> None:
    for told, named in ((of_sensor(1500.0), 1), (of_sensor(1500.0, "rpm"), 0)):
        found = compare([SENSOR], [told], WATCHED, 0.0).summary()
        assert (found["sensor_events_diagnosed"], found["sensor_events_named_rightly"]) == (1, named)
        assert (found["false_alerts"], found["false_sensor_alerts"], found["alert_hours"]) == (0, 1 - named, 0.0)
        assert found["sensor_events_that_alerted_the_machine"] == 0


def test_a_sensor_s_alert_never_catches_a_fault_of_the_machine() -> None:
    found = compare([EVENT], [of_sensor(1500.0)], WATCHED, 0.0)
    assert (found.caught, found.false_alerts, len(found.false_sensor_alerts)) == (0, [], 1)
    assert not found.matches[0].diagnosed_rightly


def test_a_machine_s_alert_during_a_sensor_event_is_counted_apart() -> None:
    found = compare([SENSOR], [alert(1500.0)], WATCHED, 0.0).summary()
    assert (found["sensor_events_that_alerted_the_machine"], found["sensor_events_diagnosed"]) == (1, 0)


def test_the_sensor_s_own_alert_is_its_diagnosis_even_where_another_came_first() -> None:
    (match,) = compare([SENSOR], [of_sensor(1100.0, "rpm"), of_sensor(1500.0)], WATCHED, 0.0).matches
    assert match.diagnosed_rightly


def test_only_what_was_watched_counts() -> None:
    early, late = replace(EVENT, start=-1.0), replace(EVENT, start=WEEK_SECS, end=WEEK_SECS + 9)
    found = compare([early, late, replace(EVENT, machine="x")], [alert(5.0, 6.0, machine="x")], WATCHED, 0.0)
    assert (found.matches, found.false_alerts, found.machine_weeks) == ([], [], 1.0)


def test_blame_is_right_where_the_worst_channel_is_one_of_the_events() -> None:
    (right,) = compare([EVENT], [alert(1500.0, channel="temp")], WATCHED, 0.0).matches
    (wrong,) = compare([EVENT], [alert(1500.0, channel="rpm")], WATCHED, 0.0).matches
    (unknown,) = compare([replace(EVENT, channels=())], [alert(1500.0)], WATCHED, 0.0).matches
    (missed,) = compare([EVENT], [], WATCHED, 0.0).matches
    assert [match.blamed_rightly for match in (right, wrong, unknown, missed)] == [True, False, None, None]


def test_the_summary_counts_only_what_is_known() -> None:
    events = [EVENT, replace(EVENT, start=5000.0, end=6000.0), replace(EVENT, start=8000.0, end=9000.0)]
    found = compare(events, [alert(1100.0, 1200.0), alert(5300.0, 5400.0, channel="x")], WATCHED, 0.0).summary()
    assert (found["events"], found["caught"], found["median_delay_secs"]) == (3, 2, 200.0)
    assert math.isclose(found["recall"], 2 / 3)
    assert (found["blamed_rightly"], found["blamed"]) == (1, 2)
    nothing = compare([], [], {}, 0.0)
    assert math.isnan(nothing.false_per_week)
    assert (nothing.summary()["recall"], nothing.summary()["false_alerts_per_machine_week"]) == (None, None)


def test_events_are_read_from_the_truth_or_else_from_the_spans() -> None:
    times = np.linspace(100.0, 118.0, 10)
    truth = [{"kind": "leak", "start": 2, "end": 5, "channels": ["a"], "kind_of_fault": "sensor"}]
    recording = Recording("m", ("a",), times, np.zeros((10, 1)), meta={"truth": truth, "events": [[0, 1]]})
    assert events_of(recording) == [Event("m", "leak", 104.0, 110.0, ("a",), True)]
    assert events_of(replace(recording, meta={"events": [[0, 1]]})) == [Event("m", "event", 100.0, 102.0)]
    assert events_of(replace(recording, meta={})) == []
