from __future__ import annotations

from dataclasses import replace

from appliance.outcome import Attempt
from appliance.records import Label
from appliance.store.influx import alert_lines, attempt_lines, label_lines
from tests.store.test_results import ALERT, NOW


def test_a_sensor_s_alert_is_another_point_than_the_machine_s_own() -> None:
    sensor = replace(ALERT, kind="sensor", sensor_fault="stuck", peak_score=None, threshold=None)
    (machine_line,), (sensor_line,) = alert_lines("hall", ALERT), alert_lines("hall", sensor)
    at = round(ALERT.updated_at * 1e9)
    assert machine_line.startswith('alert,site=hall,machine=m id="m-1",kind="machine",state="open",peak_score=5.0,')
    assert sensor_line == (
        f'alert,site=hall,machine=m,channel=a id="m-1",kind="sensor",state="open",summary="Hot.",since={NOW} {at}'
    )


def test_labels_that_begin_at_the_same_time_are_points_of_their_own() -> None:
    label = Label("7", "m", "fault", NOW, NOW + 60, NOW + 90, fault="bearing")
    at = round(NOW * 1e9)
    assert label_lines("hall", label) == [
        'label,site=hall,machine=m,id=7 verdict="fault",end=1767571260.0,name="bearing",cleared=0.0,'
        f'said_at=1767571290.0,via="mqtt" {at}'
    ]
    assert label_lines("hall", replace(label, id="8")) != label_lines("hall", label)


def test_attempts_after_the_same_window_are_points_of_their_own_and_say_why_one_was_not_taken() -> None:
    taken = Attempt("m", NOW, "label", "7", 3, 2, "catches 1 of 1", None, 1, 0, 1, 0.5, 0.25)
    vetoed = replace(taken, at=NOW + 1e-6, vetoed="it would lose 1")
    at = round(NOW * 1e9)
    assert attempt_lines("hall", taken) == [
        'adaptation,site=hall,machine=m cause="label",label="7",head=3.0,labels=2.0,promoted=1.0,faults=1.0,'
        f'caught_before=0.0,caught=1.0,alerts_before=0.5,alerts=0.25,words="catches 1 of 1" {at}'
    ]
    (line,) = attempt_lines("hall", vetoed)
    assert 'promoted=0.0,vetoed="it would lose 1",' in line
    assert line.endswith(f" {at + 1000}")
