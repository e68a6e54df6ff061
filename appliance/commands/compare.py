"""``appliance compare``: hold the alerts in the database against the events in recordings that were replayed."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from appliance.commands.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    clock,
    console,
    duration,
    list_table,
    plain,
    write_json,
)
from appliance.commands.replay import placed
from appliance.config import Settings, load
from appliance.evaluation.truth import Comparison, events_of
from appliance.evaluation.truth import compare as matched
from appliance.ingest.times import EARLIEST
from appliance.recordings import read_recording
from appliance.store import queries
from appliance.store.database import Database


def compare(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings with known events.")],
    config: ConfigOption = DEFAULT_CONFIG,
    start: Annotated[str | None, typer.Option(metavar="ISO|keep", help="As given to replay.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the alerts raised while recordings were replayed with the events they are known to contain.

    Example: appliance compare out/*.npz --config config/appliance.toml
    """
    settings = load(config)
    recordings = [read_recording(path) for path in files]
    if start in {None, "now"} and any(recording.times[0] < EARLIEST for recording in recordings):
        raise typer.BadParameter(
            "the recordings bear no date; give replay and compare the same one", param_hint="--start"
        )
    recordings = placed(recordings, start, math.inf, time.time())
    database = Database(settings.storage.database, read_only=True)
    events = [event for recording in recordings for event in events_of(recording)]
    ours = {recording.machine for recording in recordings}
    watched = {machine: span for machine, span in queries.watched(database).items() if machine in ours}
    found = matched(events, queries.alerts(database, limit=1_000_000), watched, grace_secs(settings))
    if as_json:
        write_json(found.summary())
        return
    console.print(events_table(found))
    console.print(in_words(found))


def grace_secs(settings: Settings) -> float:
    """How long after an event an alert may still be about it: M windows of the alert rule."""
    longest = max(source.length * source.period_secs for source in settings.source)
    hop = max(source.hop * source.period_secs for source in settings.source)
    return longest + settings.alerts.of_windows * hop


def events_table(found: Comparison) -> Table:
    """List every event with what became of it; ✓ and ✗: whether the blamed channel is one of its own."""
    table = list_table()
    for name in ("began (UTC)", "machine", "what", "", "delay", "blamed"):
        table.add_column(name, no_wrap=name != "blamed")  # that column gives way where there is no room
    for match in sorted(found.matches, key=lambda match: match.event.start):
        expected = not match.event.is_sensor
        alert, rightly = match.alert, match.blamed_rightly
        if alert is None and match.event.is_sensor and match.diagnosis is not None:
            alert, rightly = match.diagnosis, match.diagnosed_rightly
            word = "[green]named[/]"
        elif alert is not None:
            word = "[green]caught[/]" if expected else "[yellow]alerted[/]"
        else:
            word = "[yellow]was open[/]" if match.was_open else "[red]missed[/]" if expected else "[dim]no alert[/]"
        mark = {True: "[green]✓[/] ", False: "[red]✗[/] ", None: ""}[rightly]
        kind = plain(match.event.kind.replace("_", " ")) + (" [dim](sensor)[/]" if match.event.is_sensor else "")
        table.add_row(
            clock(match.event.start)[5:16],
            plain(match.event.machine),
            kind,
            word,
            "" if alert is None else duration(alert.opened_at - match.event.start),
            _on_one_line(mark + plain("" if alert is None else next(iter(alert.channels), ""))),
        )
    return table


def _on_one_line(markup: str) -> Text:
    """Cut a name that is too long, so that each event is one line on 80 columns."""
    text = Text.from_markup(markup, overflow="ellipsis")
    text.no_wrap = True
    return text


def in_words(found: Comparison) -> str:
    """Sum a comparison up in one sentence."""
    total = len(found.machine_events)
    shadow = f" ({found.overshadowed} more while an alert was already open)" if found.overshadowed else ""
    named = sum(match.diagnosed_rightly for match in found.sensor_events)
    sensors = f"; {named} of {len(found.sensor_events)} faulty sensors named" if found.sensor_events else ""
    false = len(found.false_alerts)
    return (
        f"{found.caught} of {total} events caught{shadow}; {false} false alert{'s' * (false != 1)} in "
        f"{found.machine_weeks:.1f} machine-weeks = {found.false_per_week:.2f} a week{sensors}"
    )
