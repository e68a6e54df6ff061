"""What a machine's labels say together, without the machine."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import DecodeError
from appliance.labels import Labels
from appliance.records import Alert, Label, LabelVerdict
from appliance.store import packing

NEWEST = 1000.0
MACHINE_ALERT = Alert("a", "m", "closed", 100.0, 110.0, 200.0, 200.0, 5.0, 4.0, {"temp": 1.0}, {}, "Hot.")
SENSOR_ALERT = replace(MACHINE_ALERT, id="s", kind="sensor", sensor_fault="stuck", peak_score=None, threshold=None)


def label(number: int, verdict: LabelVerdict, start: float | None = None, end: float | None = None) -> Label:
    return Label(str(number), "m", verdict, start, end, 0.0)


def heard(*said: Label, labels: Labels | None = None) -> Labels:
    labels = labels or Labels()
    for each in said:
        labels.add(each, newest=NEWEST, received_at=0.0)
    return labels


def stretches(labels: Labels) -> list[tuple[str, float, float]]:
    return [(piece.label.verdict, piece.start, piece.end) for piece in labels.standing()]


def test_of_two_that_contradict_each_other_the_later_one_stands_and_both_are_kept() -> None:
    labels = heard(label(1, "fault", 100, 200), label(2, "false_alarm", 150, 180))
    assert stretches(labels) == [("fault", 100, 150), ("false_alarm", 150, 180), ("fault", 180, 200)]
    assert labels.not_learned() == [(100, 150), (180, 200)]
    assert label(1, "fault") in labels
    other_way = heard(label(2, "false_alarm", 150, 180), label(1, "fault", 100, 200))
    assert stretches(other_way) == [("fault", 100, 200)]


def test_a_new_normal_overrules_what_was_said_before_of_the_time_since() -> None:
    labels = heard(label(1, "fault", 100, 300), label(2, "new_normal", 200), label(3, "fault", 400, 500))
    assert stretches(labels) == [
        ("fault", 100, 200),
        ("new_normal", 200, 400),
        ("fault", 400, 500),
        ("new_normal", 500, math.inf),
    ]


def test_maintenance_lies_ahead_or_behind() -> None:
    labels = heard(label(1, "maintenance", 5000, 6000))
    assert labels.maintained(5990, 6010)
    assert not labels.maintained(6000, 6016)
    assert not labels.maintained(4984, 5000)


def test_a_bad_sensor_is_bad_until_it_is_cleared() -> None:
    bad = replace(label(1, "bad_sensor", 100), channel="temp")
    labels = heard(bad)
    assert labels.bad_at(2000, 2016) == {"temp"}
    assert labels.bad_at(50, 100) == set()
    assert stretches(labels) == []
    heard(replace(bad, id="2", start=900, cleared=True), labels=labels)
    assert labels.bad_sensors() == {"temp": [(100, 900)]}
    assert labels.bad_at(2000, 2016) == set()


def test_an_alert_stands_for_its_stretch_and_its_sensor() -> None:
    labels = Labels()
    labels.note([MACHINE_ALERT, replace(SENSOR_ALERT, state="open", closed_at=None)])
    by_alert = replace(label(1, "fault"), alert="a")
    assert labels.add(by_alert, newest=NEWEST, received_at=0.0) == replace(by_alert, start=100.0, end=200.0)
    bad = replace(label(2, "bad_sensor"), alert="s")
    assert labels.add(bad, newest=NEWEST, received_at=0.0) == replace(bad, start=100.0, channel="temp")
    dismissed = replace(label(3, "false_alarm"), alert="s")
    assert labels.add(dismissed, newest=NEWEST, received_at=0.0).end == NEWEST  # it is still open
    assert stretches(labels) == [("fault", 100, 200)]  # a sensor's is nothing of the machine


@pytest.mark.parametrize(
    ("asked", "reason", "detail"),
    [
        (replace(label(1, "fault"), alert="b"), "unknown_alert", 'no alert "b" of late; give from and to'),
        (replace(label(1, "bad_sensor"), alert="a"), "bad_label", "that alert is of the machine"),
        (replace(label(1, "fault"), alert="s"), "bad_label", "that alert is of the sensor temp; say bad_sensor"),
        (label(1, "fault", NEWEST + 1, NEWEST + 2), "no_such_time", "begins after the newest reading"),
        (label(1, "new_normal", NEWEST + 7200), "no_such_time", "begins after the newest reading"),
    ],
)
def test_what_a_machine_cannot_know_is_refused_and_leaves_nothing(asked: Label, reason: str, detail: str) -> None:
    labels = Labels()
    labels.note([MACHINE_ALERT, SENSOR_ALERT])
    before = packing.pack(labels.snapshot())
    with pytest.raises(DecodeError) as error:
        labels.add(asked, newest=NEWEST, received_at=0.0)
    assert (error.value.reason, detail in error.value.detail) == (reason, True)
    assert packing.pack(labels.snapshot()) == before


def test_a_flood_is_refused_and_an_hour_later_people_are_heard_again() -> None:
    labels = heard(*(label(number, "fault", 1, 2) for number in range(100)))
    with pytest.raises(DecodeError, match="more than 100 in an hour"):
        labels.add(label(100, "fault", 1, 2), newest=NEWEST, received_at=3599.0)
    assert labels.add(label(100, "fault", 1, 2), newest=NEWEST, received_at=3601.0).id == "100"


verdicts = st.sampled_from(["fault", "false_alarm", "maintenance"])
spans = st.lists(st.tuples(verdicts, st.integers(0, 50), st.integers(1, 20)), max_size=8)


@given(spans)
def test_what_stands_at_a_time_is_the_latest_label_that_covers_it(said: list[tuple[LabelVerdict, int, int]]) -> None:
    labels = heard(*(label(n, verdict, at, at + length) for n, (verdict, at, length) in enumerate(said)))
    pieces = labels.standing()
    for time in range(72):
        expected = [verdict for verdict, at, length in said if at <= time < at + length][-1:]
        assert [piece.label.verdict for piece in pieces if piece.start <= time < piece.end] == expected
    assert all(left.end <= right.start for left, right in pairwise(pieces))


def test_a_restart_forgets_nothing() -> None:
    labels = heard(label(1, "fault", 100.0, 200.0), replace(label(2, "bad_sensor", 3.0), channel="temp"))
    labels.note([MACHINE_ALERT, SENSOR_ALERT])
    resumed = Labels()
    resumed.restore(packing.unpack(packing.pack(labels.snapshot())))
    assert packing.pack(resumed.snapshot()) == packing.pack(labels.snapshot())
    assert stretches(resumed) == stretches(labels)
