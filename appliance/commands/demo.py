"""``appliance demo``: a real broker, a simulated plant and the appliance, with a live view and a reckoning."""

from __future__ import annotations

import math
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from appliance.commands.common import JsonOption, clock, console, plain, write_json
from appliance.commands.compare import events_table, grace_secs, in_words
from appliance.commands.inspect import state_of
from appliance.commands.processes import appliance, broker, running_status
from appliance.commands.replay import publish
from appliance.config import Settings, load
from appliance.errors import ApplianceError, StoreError
from appliance.evaluation.truth import Comparison, compare, events_of
from appliance.ingest.publisher import Publisher
from appliance.recordings import Recording
from appliance.records import Alert
from appliance.simulate.encoders import build_encoder
from appliance.simulate.plant import DEMO_PERIOD_SECS, LEARNING_DAYS, demo_plant
from appliance.store import queries
from appliance.store.database import Database

REFRESH_SECS = 0.5
DRAIN_SECS = 120.0
MOST_BACKLOG = 4000
"""Messages that may wait: the picture stays close to what is being published."""
BAR_CELLS = 20
SHOWN_ALERTS = 8

CONFIG = """\
site = "demo plant"
log_level = "warning"

[mqtt]
port = {port}

[[source]]
name = "plant"
topic = "plant/{{machine}}"
format = {{ type = "json" }}
period_secs = {period}
length = 32
hop = 8
warmup_hours = {warmup}

[alerts]
cooldown_secs = 14400

[[notify]]
type = "mqtt"

[storage]
data_dir = "{folder}/data"
"""


class DemoError(ApplianceError):
    """The demo could not be played to its end."""


def demo(
    seed: Annotated[int, typer.Option(help="Another seed, other machines and faults.")] = 0,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="How long the three weeks take, at least.")] = 60.0,
    keep: Annotated[Path | None, typer.Option(help="Keep database, configuration and log in this folder.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Watch the appliance learn six simulated machines and catch their faults: three weeks in about a minute.

    Starts its own mosquitto on a free port of this machine and the appliance as a process of its own; ends both.
    Exit 1: fewer than 8 of 10 faults caught, or more than one false alert per machine-week.

    Example: appliance demo --seed 7
    """
    if keep is not None and (keep / "data").exists():
        raise typer.BadParameter(f"{keep} holds an earlier demo; name another folder", param_hint="--keep")
    for number in (signal.SIGTERM, signal.SIGHUP):  # unwind, so that what was started is ended
        signal.signal(number, lambda caught, _: sys.exit(128 + caught))
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="appliance-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        plant = _until_now(demo_plant(seed))
        try:
            found = _play(plant, folder, seconds, quiet=as_json)
        except KeyboardInterrupt:
            console.print("Interrupted; everything it started has been ended.")
            raise typer.Exit(130) from None
    if as_json:
        write_json(found.summary())
    else:
        console.print(events_table(found))
        console.print(f"[bold]{in_words(found)}[/]")
        if keep:
            console.print(f"Look around: appliance alerts --config {keep / 'appliance.toml'}", soft_wrap=True)
    well = found.caught >= 0.8 * len(found.machine_events) and found.false_per_week <= 1
    raise typer.Exit(0 if well else 1)


def _play(plant: Sequence[Recording], folder: Path, seconds: float, *, quiet: bool) -> Comparison:
    with ExitStack() as stack:
        port = stack.enter_context(broker(folder))
        config = folder / "appliance.toml"
        warmup_hours = LEARNING_DAYS * 24 - 1
        config.write_text(CONFIG.format(port=port, period=DEMO_PERIOD_SECS, folder=folder, warmup=warmup_hours))
        settings = load(config)
        check = stack.enter_context(appliance(config, settings, folder))
        database = Database(settings.storage.database, read_only=True)
        feed = _Feed(plant, port, settings, seconds)
        stack.callback(feed.stop)
        view = _View(plant, settings, feed)
        if quiet:
            while feed.running or view.backlog():
                time.sleep(REFRESH_SECS)
                check()
        else:
            with Live(view.render(database), console=console, refresh_per_second=4, transient=True) as live:
                while feed.running or view.backlog():
                    time.sleep(REFRESH_SECS)
                    check()
                    live.update(view.render(database))
        if feed.error is not None:
            raise DemoError(f"the feed ended early: {feed.error}")
        events = [event for recording in plant for event in events_of(recording)]
        alerts = queries.alerts(database, limit=100_000)
        return compare(events, alerts, queries.watched(database), grace_secs(settings))


def _until_now(plant: Sequence[Recording]) -> list[Recording]:
    """Shift the plant by whole days, so that it ends within the last day and its nights stay nights."""
    days = math.floor((time.time() - max(recording.times[-1] for recording in plant)) / 86_400)
    return [recording.rebased(float(recording.times[0]) + days * 86_400) for recording in plant]


class _Feed:
    """Publishes the plant from a thread, no faster than the appliance follows."""

    def __init__(self, plant: Sequence[Recording], port: int, settings: Settings, seconds: float) -> None:
        self._began = time.monotonic()
        self._seconds = seconds
        self.total = sum(len(recording.times) for recording in plant)
        self.sent = 0
        self.error: Exception | None = None
        self._stopping = threading.Event()
        self._settings = settings
        self._thread = threading.Thread(target=self._run, args=(plant, port), daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(5.0)

    def _run(self, plant: Sequence[Recording], port: int) -> None:
        try:
            with Publisher("127.0.0.1", port) as publisher:
                encoder = build_encoder("json", "plant/{machine}", plant)
                for _ in publish(publisher, encoder, plant):
                    self.sent += 1
                    if self.sent % 500 == 0:
                        self._keep_pace(publisher)
                    if self._stopping.is_set():
                        return
        except ApplianceError as error:
            self.error = error

    def _keep_pace(self, publisher: Publisher) -> None:
        due = self._began + self._seconds * self.sent / self.total
        publisher.idle(max(due - time.monotonic(), 0.0))
        while not self._stopping.is_set() and running_status(self._settings).get("backlog", 0) > MOST_BACKLOG:
            publisher.idle(0.1)


class _View:
    """What the person sees."""

    def __init__(self, plant: Sequence[Recording], settings: Settings, feed: _Feed) -> None:
        self._names = [recording.machine for recording in plant]
        self._settings = settings
        self._feed = feed
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
            alerts = queries.alerts(database, limit=SHOWN_ALERTS)
        except StoreError:  # the writer holds it: the next picture comes in half a second
            machines, alerts = {}, []
        newest = max((machine["newest"] or 0.0 for machine in machines.values()), default=0.0)
        status = running_status(self._settings)
        head = Text.assemble(
            ("appliance demo", "bold"),
            f"   plant time {clock(newest)[:16] if newest else '—'}"
            f"   {self._feed.sent:,} of {self._feed.total:,} messages"
            f"   {time.monotonic() - self._began:.0f} s   {status.get('rss_mb', 0):.0f} MB",
        )
        bar = ProgressBar(total=self._feed.total, completed=self._feed.sent, width=78)
        blank = Text()
        return Group(head, bar, blank, self._machines(machines), blank, self._alerts(alerts))

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
