"""``label`` says what was the matter with a machine, ``labels`` lists what was said; ``adapt`` and ``rollback``.

What is said goes the way of every message: to the broker, from there into the journal, and only then to its machine.
Nothing writes to the database beside the service.
"""

from __future__ import annotations

import getpass
import re
import secrets
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from appliance.commands.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    console,
    list_table,
    plain,
    short_clock,
    write_json,
)
from appliance.config import Settings, load
from appliance.errors import DecodeError
from appliance.ingest.commands import CommandKind, MachineCommand, write_command
from appliance.ingest.labels import read_label, write_label
from appliance.ingest.times import read_time
from appliance.records import Label, LabelVerdict
from appliance.store import queries
from appliance.store.database import Database

WaitOption = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for the answer.")]
_RELATIVE = re.compile(r"([+-])(\d+(?:\.\d+)?)([smhd])")
_UNIT_SECS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
NAME_CELLS = 20


def label(
    machine: Annotated[str, typer.Argument(help="As `appliance machines` shows it.")],
    verdict: Annotated[LabelVerdict, typer.Argument(help="What it was.")],
    config: ConfigOption = DEFAULT_CONFIG,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="ISO 8601 with a zone, now, or -2h, -30m, +1d.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="The same.")] = None,
    alert: Annotated[
        str | None, typer.Option(metavar="ID", help="Instead of times: an alert, as `appliance alerts --json` has it.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the kind of fault, such as bearing.")] = None,
    channel: Annotated[str | None, typer.Option(help="Whose sensor is bad.")] = None,
    cleared: Annotated[bool, typer.Option("--cleared", help="The bad sensor is well again.")] = False,
    note: Annotated[str | None, typer.Option(help="For people.")] = None,
    by: Annotated[str | None, typer.Option(help="Who says so. Default: the user of this shell.")] = None,
    wait_secs: WaitOption = 10.0,
    as_json: JsonOption = False,
) -> None:
    """Say what was the matter with a machine, and wait for what the appliance makes of it.

    fault: it was, learn it. false_alarm: nothing was. maintenance: do not judge or learn from it. new_normal: learn the
    machine anew from there on. bad_sensor: leave a channel out until --cleared.

    Exit 0: taken in. 1: sent, but the service has not answered. 2: refused, or the broker cannot be reached.

    Example: appliance label pump-1 fault --from 2026-03-12T14:00Z --to 2026-03-12T15:30Z --name bearing

    Example: appliance label pump-1 false_alarm --alert pump-1-20260312T140000Z
    """
    settings = load(config)
    now = time.time()
    asked = Label(
        id=secrets.token_hex(8),
        machine=machine,
        verdict=verdict,
        start=_moment(start, now, "--from"),
        end=_moment(end, now, "--to"),
        said_at=now,
        said_by=by or getpass.getuser(),
        via="cli",
        fault=name,
        channel=channel,
        cleared=cleared,
        alert=alert,
        note=note,
    )
    payload = write_label(asked)
    try:
        read_label(machine, payload, now)
    except DecodeError as error:
        raise typer.BadParameter(error.detail) from error
    answer = _ask(settings, machine, "label", payload, asked.id, wait_secs)
    _show(answer, f"{verdict} {machine}", wait_secs, as_json)


