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
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.live import Live

from appliance.commands.common import JsonOption, console, write_json
from appliance.commands.compare import events_table, grace_secs, in_words
from appliance.commands.demo_operator import Lesson, Operator, lesson, lesson_in_words, lesson_table
from appliance.commands.demo_view import DemoError, View
from appliance.commands.processes import appliance, broker, running_status
from appliance.commands.replay import publish
from appliance.config import Settings, load
from appliance.errors import ApplianceError
from appliance.evaluation.truth import Comparison, compare, events_of
from appliance.ingest.publisher import Publisher
from appliance.ingest.session import Session
from appliance.recordings import Recording
from appliance.simulate.encoders import build_encoder
from appliance.simulate.plant import DEMO_DAYS, DEMO_PERIOD_SECS, LEARNING_DAYS, demo_plant
from appliance.simulate.story import story_machines
from appliance.store import queries
from appliance.store.database import Database

REFRESH_SECS = 0.5
ANSWER_SECS = 10.0
MOST_BACKLOG = 4000
"""Messages that may wait: the picture stays close to what is being published."""

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


def demo(
    seed: Annotated[int, typer.Option(help="Another seed, other machines and faults.")] = 0,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="How long the three weeks take, at least.")] = 60.0,
    keep: Annotated[Path | None, typer.Option(help="Keep database, configuration and log in this folder.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Watch the appliance learn simulated machines, catch faults, and learn from labels: three weeks in about a minute.

    Starts its own mosquitto on a free port of this machine and the appliance as a process of its own; ends both.
    Six machines break down. A seventh has a fault and a routine that are labelled twice; its twin gets no labels.
    Exit 1: fewer than 8 of 10 faults caught, over one false alert per machine-week, or nothing learned from labels.

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
        fans = story_machines(seed, days=DEMO_DAYS, learning_days=LEARNING_DAYS, period_secs=DEMO_PERIOD_SECS)
        try:
            found, taught = _play(plant, _until_now(fans), folder, seconds, quiet=as_json)
        except KeyboardInterrupt:
            console.print("Interrupted; everything it started has been ended.")
            raise typer.Exit(130) from None
    if as_json:
        write_json({**found.summary(), "labels": taught.summary()})
    else:
        console.print(events_table(found))
        console.print(f"[bold]{in_words(found)}[/]\n")
        console.print(lesson_table(taught))
        console.print(f"[bold]{lesson_in_words(taught)}[/]")
        if keep:
            console.print(f"Look around: appliance alerts --config {keep / 'appliance.toml'}", soft_wrap=True)
    well = found.caught >= 0.8 * len(found.machine_events) and found.false_per_week <= 1
    raise typer.Exit(0 if well and taught.learned else 1)


class Found(NamedTuple):
    """What came of it all."""

    comparison: Comparison
    """Of the machines that break down."""
    lesson: Lesson
    """Of the fan that is labelled, and its twin."""


def _play(plant: Sequence[Recording], fans: Sequence[Recording], folder: Path, seconds: float, *, quiet: bool) -> Found:
    with ExitStack() as stack:
        port = stack.enter_context(broker(folder))
        config = folder / "appliance.toml"
        warmup_hours = LEARNING_DAYS * 24 - 1
        config.write_text(CONFIG.format(port=port, period=DEMO_PERIOD_SECS, folder=folder, warmup=warmup_hours))
        settings = load(config)
        check = stack.enter_context(appliance(config, settings, folder))
        database = Database(settings.storage.database, read_only=True)
        everything, start = [*plant, *fans], float(fans[0].times[0])
        operator = Operator(settings.mqtt.prefix, start)
        from appliance import assembly  # noqa: PLC0415 - scipy takes a second that --help should not

        listener = replace(assembly.broker_options(settings), client_id="demo-operator", will_topic=None)
        answers = stack.enter_context(Session(listener, operator.hear))
        answers.subscribe(operator.answer_topic)
        feed = _Feed(everything, operator, port, settings, seconds)
        stack.callback(feed.stop)
        view = View(everything, settings, feed, operator)
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
        answers.wait(ANSWER_SECS)
        alerts, grace = queries.alerts(database, limit=100_000), grace_secs(settings)
        events = [event for recording in plant for event in events_of(recording)]
        named = {recording.machine for recording in plant}
        watched = {machine: span for machine, span in queries.watched(database).items() if machine in named}
        return Found(compare(events, alerts, watched, grace), lesson(operator, start, alerts, grace))


def _until_now(plant: Sequence[Recording]) -> list[Recording]:
    """Shift the plant by whole days, so that it ends within the last day and its nights stay nights."""
    days = math.floor((time.time() - max(recording.times[-1] for recording in plant)) / 86_400)
    return [recording.rebased(float(recording.times[0]) + days * 86_400) for recording in plant]


class _Feed:
    """Publishes the plant, and what its operator says, from a thread, no faster than the appliance follows."""

    def __init__(
        self, plant: Sequence[Recording], operator: Operator, port: int, settings: Settings, seconds: float
    ) -> None:
        self._began = time.monotonic()
        self._seconds = seconds
        self.total = sum(len(recording.times) for recording in plant)
        self.sent = 0
        self.error: Exception | None = None
        self._stopping = threading.Event()
        self._settings = settings
        self._said = operator.messages(plant)
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
                for _ in publish(publisher, encoder, plant, math.inf, self._stopping):
                    self.sent += 1
                    for message in self._said.get(self.sent, ()):
                        publisher.publish(*message)
                    if self.sent % 500 == 0:
                        self._keep_pace(publisher)
        except ApplianceError as error:
            self.error = error

    def _keep_pace(self, publisher: Publisher) -> None:
        due = self._began + self._seconds * self.sent / self.total
        publisher.idle(max(due - time.monotonic(), 0.0))
        while not self._stopping.is_set() and running_status(self._settings).get("backlog", 0) > MOST_BACKLOG:
            publisher.idle(0.1)
