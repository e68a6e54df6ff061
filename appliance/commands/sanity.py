"""``appliance evaluate --sanity``: the meta-learning algorithms on problems with known answers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from appliance.commands.common import console, errors, list_table, write_json
from appliance.errors import ResultsError

if TYPE_CHECKING:
    from appliance.meta.sanity.figures import Figure

UNKNOWN = "—"


def sanity(quick: bool, as_json: bool) -> None:
    """Train every algorithm on every problem, and print what it reaches."""
    try:
        from appliance.meta.sanity.run import measure, total_steps  # noqa: PLC0415 - loads torch, which takes seconds
    except ModuleNotFoundError as missing:
        raise ResultsError(f"--sanity needs {missing.name}: pip install 'appliance[evaluate,train]'") from missing
    began = time.process_time()
    columns = BarColumn(20), TimeRemainingColumn(compact=True), TextColumn("{task.fields[now]}")
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        bar = progress.add_task("training", total=total_steps(quick), now="")
        found = list(measure(lambda name, steps: progress.update(bar, advance=steps, now=name), quick))
    secs = time.process_time() - began
    if as_json:
        write_json({"quick": quick, "cpu_secs": round(secs, 1), "figures": [each._asdict() for each in found]})
        return
    for problem in dict.fromkeys(each.problem for each in found):
        console.print(table([each for each in found if each.problem == problem]))
    console.print(f"Trained and measured in {secs:.0f} s of one core.", highlight=False)


def table(figures: list[Figure]) -> Table:
    """Show one problem: a method a row, a number of shots a column."""
    shots = list(dict.fromkeys(each.shots for each in figures))
    shown = list_table()
    shown.title = f"{figures[0].problem}: {figures[0].unit} with its 95 % interval"
    shown.add_column("method", overflow="fold")
    for number in shots:
        shown.add_column(f"{number} shot{'s' * (number > 1)}", justify="right")
    published = any(each.published for each in figures)
    if published:
        shown.add_column("published", justify="right", overflow="fold")
    for method in dict.fromkeys(each.method for each in figures):
        row = [each for each in figures if each.method == method]
        cells = [next((_cell(each) for each in row if each.shots == number), UNKNOWN) for number in shots]
        shown.add_row(method, *cells, *[_published(row)] * published)
    return shown


def _cell(figure: Figure) -> str:
    interval = "" if figure.low is None or figure.high is None else f"\n[dim]{figure.low:.3f} to {figure.high:.3f}[/]"
    return f"{figure.value:.3f}{interval}"


def _published(row: Iterable[Figure]) -> str:
    return "\n".join(f"{each.published}\n[dim]{each.shots} shots[/]" for each in row if each.published)