def labels(
    config: ConfigOption = DEFAULT_CONFIG,
    machine: Annotated[str | None, typer.Option(help="Only this machine's.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="Most rows to show.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List what operators have said, newest first. Where two contradict each other the newer one stands.

    Example: appliance labels --machine pump-1 --json
    """
    found = queries.labels(Database(load(config).storage.database, read_only=True), machine=machine, limit=limit)
    if as_json:
        write_json([msgspec.to_builtins(each) for each in found])
        return
    table = list_table()
    table.add_column("said (UTC)", no_wrap=True)
    table.add_column("machine", no_wrap=True, overflow="ellipsis", max_width=NAME_CELLS)
    table.add_column("verdict", no_wrap=True)
    table.add_column("from – to (UTC)", no_wrap=True)
    table.add_column("what")
    for each in found:
        verdict = f"{each.verdict} cleared" if each.cleared else each.verdict
        stretch = f"{short_clock(each.start)} – {short_clock(each.end)}"
        what = "; ".join(
            filter(None, (each.fault, each.channel, each.note, each.said_by and f"by {each.said_by}", each.learned))
        )
        table.add_row(short_clock(each.said_at), plain(each.machine), verdict, stretch, plain(what))
    console.print(table if found else "No labels.")


def adapt(
    machine: Annotated[str, typer.Argument(help="As `appliance machines` shows it.")],
    config: ConfigOption = DEFAULT_CONFIG,
    wait_secs: WaitOption = 10.0,
    as_json: JsonOption = False,
) -> None:
    """Learn once more from all labels of a machine, and say what that changes. Exit as for `appliance label`.

    Example: appliance adapt pump-1
    """
    _command(machine, "adapt", config, wait_secs, as_json)


def rollback(
    machine: Annotated[str, typer.Argument(help="As `appliance machines` shows it.")],
    config: ConfigOption = DEFAULT_CONFIG,
    wait_secs: WaitOption = 10.0,
    as_json: JsonOption = False,
) -> None:
    """Judge a machine as before the last change that its labels made, one step. Exit as for `appliance label`.

    Example: appliance rollback pump-1
    """
    _command(machine, "rollback", config, wait_secs, as_json)


def _command(machine: str, kind: CommandKind, config: Path, wait_secs: float, as_json: bool) -> None:
    asked = MachineCommand(kind, secrets.token_hex(8), getpass.getuser())
    assert asked.id is not None
    answer = _ask(load(config), machine, "command", write_command(asked), asked.id, wait_secs)
    _show(answer, f"{kind} {machine}", wait_secs, as_json)


def _ask(
    settings: Settings, machine: str, what: str, payload: bytes, asked_id: str, wait_secs: float
) -> dict[str, Any] | None:
    from appliance import assembly  # noqa: PLC0415 - scipy takes a second that --help should not
    from appliance.ingest.asking import ask  # noqa: PLC0415

    topic = f"{settings.mqtt.prefix}/machines/{machine}/{what}"
    return ask(assembly.broker_options(settings), topic, payload, asked_id, wait_secs)


def _show(answer: dict[str, Any] | None, what: str, wait_secs: float, as_json: bool) -> None:
    """Show the service's answer and end with its exit status."""
    if as_json:
        write_json(answer or {"stored": None})
    elif answer is None:
        console.print(
            f"[yellow]sent[/], but no answer within {wait_secs:g} s: the broker keeps it until the service takes it; "
            "see `appliance status`, then `appliance labels`",
            soft_wrap=True,
        )
    elif answer["stored"]:
        learned = f": {answer['learned']}" if answer["learned"] else ""
        console.print(f"[green]taken in[/]: {plain(what)}{plain(learned)}", soft_wrap=True)
    else:
        console.print(f"[red]refused[/]: {plain(answer['error'])}", soft_wrap=True)
    raise typer.Exit(1 if answer is None else 0 if answer["stored"] else 2)


def _moment(text: str | None, now: float, option: str) -> float | None:
    """Read a time of the command line.

    Examples
    --------
    >>> _moment("-2h", 10_000.0, ""), _moment("now", 5.0, ""), _moment(None, 5.0, "")
    (2800.0, 5.0, None)
    """
    if text is None or text == "now":
        return None if text is None else now
    if (found := _RELATIVE.fullmatch(text)) is not None:
        sign, number, unit = found.groups()
        return now + float(f"{sign}{number}") * _UNIT_SECS[unit]
    try:
        return read_time(text)
    except DecodeError as error:
        raise typer.BadParameter(f"{error.detail}; or write now, -2h, +30m", param_hint=option) from error
