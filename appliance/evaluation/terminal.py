"""Summary → tables for the terminal: the same figures as the report, as far as 80 columns hold them."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.markup import escape
from rich.table import Table

from appliance.detect.scales import SCALES
from appliance.evaluation.bootstrap import Estimate
from appliance.evaluation.held_out import HeldOut, Weights
from appliance.evaluation.held_out_prior import HeldOutPrior
from appliance.evaluation.summary import EVERYWHERE, Summary
from appliance.evaluation.targets import EVIDENCE_MEAN, targets
from appliance.evaluation.wording import interval, number, signed, signed_interval, target_interval, target_value

RANDOM = "random"
VERDICTS = {True: "[green]met[/]", False: "[red]missed[/]", None: "[yellow]open[/]"}


def summary_table(summary: Summary) -> Table:
    """VUS-PR per dataset without labels: the reference, the evidence mean, the best single detector, a random score."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("dataset", overflow="fold")
    for name in (summary.reference, EVIDENCE_MEAN.replace("_", " "), RANDOM, "best single", "lead over it"):
        table.add_column(escape(name), justify="right")
    best = {each.dataset: each for each in summary.best_single}
    for dataset in (*summary.datasets, *([EVERYWHERE] if len(summary.datasets) > 1 else [])):
        single = best.get(dataset)
        lead = summary.best_single_delta if dataset == EVERYWHERE else single.reference_delta if single else None
        machines = max(cell.machines for cell in summary.cells if cell.dataset == dataset)
        table.add_row(
            f"{escape(dataset)}\n[dim]{machines} machines[/]",
            *(_figure(_vus_pr(summary, dataset, method)) for method in (summary.reference, EVIDENCE_MEAN, RANDOM)),
            f"{_figure(single.figure)}\n[dim]{escape(single.method.removeprefix('evidence:'))}[/]" if single else "",
            f"{signed(lead.value)}\n[dim]{signed_interval(lead)}[/]" if lead else "",
        )
    return table


def targets_table(summary: Summary) -> Table:
    """Every target that the rows can answer, with what was reached."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("target", overflow="fold")
    table.add_column("reached", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for target in targets(summary):
        table.add_row(escape(target.text), target_value(target), target_interval(target), VERDICTS[target.met])
    return table


def held_out_table(found: Iterable[HeldOut]) -> Table:
    """Show what weights chosen elsewhere reach, beside those shipped and the best in hindsight."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("tested on", overflow="fold")
    for name in ("chosen elsewhere", "shipped", "chosen − shipped", "best in hindsight"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in found:
        table.add_row(
            f"{escape(each.tested_on)}\n[dim]{each.gain.machines} machines[/]",
            f"{number(each.vus_pr)}\n[dim]{_weights(each.weights)}[/]",
            f"{number(each.shipped)}\n[dim]{_weights(tuple(scale.weight for scale in SCALES))}[/]",
            f"{signed(each.gain.value)}\n[dim]{signed_interval(each.gain)}[/]",
            f"{number(each.best)}\n[dim]{_weights(each.best_weights)}[/]",
        )
    return table


def held_out_prior_table(found: Iterable[HeldOutPrior]) -> Table:
    """Show what labels bring with a prior chosen elsewhere, beside the shipped one and the best in hindsight."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.caption = "best: what nobody could have known"
    table.add_column("tested on", no_wrap=True)
    for name in ("k", "machines", "chosen elsewhere", "harmed", "shipped", "best"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in found:
        for k, gain in each.gain.items():
            table.add_row(
                escape(each.tested_on) if k == min(each.gain) else "",
                str(k),
                str(gain.machines),
                f"{signed(gain.value)} [dim]{signed_interval(gain)}[/]",
                f"{100 * each.harmed[k]:.0f} %",
                signed(each.shipped[k]),
                signed(each.best[k]),
            )
    return table


def _weights(weights: Weights) -> str:
    return " ".join({0.25: "¼", 0.5: "½"}.get(weight, f"{weight:g}") for weight in weights)


def _vus_pr(summary: Summary, dataset: str, method: str) -> Estimate | None:
    cell = summary.cell(dataset, method)
    return None if cell is None else cell.figures.get("vus_pr")


def _figure(found: Estimate | None) -> str:
    return "" if found is None else f"{number(found.value)}\n[dim]{interval(found)}[/]"
