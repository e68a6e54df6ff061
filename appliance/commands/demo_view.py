"""What the person sees while the demo runs: machines, what the operator said, alerts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from appliance.commands.common import clock, console, plain, short_clock
from appliance.commands.demo_operator import Operator
from appliance.commands.inspect import state_of
from appliance.commands.processes import running_status
from appliance.config import Settings
from appliance.errors import ApplianceError, StoreError
from appliance.recordings import Recording
from appliance.records import Alert
from appliance.simulate.story import LABELLED
from appliance.store import queries
from appliance.store.database import Database

DRAIN_SECS = 120.0
BAR_CELLS = 20
LABEL_LINES, LEAST_ALERTS, MOST_ALERTS = 4, 2, 8
"""Rows of the panels below the machines; of alerts as many as the terminal has room for."""
OTHER_LINES = 9
"""Rows of the picture that are no machine, label or alert."""


class Feed(Protocol):
    """How far publishing has come."""

    sent: int
    total: int


class DemoError(ApplianceError):
    """The demo could not be played to its end."""


class View:
    """What the person sees."""

    def __init__(self, plant: Sequence[Recording], settings: Settings, feed: Feed, operator: Operator) -> None:
        self._names = [recording.machine for recording in plant]
        self._settings = settings
        self._feed = feed
        self._operator = operator
        self._began = time.monotonic()
        self._drained_since: float | None = None

    def backlog(self) -> bool:
        """Whether the appliance is still working on what was published."""
        if self._drained_since is None:
            self._drained_since = time.monotonic()
        status = running_status(self._settings)
        fresh = status.get("updated_at", 0.0) > time.time() - 3
        waited = time.monotonic() - self._drained_since
        if waited > DRAIN_SECS:
            raise DemoError("the appliance did not finish what was published; see its log with --keep")
        return waited < 3.0 or not fresh or status.get("backlog", 1) > 0

    def render(self, database: Database) -> Group:
        """Draw machines, alerts and progress."""
        try:
            machines = {machine["machine"]: machine for machine in queries.machines(database)}
            alerts = queries.alerts(database, limit=self._room())
        except StoreError:  # the writer holds it: the next picture comes in half a second
            machines, alerts = {}, []
        newest = max((machine["newest"] or 0.0 for machine in machines.values()), default=0.0)
        status = running_status(self._settings)
        head = Text.assemble(
            ("appliance demo", "bold"),
            f"  plant time {clock(newest)[:16] if newest else '—'}"
            f"  {self._feed.sent:,} of {self._feed.total:,} messages"
            f"  {time.monotonic() - self._began:.0f} s  {status.get('rss_mb', 0):.0f} MB",
        )
        bar = ProgressBar(total=self._feed.total, completed=self._feed.sent, width=78)
        blank = Text()
        return Group(head, bar, blank, self._machines(machines), blank, self._labels(), blank, self._alerts(alerts))

    def _room(self) -> int:
        """Return how many alerts fit below all else."""
        left = console.height - len(self._names) - LABEL_LINES - OTHER_LINES
        return min(max(left, LEAST_ALERTS), MOST_ALERTS)

    def _machines(self, machines: dict[str, dict[str, Any]]) -> Table:
        table = Table(expand=False, box=None, padding=(0, 2, 0, 0))
        table.add_column("machine", no_wrap=True, min_width=14)
        table.add_column("state", no_wrap=True, min_width=14)
        table.add_column("score against threshold", no_wrap=True)
        table.add_column("", no_wrap=True)
        for name in self._names:
            machine = machines.get(name)
            if machine is None:
                table.add_row(name, "[dim]silent[/]", "", "")
                continue
            table.add_row(name, state_of(machine), _bar(machine), _figures(machine))
        return table

    def _labels(self) -> Table:
        title = f"what the operator of {LABELLED} said, and what the appliance answered"
        table = Table(
            title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), show_header=False, min_width=78
        )
        for width in (11, 11):
            table.add_column(no_wrap=True, min_width=width)
        table.add_column(no_wrap=True, overflow="ellipsis")
        heard = [*self._operator.heard()]  # of each answer the first part, which fits into a line
        for label, answer in heard:
            table.add_row(short_clock(label.said_at), label.verdict.replace("_", " "), plain(answer.partition(";")[0]))
        for _ in range(LABEL_LINES - len(heard)):
            table.add_row("", "", "")
        return table

    def _alerts(self, alerts: Sequence[Alert]) -> Table:
        table = Table(title="alerts, newest first", title_justify="left", box=None, padding=(0, 2, 0, 0))
        table.add_column("opened", no_wrap=True, min_width=11)
        table.add_column("state", no_wrap=True, min_width=6)
        table.add_column("why", no_wrap=True, overflow="ellipsis")
        for alert in alerts:
            colour = "red" if alert.state == "open" else "dim"
            table.add_row(clock(alert.opened_at)[5:16], f"[{colour}]{alert.state}[/]", plain(alert.summary))
        return table


def _bar(machine: dict[str, Any]) -> Text:
    """Draw the score as a bar in which the threshold stands at two thirds."""
    score, threshold = machine["score"], machine["threshold"]
    if score is None or not threshold:
        return Text("·" * BAR_CELLS, style="dim")
    mark = BAR_CELLS * 2 // 3
    cells = min(int(score / threshold * mark), BAR_CELLS)
    text = "".join("│" if i == mark else ("█" if i < cells else "·") for i in range(BAR_CELLS))
    return Text(text, style="red" if score >= threshold else "green")


def _figures(machine: dict[str, Any]) -> str:
    if machine["score"] is None:
        return ""
    return f"{machine['score']:.1f} / {machine['threshold']:.1f}"
