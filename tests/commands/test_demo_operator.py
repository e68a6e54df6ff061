"""What the demo's operator says at which place among the readings, and how the demo judges what came of it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from appliance.commands.demo_operator import LATE_SECS, Operator, lesson, lesson_in_words, lesson_table
from appliance.ingest.labels import read_label
from appliance.recordings import Recording
from appliance.records import Alert
from appliance.simulate.simulator import DEFAULT_START
from appliance.simulate.story import LABELLED, UNLABELLED, Occurrence, occurrences, operator_labels

START = DEFAULT_START
GRACE_SECS = 600.0


def alert(machine: str, opened_at: float) -> Alert:
    return Alert(
        id=f"{machine}-{opened_at}",
        machine=machine,
        state="closed",
        since=opened_at,
        opened_at=opened_at,
        updated_at=opened_at + 60,
        closed_at=opened_at + 60,
        peak_score=5.0,
        threshold=3.0,
        channels={"x": 1.0},
        evidence={},
        summary="",
    )


def of(verdict: str) -> list[Occurrence]:
    return [each for each in occurrences(START) if each.verdict == verdict]


def test_a_label_goes_out_after_the_readings_of_its_time_and_before_those_that_follow() -> None:
    times = START + np.arange(0.0, 20 * 86_400, 3600.0)
    plant = [Recording(name, ("x",), times, np.zeros((len(times), 1))) for name in ("a", "b")]
    in_order = np.sort(np.concatenate([times, times]))
    due = Operator("appliance", START).messages(plant)
    said = {label.id: label for label in operator_labels(START)}
    for sent, messages in due.items():
        for topic, payload in messages:
            assert topic == f"appliance/machines/{LABELLED}/label"
            label = read_label(LABELLED, payload, 0.0)
            assert label == said.pop(label.id)
            assert in_order[sent - 1] <= label.said_at < in_order[sent]
    assert not said


@pytest.mark.parametrize(
    ("fault_after", "routine_alerts", "learned"),
    [(900.0, False, True), (LATE_SECS + 1, False, False), (None, False, False), (900.0, True, False)],
)
def test_learned_is_when_the_third_fault_is_caught_in_time_and_the_third_routine_is_quiet(
    fault_after: float | None, routine_alerts: bool, learned: bool
) -> None:
    faults, routines = of("fault"), of("false_alarm")
    alerts = [alert(LABELLED, routines[0].end + GRACE_SECS), alert(UNLABELLED, routines[2].start + 60)]
    alerts += [alert(LABELLED, faults[2].start - 7200), alert("fan-1", faults[2].start + 60)]
    if fault_after is not None:
        alerts.append(alert(LABELLED, faults[2].start + fault_after))
    if routine_alerts:
        alerts.append(alert(LABELLED, routines[2].start + 60))
    found = lesson(Operator("appliance", START), START, alerts, GRACE_SECS)
    assert found.learned is learned
    assert found.other_alerts == {LABELLED: 1, UNLABELLED: 0}
    assert found.seen[3].delays == {LABELLED: routines[0].end + GRACE_SECS - routines[0].start, UNLABELLED: None}


def test_what_labels_change_fits_on_80_columns_and_says_so_in_words() -> None:
    faults = of("fault")
    found = lesson(Operator("appliance", START), START, [alert(LABELLED, faults[2].start + 900)], GRACE_SECS)
    screen = Console(width=80, record=True, file=io.StringIO())
    screen.print(lesson_table(found), lesson_in_words(found))
    lines = screen.export_text().splitlines()
    assert not any("…" in line for line in lines)
    assert sum(line.lstrip().startswith("01-") for line in lines) == len(occurrences(START))
    assert "Learned from labels. The third leak: caught in 15 min (unlabelled: missed)" in " ".join(lines)
