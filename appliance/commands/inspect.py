"""``status``, ``machines``, ``alerts``, ``quarantine``: look at a running or stopped appliance."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from appliance.commands.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    clock,
    console,
    duration,
    list_table,
    plain,
    short_clock,
    write_json,
)
from appliance.config import Settings, load
from appliance.explain import REFIT_IN_WORDS
from appliance.store import queries
from appliance.store.database import Database

STALE_SECS = 15.0
"""A status older than this was left by a process that no longer runs."""
NAME_CELLS = 20
"""Widest column of names: two others and a sentence still fit beside it on 80 columns."""
SHOWN_PAYLOAD = 80

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="Most rows to show.")]


def status(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show whether the appliance runs, what it received and what became of it. Exit 1: not running or not listening.

    Example: appliance status --json | jq .readings
    """
    settings = load(config)
    database = Database(settings.storage.database, read_only=True)
    service = _service(settings)
    found = {"running": service is not None, "service": service, **queries.status(database)}
    every = queries.machines(database)
    found["needs_hours"] = {each["machine"]: hours for each in every if (hours := each.get("needs_hours"))}
    found["learned"] = {each["machine"]: learned for each in every if (learned := each.get("learned"))}
    if as_json:
        write_json(found)
    else:
        _show_status(found)
    raise typer.Exit(0 if service is not None and service["broker"]["subscribed"] else 1)


