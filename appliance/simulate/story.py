"""A fan whose operator labels: a slight fault and a harmless routine come three times each, and what is said of them.

The same fan plays twice: what labels change shows between a machine that gets them and one that does not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from appliance.recordings import Recording
from appliance.records import Label, LabelVerdict
from appliance.simulate.conditions import DAY_SECS, HOUR_SECS, Benign
from appliance.simulate.faults import Fault
from appliance.simulate.simulator import simulate_machine

LABELLED, UNLABELLED = "fan-3", "fan-3-unlabelled"

FAULT, FAULT_SEVERITY = "leak", 0.65
"""A duct has come open: as bad as the leaks of the plant, and by night too little to alert anybody before a label."""
FAULT_STARTS = tuple(night * DAY_SECS + 22.5 * HOUR_SECS for night in (9, 13, 16))
"""Since the first midnight, as all that follow; by night, when the load hardly moves."""
FAULT_SECS = 7 * HOUR_SECS
ROUTINE, ROUTINE_CHANGE = "night setback", -0.7
"""The hall is shut and the fan turned down to a third of its load; never in the first week."""
ROUTINE_STARTS = tuple(day * DAY_SECS + 2 * HOUR_SECS for day in (8, 11, 15))
ROUTINE_SECS = 1.5 * HOUR_SECS
SETTLING_SECS = HOUR_SECS
"""Until the fan is as before: an operator sees that what follows a routine belongs to it."""
SAID_AFTER_SECS = 2 * HOUR_SECS
"""From the end of something to what the operator says of it."""
LABELLED_TIMES = 2
"""The third time nobody has to say anything."""
_LIFE = (
    Benign("stop", 3 * DAY_SECS + 9 * HOUR_SECS, 2 * HOUR_SECS),
    Benign("set_point", 5 * DAY_SECS, DAY_SECS, 0.05),
    *(Benign("filter_change", day * DAY_SECS + 7 * HOUR_SECS, 0.5 * HOUR_SECS) for day in (3, 8, 13, 18)),
)
"""What the first week shows of every fan of the plant, and its filter that is changed every five days."""


class Occurrence(NamedTuple):
    """One time that something happens to both fans."""

    what: str
    verdict: LabelVerdict
    """What a person would say of it."""
    start: float
    """Unix seconds."""
    end: float
    labels_before: int
    """How often the operator has spoken of its like when it begins."""


def story_machines(seed: int, *, days: int, learning_days: int, period_secs: float) -> list[Recording]:
    """Simulate the fan that is labelled, and its twin: the same readings under another name."""
    routines = [Benign("set_point", start, ROUTINE_SECS, ROUTINE_CHANGE) for start in ROUTINE_STARTS]
    labelled = simulate_machine(
        "fan",
        LABELLED,
        hours=days * 24,
        period_secs=period_secs,
        seed=seed,
        learning_hours=learning_days * 24,
        faults=[Fault(FAULT, start, FAULT_SECS, FAULT_SEVERITY) for start in FAULT_STARTS],
        benign=[*_LIFE, *routines],
    )
    return [labelled, replace(labelled, machine=UNLABELLED)]


def occurrences(start: float) -> list[Occurrence]:
    """Return what happens to a fan whose first sample lies at ``start`` (Unix seconds): faults, then routines."""
    kinds: tuple[tuple[str, LabelVerdict, tuple[float, ...], float], ...] = (
        (FAULT.replace("_", " "), "fault", FAULT_STARTS, FAULT_SECS),
        (ROUTINE, "false_alarm", ROUTINE_STARTS, ROUTINE_SECS),
    )
    return [
        Occurrence(what, verdict, start + since, start + since + lasting, min(number, LABELLED_TIMES))
        for what, verdict, starts, lasting in kinds
        for number, since in enumerate(starts)
    ]


def operator_labels(start: float) -> list[Label]:
    """Return what the operator says, in order of time, of a fan whose first sample lies at ``start``."""
    said = [_label(each, number) for number, each in enumerate(occurrences(start), start=1)]
    return sorted((label for label in said if label is not None), key=lambda label: label.said_at)


def _label(each: Occurrence, number: int) -> Label | None:
    if each.labels_before >= LABELLED_TIMES:
        return None
    is_fault = each.verdict == "fault"
    return Label(
        id=f"demo-{number}",
        machine=LABELLED,
        verdict=each.verdict,
        start=each.start,
        end=each.end + (0.0 if is_fault else SETTLING_SECS),
        said_at=each.end + SAID_AFTER_SECS,
        said_by="demo operator",
        fault=each.what if is_fault else None,
        note=None if is_fault else each.what,
    )
