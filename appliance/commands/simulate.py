"""``appliance simulate``: writes recordings of simulated machines with known faults, for replay and experiments."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from appliance.errors import RecordingError
from appliance.recordings import Recording, write_recording
from appliance.simulate.conditions import DAY_SECS, HOUR_SECS
from appliance.simulate.faults import MACHINE_FAULTS, SENSOR_FAULTS, Fault, Shape, SimulationError
from appliance.simulate.plant import simulate_plant
from appliance.simulate.simulator import MACHINES

FAULT_FORM = "MACHINE:FAULT:DAY:HOURS[:SEVERITY[:step|ramp]], with MACHINE.CHANNEL for the fault of a sensor"
TRUTH_FILE = "truth.json"


def simulate(
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for the recordings and truth.json.")] = None,
    machines: Annotated[
        str, typer.Option(metavar="KIND,...", help="Kinds; the same one twice makes two.")
    ] = "pump,fan,compressor,conveyor",
    days: Annotated[int, typer.Option(min=1, max=366, help="Simulated days.")] = 14,
    period_secs: Annotated[float, typer.Option(min=0.1, max=3600.0, help="Between two samples.")] = 60.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 0,
    learning_days: Annotated[int, typer.Option(min=0, help="Days at the beginning without drawn faults.")] = 7,
    faults: Annotated[
        str, typer.Option(metavar="N|none|SPEC,...", help="How many machine faults to draw, or each one as a SPEC.")
    ] = "4",
    sensor_faults: Annotated[int, typer.Option(min=0, help="How many sensor faults to draw.")] = 0,
    list_kinds: Annotated[
        bool, typer.Option("--list", help="Show the kinds of machines and faults, and stop.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print truth.json instead of a table.")] = False,
) -> None:
    """Write one recording (.npz) per simulated machine, and the truth about their faults.

    A SPEC is MACHINE:FAULT:DAY:HOURS[:SEVERITY[:step|ramp]], such as pump-1:leak:8.5:12:0.6:ramp; a sensor is
    MACHINE.CHANNEL, such as fan-1.airflow_m3h:stuck:9:6.

    Example: appliance simulate --out out --machines pump,pump,fan --days 14 --faults 5 --seed 1
    """
    console = Console()
    if list_kinds:
        _show_kinds(console)
        return
    if out is None:
        raise typer.BadParameter("name a folder for the recordings", param_hint="--out")
    drawn, given = _wanted_faults(faults)
    recordings = simulate_plant(
        [kind.strip() for kind in machines.split(",")],
        days=days,
        period_secs=period_secs,
        seed=seed,
        learning_days=min(learning_days, days),
        machine_faults=drawn,
        sensor_faults=sensor_faults,
        faults=given,
    )
    truth = truth_of(recordings)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / TRUTH_FILE).write_text(json.dumps(truth, indent=1) + "\n")
    except OSError as error:
        raise RecordingError(f"{out}: cannot be written to: {error.strerror}") from error
    for recording in recordings:
        write_recording(recording, out / f"{recording.machine}.npz")
    if as_json:
        typer.echo(json.dumps(truth))
    else:
        _show_truth(console, recordings)


def truth_of(recordings: list[Recording]) -> list[dict[str, Any]]:
    """Every injected fault of a plant, with its machine, in the order of time."""
    truth = [{"machine": recording.machine, **fault} for recording in recordings for fault in recording.meta["truth"]]
    return sorted(truth, key=lambda fault: (fault["start_time"], fault["machine"]))


def _wanted_faults(text: str) -> tuple[int, dict[str, list[Fault]]]:
    """Read ``--faults``: how many to draw, and those that are spelled out, by machine."""
    if text == "none":
        return 0, {}
    if text.isdecimal():
        return int(text), {}
    given: dict[str, list[Fault]] = {}
    for spec in text.split(","):
        machine, fault = parse_fault(spec.strip())
        given.setdefault(machine, []).append(fault)
    return 0, given


def parse_fault(spec: str) -> tuple[str, Fault]:
    """Read one fault, such as ``pump-1:leak:8.5:12:0.6:ramp``, into the machine's name and the fault.

    Raises
    ------
    SimulationError
        If it has another form.

    Examples
    --------
    >>> parse_fault("fan-1.airflow_m3h:stuck:9:6")[1].channel
    'airflow_m3h'
    """
    place, kind, day, hours, severity, shape, *more = [*spec.split(":"), *[""] * 6][:7]
    machine, _, channel = place.partition(".")
    shapes: dict[str, Shape] = {"": "step", "step": "step", "ramp": "ramp"}
    try:
        fault = Fault(
            kind=kind,
            start_secs=float(day) * DAY_SECS,
            duration_secs=float(hours) * HOUR_SECS,
            severity=float(severity or 0.5),
            shape=shapes[shape],
            channel=channel or None,
        )
    except (ValueError, KeyError):
        raise SimulationError(f"{spec!r} is no fault: write {FAULT_FORM}") from None
    if any(more):
        raise SimulationError(f"{spec!r} has too many parts: write {FAULT_FORM}")
    return machine, fault


def _show_kinds(console: Console) -> None:
    machines = Table("machine", "what it is", "channels", "faults")
    for machine in MACHINES.values():
        machines.add_row(machine.kind, machine.summary, "\n".join(machine.channel_names), "\n".join(machine.blame))
    faults = Table("fault", "of", "what it does")
    for of, kinds in (("machine", MACHINE_FAULTS), ("sensor", SENSOR_FAULTS)):
        for kind, effect in kinds.items():
            faults.add_row(kind, of, effect)
    console.print(machines, faults)


def _show_truth(console: Console, recordings: list[Recording]) -> None:
    table = Table("machine", "fault", "from (UTC)", "hours", "severity", "first seen on")
    table.columns[1].overflow = table.columns[-1].overflow = "fold"
    for fault in truth_of(recordings):
        table.add_row(
            fault["machine"],
            fault["kind"],
            datetime.fromtimestamp(fault["start_time"], UTC).strftime("%a %d %b %H:%M"),
            f"{(fault['end_time'] - fault['start_time']) / HOUR_SECS:.1f}",
            f"{fault['severity']:.2f} {fault['shape']}",
            fault["channels"][0],
        )
    samples = sum(len(recording.times) for recording in recordings)
    console.print(table, f"{len(recordings)} machines, {samples} samples")
