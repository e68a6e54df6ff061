from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from appliance.commands.simulate import parse_fault, simulate
from appliance.recordings import read_recording
from appliance.simulate.conditions import DAY_SECS
from appliance.simulate.faults import MACHINE_FAULTS, SENSOR_FAULTS, SimulationError
from appliance.simulate.simulator import MACHINES

COMMAND = typer.Typer()
COMMAND.command()(simulate)


def run(*options: str) -> str:
    result = CliRunner(env={"TERMINAL_WIDTH": "160"}).invoke(COMMAND, options, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_it_writes_a_recording_per_machine_and_the_truth(tmp_path: Path) -> None:
    out = tmp_path / "new" / "plant"
    options = ["--out", str(out), "--machines", "pump,pump,fan", "--days", "12", "--period-secs", "300"]
    printed = json.loads(run(*options, "--faults", "3", "--sensor-faults", "1", "--seed", "4", "--json"))
    assert printed == json.loads((out / "truth.json").read_text())
    assert [fault["kind_of_fault"] for fault in printed].count("machine") == 3
    assert len(printed) == 4
    assert [fault["start_time"] for fault in printed] == sorted(fault["start_time"] for fault in printed)
    for name in ("pump-1", "pump-2", "fan-1"):
        recording = read_recording(out / f"{name}.npz")
        assert (recording.machine, len(recording.times), recording.train_end) == (name, 12 * 288, 7 * 288)
        own = [
            {key: value for key, value in fault.items() if key != "machine"}
            for fault in printed
            if fault["machine"] == name
        ]
        assert own == recording.meta["truth"]


def test_faults_can_be_spelled_out(tmp_path: Path) -> None:
    faults = "pump-1:leak:1.5:2:0.6:ramp,pump-1.motor_temp_c:stuck:0:3"
    run("--out", str(tmp_path), "--machines", "pump", "--days", "2", "--faults", faults)
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert [(fault["kind"], fault["severity"], fault["shape"]) for fault in truth] == [
        ("stuck", 0.5, "step"),
        ("leak", 0.6, "ramp"),
    ]


def test_none_means_no_fault(tmp_path: Path) -> None:
    run("--out", str(tmp_path), "--days", "1", "--faults", "none")
    assert json.loads((tmp_path / "truth.json").read_text()) == []


def test_list_names_every_machine_and_fault() -> None:
    listed = run("--list")
    for name in (*MACHINES, *MACHINE_FAULTS, *SENSOR_FAULTS):
        assert name in listed


def test_a_fault_has_a_day_and_hours() -> None:
    machine, fault = parse_fault("fan-2:leak:8.5:12")
    assert (machine, fault.start_secs, fault.duration_secs) == ("fan-2", 8.5 * DAY_SECS, 12 * 3600)


@pytest.mark.parametrize(
    "spec", ["pump-1", "pump-1:leak:x:2", "pump-1:leak:1:2:0.5:bump", "pump-1:leak:1:2:0.5:step:7"]
)
def test_a_malformed_fault_shows_the_form(spec: str) -> None:
    with pytest.raises(SimulationError, match="write MACHINE:FAULT:DAY:HOURS"):
        parse_fault(spec)


def test_the_folder_must_be_named() -> None:
    result = CliRunner().invoke(COMMAND, [])
    assert result.exit_code == 2
    assert "--out" in result.stderr
