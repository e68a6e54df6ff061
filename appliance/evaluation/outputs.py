"""What came of all machines → results.csv, summary.json, report.html: runner → here → the folder the user named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from appliance import __version__
from appliance.evaluation.explaining import Blamed, typical
from appliance.evaluation.report import About, Explained, write_report
from appliance.evaluation.results import write_results
from appliance.evaluation.runner import Measured
from appliance.evaluation.summary import Summary, summarise, write_summary

MACHINES_NAMED = 3
"""In a note; of more it says how many."""


def write_outputs(out: Path, machines: Sequence[Measured], command: str) -> Summary:
    """Write all three files; the same machines in any order give the same files, but for the times they took.

    Raises
    ------
    ResultsError
        No machine was measured.
    """
    machines = sorted(machines, key=lambda each: (each.dataset, each.machine))
    rows = [row for each in machines for row in each.rows]
    summary = summarise(rows)
    write_results(out / "results.csv", rows)
    write_summary(out / "summary.json", summary)
    about: About = {
        "command": command,
        "version": __version__,
        "skipped": [(each.dataset, each.machine, each.skipped) for each in machines if each.skipped is not None],
        "explained": _explained(machines),
        "notes": [*notes(machines)],
    }
    examples = [scene.example() for scene in typical(scene for each in machines for scene in each.scenes)]
    write_report(out, summary, rows, examples, about)
    return summary


def notes(machines: Sequence[Measured]) -> Iterator[str]:
    """Say what is missing on which machines, and why, a sentence for each reason."""
    gathered: dict[str, list[Measured]] = defaultdict(list)
    for each in machines:
        if any(row.events == 0 and row.tail == "whole" for row in each.rows):
            gathered["No event is known of {}: only false alerts count there."].append(each)
        for method, reason in each.unsuited:
            gathered[f"{method} has no figure on {{}}: {_literal(reason)}."].append(each)
        for method, reason in each.failed:
            gathered[f"{method} failed on {{}}: {_literal(reason)}."].append(each)
    for sentence, those in sorted(gathered.items()):
        names = sorted(f"{each.dataset} {each.machine}" for each in those)
        yield sentence.format(", ".join(names) if len(names) <= MACHINES_NAMED else f"{len(names)} machines")


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _explained(machines: Sequence[Measured]) -> dict[str, Explained]:
    gathered: dict[str, list[Blamed]] = defaultdict(list)
    for each in machines:
        gathered[each.dataset] += each.blamed
    return {
        dataset: Explained(
            events=len(blamed),
            first_is_culprit=float(np.mean([each.first_is_culprit for each in blamed])),
            hit_rate=float(np.mean([each.hit_rate for each in blamed])),
            chance=float(np.mean([each.chance for each in blamed])),
        )
        for dataset, blamed in gathered.items()
        if blamed
    }