def machines(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the machines: what they are doing, how far they are learned, their score against the threshold.

    Example: appliance machines
    """
    found = queries.machines(Database(load(config).storage.database, read_only=True))
    if as_json:
        write_json(found)
        return
    table = list_table()
    table.add_column("machine", no_wrap=True, overflow="ellipsis", max_width=NAME_CELLS)
    table.add_column("state", no_wrap=True)
    table.add_column("score / limit", no_wrap=True, justify="right")
    table.add_column("newest (UTC)", no_wrap=True)
    table.add_column("notes")
    for machine in found:
        table.add_row(
            plain(machine["machine"]),
            state_of(machine),
            f"{_number(machine['score'])} / {_number(machine['threshold'])}",
            short_clock(machine["newest"]),
            plain(_notes(machine)),
        )
    console.print(table if found else "No machine has sent anything yet.")


def alerts(
    config: ConfigOption = DEFAULT_CONFIG,
    machine: Annotated[str | None, typer.Option(help="Only this machine's.")] = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only those that are open.")] = False,
    limit: Limit = 50,
    as_json: JsonOption = False,
) -> None:
    """List alerts, newest first. Exit 1: at least one of them is open.

    Example: appliance alerts --open
    """
    database = Database(load(config).storage.database, read_only=True)
    found = queries.alerts(database, machine=machine, open_only=open_only, limit=limit)
    if as_json:
        write_json([msgspec.to_builtins(alert) for alert in found])
    else:
        table = list_table()
        table.add_column("opened (UTC)", no_wrap=True)
        table.add_column("state", no_wrap=True)
        table.add_column("kind", no_wrap=True)
        table.add_column("peak", no_wrap=True, justify="right")
        table.add_column("what")
        for alert in found:
            colour = "dim" if alert.state == "closed" else "red"
            lasted = "" if alert.closed_at is None else f" {duration(alert.closed_at - alert.opened_at)}"
            table.add_row(
                short_clock(alert.opened_at),
                f"[{colour}]{alert.state}{lasted}[/]",
                alert.kind,
                _number(alert.peak_score),
                plain(alert.summary + ("" if alert.verdict is None else f" Label: {alert.verdict.replace('_', ' ')}.")),
            )
        console.print(table if found else "No alerts.")
    raise typer.Exit(1 if any(alert.state != "closed" for alert in found) else 0)


def quarantine(config: ConfigOption = DEFAULT_CONFIG, limit: Limit = 20, as_json: JsonOption = False) -> None:
    """List messages that could not be used, newest first, with the reason. Exit 1: there are some.

    Example: appliance quarantine -n 5
    """
    found = queries.quarantine(Database(load(config).storage.database, read_only=True), limit=limit)
    if as_json:
        write_json(found)
    else:
        table = list_table()
        table.add_column("received (UTC)", no_wrap=True)
        table.add_column("topic", overflow="fold", max_width=NAME_CELLS)
        table.add_column("why and what")
        for entry in found:
            why = f"[yellow]{plain(entry['reason'])}[/] {plain(entry['detail'])}"
            what = f"[dim]{plain(entry['payload'][:SHOWN_PAYLOAD])}[/]"
            table.add_row(short_clock(entry["received_at"]), plain(entry["topic"]), f"{why}\n{what}")
        console.print(table if found else "Nothing in quarantine.")
    raise typer.Exit(1 if found else 0)


def _service(settings: Settings) -> dict[str, Any] | None:
    """Read what the running process last said of itself; None where none runs."""
    for folder in (Path("/run/appliance"), settings.storage.data_dir):
        try:
            found: dict[str, Any] = json.loads((folder / "status.json").read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            continue
        ours = found["data_dir"] == str(settings.storage.data_dir.absolute())
        if ours and time.time() - found["updated_at"] < STALE_SECS:
            return found
    return None


def _show_status(found: dict[str, Any]) -> None:
    service = found["service"]
    if service is None:
        console.print("[yellow]not running[/]; the figures are those of its last moment")
    elif service["broker"]["subscribed"]:
        console.print(f"[green]running[/] since {clock(service['started_at'])}, listening, {service['rss_mb']:.0f} MB")
    else:
        console.print(f"[red]running, not listening[/]: {plain(service['broker']['problem'])}")
    readings = found["readings"]
    console.print(
        f"{readings['received']:,} readings = {readings['placed']:,} placed + {readings['late']:,} late + "
        f"{readings['duplicate']:,} duplicate + {readings['quarantined']:,} quarantined"
    )
    messages = found["messages"]
    console.print(f"{messages['journaled']:,} messages, {messages['backlog']:,} of them still waiting to be processed")
    console.print(f"{found['scores']:,} windows, {found['alerts_open']} alerts open, {found['database_mb']} MB on disk")
    if needs := found["needs_hours"]:
        console.print(
            f"{len(needs)} with an extrapolated threshold: {max(needs.values()):.0f} more hours of normal operation "
            "until it rests on what was seen"
        )
    if refit := found["last_refit"]:
        why = REFIT_IN_WORDS[refit["refit_reason"]]
        console.print(f"last refit: {plain(refit['machine'])} at {clock(refit['refitted_at'])}, {why}")
    for machine, learned in found["learned"].items():
        console.print(f"  labels on {plain(machine)}: {plain(learned)}")
    for reason, count in found["refused"].items():
        console.print(f"  [yellow]refused[/] {plain(reason)}: {count:,}")
    if service is not None:
        for name, outlet in service["outlets"].items():
            problem = f"[red]{plain(outlet['problem'])}[/]" if outlet["problem"] else "well"
            console.print(f"  {name}: {problem}, {outlet['delivered']:,} delivered, {outlet['dead_letters']} refused")


def state_of(machine: dict[str, Any]) -> str:
    """Say in a coloured word how a machine is."""
    if machine["alert"]:
        return "[red]ALERT[/]"
    if machine["blank"] == "maintenance":
        return "[dim]maintenance[/]"
    if machine["trust"] == "learning":
        return f"[blue]learning {machine['learned_hours'] / machine['warmup_hours']:.0%}[/]"
    if machine["blank"] == "no_data":
        return "[yellow]no data[/]"
    if machine["operating"] in {"stopped", "starting"}:
        return f"[dim]{machine['operating']}[/]"
    return "[green]normal[/]"


def _notes(machine: dict[str, Any]) -> str:
    notes = [f"{machine['trust']}, head {machine['head']}"] if machine["trust"].startswith("adapted") else []
    notes += [f"sensor {name}: {fault.replace('_', ' ')}" for name, fault in machine["sensor_faults"].items()][:2]
    if bad := machine.get("bad_sensors"):
        notes.append(f"bad by label: {', '.join(bad[:3])}")
    if machine["silent_channels"]:
        notes.append(f"silent: {', '.join(machine['silent_channels'][:3])}")
    if machine["new_channels"]:
        notes.append(f"new: {', '.join(machine['new_channels'][:3])}")
    if hours := machine.get("needs_hours"):
        notes.append(f"extrapolated for {hours:.0f} h more")
    return "; ".join(notes)


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.1f}"
