"""Summary, rows and examples → ``report.html``: one file that needs nothing else, for a sceptical reader.

It is told in the reader's order: what was run, what it was to reach, what it reached where, why to doubt it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from appliance.evaluation import figures, wording
from appliance.evaluation.alerting import ENOUGH_ALERTS, FalseAlerts, counted
from appliance.evaluation.drawing import DARK, LIGHT, alone, css_variables
from appliance.evaluation.examples import Example
from appliance.evaluation.grouping import Groups, Key, grouped, paired
from appliance.evaluation.results import Row
from appliance.evaluation.summary import EVERYWHERE, Cell, Summary
from appliance.evaluation.targets import EVIDENCE_MEAN, targets

RANDOM = "random"
FEW_CLUSTERS = 10
"""Below that a percentile interval is known to be too narrow."""


class Explained(NamedTuple):
    """How well the blame agrees with the culprits, at the strangest hop of each event of which they are known."""

    events: int
    first_is_culprit: float
    """Share of the events whose first-named channel is one of the culprits."""
    hit_rate: float
    """Mean share of an event's culprits among as many first-named channels (HitRate@100%, Su et al. 2019)."""
    chance: float
    """What naming channels at random would reach on average, in either figure."""


class About(TypedDict):
    """What the rows cannot say about the run."""

    command: str
    """The command line that repeats it."""
    version: str
    skipped: NotRequired[Sequence[tuple[str, str, str]]]
    """Dataset, machine and reason of each machine that was not measured."""
    explained: NotRequired[dict[str, Explained]]
    """Dataset → how often the right channels were blamed, where there are events with known culprits."""
    notes: NotRequired[Sequence[str]]
    """Further weaknesses of this run, a sentence each."""


class Ground(NamedTuple):
    """What was measured on, of one dataset."""

    dataset: str
    machines: int
    clusters: int
    events: int
    hops: int
    skipped: int


class _Gallery(dict[str, str]):
    """Drawings by the names of their files."""

    def hang(self, name: str, drawing: str) -> Markup:
        """Keep a drawing, and return it for the page."""
        self[re.sub(r"[^\w.-]+", "-", name)] = drawing
        return Markup(drawing)  # noqa: S704 - made by matplotlib, which escapes text


