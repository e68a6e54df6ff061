"""The demo's operator: labels at their place among the readings → answers → what changes with them and without."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import orjson
from rich.table import Table

from appliance.commands.common import duration, list_table, short_clock
from appliance.ingest.labels import write_label
from appliance.recordings import Recording
from appliance.records import Alert, Label
from appliance.simulate.story import (
    LABELLED,
    LABELLED_TIMES,
    UNLABELLED,
    Occurrence,
    occurrences,
    operator_labels,
)

LATE_SECS = 2 * 3600.0
"""An alert after that is late: more than a quarter of the fault is over."""
TIMES = ("never", "once", "twice")


class Operator:
    """Says what the story has an operator say, and hears the answers."""

    def __init__(self, prefix: str, start: float) -> None:
        self.labels = operator_labels(start)
        self.answers: dict[str, str] = {}
        """Label id → what the appliance has answered."""
        self._topic = f"{prefix}/machines/{LABELLED}/label"

    @property
    def answer_topic(self) -> str:
        """Where the appliance answers."""
        return f"{self._topic}/answer"

    def hear(self, payload: bytes) -> bool:
        """Take in an answer; True once every label has one."""
        answer = orjson.loads(payload)
        self.answers[answer["id"]] = answer["learned"] or answer.get("error") or "taken in"
        return len(self.answers) == len(self.labels)

    def messages(self, plant: Sequence[Recording]) -> dict[int, list[tuple[str, bytes]]]:
        """Return what to publish after how many samples of the plant, which go out in the order of their times."""
        times = np.sort(np.concatenate([recording.times for recording in plant])).tolist()
        due: dict[int, list[tuple[str, bytes]]] = {}
        for label in self.labels:
            due.setdefault(bisect_right(times, label.said_at), []).append((self._topic, write_label(label)))
        return due

    def heard(self) -> Iterator[tuple[Label, str]]:
        """Yield each label that was answered and the answer, in order of time."""
        for label in self.labels:
            if label.id in self.answers:
                yield label, self.answers[label.id]


class Seen(NamedTuple):
    """What became of one occurrence on both machines."""

    occurrence: Occurrence
    delays: dict[str, float | None]
    """Machine → seconds from its beginning to the first alert that opened during it; None: none did."""


@dataclass(frozen=True)
class Lesson:
    """What labels have changed: the same readings with them and without."""

    seen: list[Seen]
    other_alerts: dict[str, int]
    """Machine → alerts at any other time."""
    answered: list[tuple[Label, str]]

    @property
    def learned(self) -> bool:
        """Whether, with all that was said, the fault is caught in time and the routine alerts nobody."""
        return all(_well(each, LABELLED) for each in self.seen if each.occurrence.labels_before == LABELLED_TIMES)

    def summary(self) -> dict[str, Any]:
        """Return it for a script."""
        return {
            "learned": self.learned,
            "occurrences": [{**each.occurrence._asdict(), "alert_after_secs": each.delays} for each in self.seen],
            "other_alerts": self.other_alerts,
            "answers": [
                {"said_at": label.said_at, "machine": label.machine, "verdict": label.verdict, "answer": answer}
                for label, answer in self.answered
            ],
        }


def lesson(operator: Operator, start: float, alerts: Sequence[Alert], grace_secs: float) -> Lesson:
    """Hold the alerts of both machines against what happened to them; ``grace_secs`` as for `truth.compare`."""
    opened = {
        machine: sorted(alert.opened_at for alert in alerts if alert.machine == machine and alert.kind == "machine")
        for machine in (LABELLED, UNLABELLED)
    }
    seen, explained = [], dict.fromkeys(opened, 0)
    for each in occurrences(start):
        delays: dict[str, float | None] = {}
        for machine, times in opened.items():
            during = [at - each.start for at in times if each.start <= at <= each.end + grace_secs]
            explained[machine] += len(during)
            delays[machine] = during[0] if during else None
        seen.append(Seen(each, delays))
    others = {machine: len(times) - explained[machine] for machine, times in opened.items()}
    return Lesson(seen, others, list(operator.heard()))


def lesson_table(found: Lesson) -> Table:
    """Show every occurrence, with labels and without."""
    table = list_table()
    table.title, table.title_justify = "What labels change: both fans send the same readings", "left"
    for name in ("began (UTC)", "what", "labelled", LABELLED, UNLABELLED):
        table.add_column(name, no_wrap=True)
    for each in found.seen:
        what, before = each.occurrence.what, TIMES[each.occurrence.labels_before]
        table.add_row(
            short_clock(each.occurrence.start), what, before, _outcome(each, LABELLED), _outcome(each, UNLABELLED)
        )
    table.add_row(
        "", "[dim]at other times[/]", "", *(_count(found.other_alerts[name]) for name in (LABELLED, UNLABELLED))
    )
    return table


def lesson_in_words(found: Lesson) -> str:
    """Say what labels have changed in one sentence."""
    last = {each.occurrence.what: each for each in found.seen}
    told = (
        f"third {what}: {_outcome(each, LABELLED)} (unlabelled: {_outcome(each, UNLABELLED)})"
        for what, each in last.items()
    )
    return f"{'Learned' if found.learned else 'Not learned'} from labels. The {'; the '.join(told)}"


def _well(each: Seen, machine: str) -> bool:
    delay = each.delays[machine]
    return (delay is not None and delay <= LATE_SECS) if each.occurrence.verdict == "fault" else delay is None


def _outcome(each: Seen, machine: str) -> str:
    delay = each.delays[machine]
    colour = "green" if _well(each, machine) else "red"
    if each.occurrence.verdict != "fault":
        word = "no alert" if delay is None else "false alert"
    elif delay is None:
        word = "missed"
    else:
        word = f"{'caught in' if delay <= LATE_SECS else 'late,'} {duration(delay)}"
    return f"[{colour}]{word}[/]"


def _count(alerts: int) -> str:
    return f"[dim]{alerts or 'no'} alert{'s' * (alerts != 1)}[/]"