def write_report(out: Path, summary: Summary, rows: Sequence[Row], examples: Sequence[Example], about: About) -> Path:
    """Write ``report.html``, and its drawings as ``figures/*.svg``, into a folder; return the page's path."""
    pages = Environment(
        loader=PackageLoader("appliance.evaluation"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    pages.globals |= {name: getattr(wording, name) for name in WORDS}
    pages.globals |= {"light": LIGHT, "dark": DARK, "css_variables": css_variables}
    gallery = _Gallery()
    page = pages.get_template("report.html.j2").render(_content(summary, rows, examples, about, gallery))
    folder = out / "figures"
    folder.mkdir(exist_ok=True)
    for former in folder.glob("*.svg"):
        former.unlink()
    for name, drawing in gallery.items():
        (folder / f"{name}.svg").write_text(alone(drawing), encoding="utf-8")
    path = out / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


WORDS = ("number", "signed", "percent", "span", "interval", "signed_interval", "target_value", "target_interval")
"""What the template may call to write figures."""


def _content(
    summary: Summary, rows: Sequence[Row], examples: Sequence[Example], about: About, gallery: _Gallery
) -> dict[str, Any]:
    groups = grouped(rows)
    return {
        "about": about,
        "summary": summary,
        "everywhere": EVERYWHERE,
        "grounds": _grounds(rows, about),
        "skipped": _skipped(about),
        "targets": targets(summary),
        "overview": _overview(summary, gallery),
        "datasets": [_dataset(dataset, summary, groups, gallery) for dataset in summary.datasets],
        "learning": _learning(summary, gallery),
        "budgets": _budgets(summary, rows, gallery),
        "alerted": _alerted(summary),
        "explained": about.get("explained", {}),
        "examples": [(each, _example(each, number, gallery)) for number, each in enumerate(examples, start=1)],
        "doubts": _doubts(summary, rows, about),
    }


def _grounds(rows: Sequence[Row], about: About) -> list[Ground]:
    machines: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: row.tail == "whole"):
        machines[row.dataset][row.machine] = row
    skipped = Counter(dataset for dataset, _, _ in about.get("skipped", ()))
    return [
        Ground(
            dataset,
            len(found := list(machines[dataset].values())),
            len({row.cluster for row in found}),
            sum(row.events for row in found),
            sum(row.hops for row in found),
            skipped[dataset],
        )
        for dataset in sorted({*machines, *skipped})
    ]


def _skipped(about: About) -> list[tuple[str, list[str]]]:
    reasons: dict[str, list[str]] = defaultdict(list)
    for dataset, machine, reason in about.get("skipped", ()):
        reasons[reason].append(f"{dataset} {machine}")
    return sorted(reasons.items(), key=lambda each: -len(each[1]))


def _measured(summary: Summary, dataset: str) -> list[Cell]:
    """Methods without labels on everything after the warm-up, the best first."""
    cells = [
        cell
        for cell in summary.cells
        if (cell.dataset, cell.k, cell.tail) == (dataset, 0, "whole") and "vus_pr" in cell.figures
    ]
    return sorted(cells, key=lambda cell: -cell.figures["vus_pr"].value)


def _overview(summary: Summary, gallery: _Gallery) -> Markup | None:
    """Draw the mean over datasets, of the methods that ran on all of them."""
    cells = [cell for cell in _measured(summary, EVERYWHERE) if cell.datasets == len(summary.datasets)]
    chance = next((cell.figures["vus_pr"] for cell in cells if cell.method == RANDOM), None)
    shown = [cell for cell in cells if cell.method != RANDOM]
    return gallery.hang(f"methods-{EVERYWHERE}", figures.forest(shown, summary.reference, chance)) if shown else None


def _dataset(dataset: str, summary: Summary, groups: Groups, gallery: _Gallery) -> dict[str, Any]:
    cells = _measured(summary, dataset)
    chance = next((cell.figures["vus_pr"] for cell in cells if cell.method == RANDOM), None)
    chosen = next((each for each in summary.best_single if each.dataset == dataset), None)
    ours = groups.get(Key(dataset, summary.reference, 0, "whole"))
    rivals = {EVIDENCE_MEAN: EVIDENCE_MEAN} | ({chosen.method: chosen.method} if chosen else {})
    panels = [
        (name, pairs)
        for name in rivals
        if ours is not None
        and (theirs := groups.get(Key(dataset, name, 0, "whole"))) is not None
        and len((pairs := paired(ours, theirs)).machines)
    ]
    shown = [cell for cell in cells if cell.method != RANDOM]
    return {
        "name": dataset,
        "cells": cells,
        "chosen": chosen,
        "forest": gallery.hang(f"methods-{dataset}", figures.forest(shown, summary.reference, chance))
        if shown
        else None,
        "deltas": gallery.hang(f"machines-{dataset}", figures.deltas(panels)) if panels else None,
    }


def _learning(summary: Summary, gallery: _Gallery) -> list[dict[str, Any]]:
    found = []
    for dataset in summary.datasets:
        cells = [cell for cell in summary.cells if cell.dataset == dataset and cell.gain is not None]
        if cells:
            ours = [cell for cell in cells if cell.method == summary.reference]
            curves = gallery.hang(f"labels-{dataset}", figures.k_curves(cells, summary.reference))
            learners = _by_k([cell for cell in summary.cells if cell.dataset == dataset and cell.k > 0])
            found.append({"name": dataset, "cells": ours, "curves": curves, "learners": learners})
    return found


def _by_k(cells: Sequence[Cell]) -> tuple[list[int], dict[str, list[Cell | None]]]:
    """Lay cells out as a table: the columns k, and for each method its cell in every column."""
    ks = sorted({cell.k for cell in cells})
    known = {(cell.method, cell.k): cell for cell in cells}
    methods = dict.fromkeys(cell.method for cell in cells)
    return ks, {method: [known.get((method, k)) for k in ks] for method in methods}


def _budgets(summary: Summary, rows: Sequence[Row], gallery: _Gallery) -> list[tuple[str, Markup, list[FalseAlerts]]]:
    ours = _unlabelled(rows, summary.reference)
    found = []
    for budget in ("week", "day"):
        kept = [each for each in summary.false_alerts if (each.method, each.budget) == (summary.reference, budget)]
        if kept:
            found.append((budget, gallery.hang(f"false-alerts-a-{budget}", figures.kept_budget(ours, budget)), kept))
    return found


def _alerted(summary: Summary) -> list[tuple[str, list[Cell]]]:
    """Per dataset the reference and those it has to beat, as far as they alert at all."""
    found = []
    for dataset in summary.datasets:
        chosen = next((each.method for each in summary.best_single if each.dataset == dataset), EVIDENCE_MEAN)
        rivals = dict.fromkeys((summary.reference, EVIDENCE_MEAN, chosen))
        cells = [cell for method in rivals if (cell := summary.cell(dataset, method)) is not None]
        alerting = [cell for cell in cells if cell.figures.keys() & {"recall_budget", "recall_day"}]
        if alerting:
            found.append((dataset, alerting))
    return found


def _doubts(summary: Summary, rows: Sequence[Row], about: About) -> list[str]:
    """Say what in this very run weakens its figures."""
    found = []
    grounds = [ground for ground in _grounds(rows, about) if ground.machines]
    few = [f"{ground.dataset} ({ground.clusters})" for ground in grounds if ground.clusters < FEW_CLUSTERS]
    if few:
        found.append(f"Few clusters, so that intervals are too narrow or missing: {', '.join(few)}.")
    if len(grounds) == 1:
        found.append("One dataset only: no detector could be chosen on others, and nothing is said about other plants.")
    left, measured = sum(ground.skipped for ground in _grounds(rows, about)), sum(ground.machines for ground in grounds)
    if left:
        found.append(f"{left} of {left + measured} machines were skipped; they may be harder or easier than the rest.")
    budgets = [kept[1] for row in _unlabelled(rows, summary.reference) if (kept := counted(row, "week")) is not None]
    if budgets and (short := sum(budget < ENOUGH_ALERTS for budget in budgets)):
        found.append(
            f"At one false alert a week {short} of {len(budgets)} recordings are too short for {ENOUGH_ALERTS:.0f} "
            "budgeted alerts: their ratio is mostly chance."
        )
    if len({row.seed for row in rows}) == 1:
        found.append("A single seed: variation between fits is not in the intervals.")
    return [*found, *about.get("notes", ())]


def _unlabelled(rows: Sequence[Row], method: str) -> list[Row]:
    return [row for row in rows if (row.method, row.k, row.tail) == (method, 0, "whole")]


def _example(example: Example, number: int, gallery: _Gallery) -> Markup:
    name = f"example-{number}-{example.dataset}-{example.machine}"
    return gallery.hang(name, figures.example_figure(example, number))
