from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.evaluation.results import read_results
from appliance.recordings import Recording
from appliance.simulate.plant import simulate_plant

DATA = Path(os.environ.get("APPLIANCE_DATA", Path(__file__).parents[3] / "shared" / "data"))


def evaluate(*arguments: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "appliance", "evaluate", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert result.returncode == status, result.stderr
    return result


def write_csv(folder: Path, recordings: Sequence[Recording]) -> None:
    """Write a plant as its owner would: one CSV for each machine, and a list of what happened."""
    folder.mkdir()
    with (folder / "events.csv").open("w", newline="") as file:
        events = csv.writer(file)
        events.writerow(["machine", "start", "end", "kind"])
        for recording in recordings:
            for fault in recording.meta["truth"]:
                times = (datetime.fromtimestamp(fault[at], UTC).isoformat() for at in ("start_time", "end_time"))
                events.writerow([recording.machine, *times, fault["kind"]])
    for recording in recordings:
        with (folder / f"{recording.machine}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["time", *recording.channels])
            rows.writerows([time, *row] for time, row in zip(recording.times, recording.values.tolist(), strict=True))


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "plant"
    write_csv(folder, simulate_plant(["pump", "fan"], days=14, period_secs=300.0, seed=1, machine_faults=4))
    return folder


def test_a_folder_of_ones_own_is_measured_and_kept(plant: Path, tmp_path: Path) -> None:
    first = evaluate("--data", plant, "--out", tmp_path, "--quick", "--jobs", 2)
    assert "plant: 2 machines, 0 skipped, 0 failed; 10 measurements were new" in first.stderr
    assert "evidence mean" in first.stdout
    assert "Machines with 0.5–1.5 of the budgeted false" in first.stdout
    rows = read_results(tmp_path / "results.csv")
    methods = {"appliance", "evidence_mean", "isolation_forest", "random", "river_hst"}
    assert {(row.machine, row.method) for row in rows} == {(m, n) for m in ("fan-1", "pump-1") for n in methods}
    assert {(row.dataset, row.events, row.tail, row.k) for row in rows} == {("plant", 2, "whole", 0)}
    scores = {row.method: row.vus_pr or 0.0 for row in rows if row.machine == "pump-1"}
    assert scores["appliance"] > scores["random"] + 0.2
    page = (tmp_path / "report.html").read_text()
    assert f"appliance evaluate --data {plant} --out {tmp_path}" in page
    assert "fan-1" in page

    again = evaluate("--data", plant, "--out", tmp_path, "--quick", "--jobs", 1, "--json")
    assert "0 measurements were new" in again.stderr
    summary = json.loads(again.stdout)
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert read_results(tmp_path / "results.csv") == rows


def test_a_machine_that_cannot_serve_is_told_and_the_rest_is_measured(plant: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("pump-1.csv", "events.csv"):
        (data / name).symlink_to(plant / name)
    (data / "short.csv").write_text("time,a\n1,2\n2,3\n")
    found = evaluate("--data", data, "--out", tmp_path / "out", "--methods", "random,ridge", "--k", "1", "--seeds", 1)
    assert "data: 1 machines skipped, such as short: 0 samples before its first event" in found.stderr
    rows = read_results(tmp_path / "out" / "results.csv")
    assert {row.machine for row in rows} == {"pump-1"}
    assert "(data short)" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--methods", "isolation_florest"], "did you mean isolation_forest?"),
        (["--k", "few"], "write numbers of events, such as 0,1,5"),
        (["--methods", "ridge"], "ridge learns from labelled events: ask for --k 1"),
        (["--k", "-1"], "write numbers of events, such as 0,1,5"),
        (["--datasets", "smd"], "has no dataset smd: it has plant"),
    ],
)
def test_wrong_usage_is_told(plant: Path, tmp_path: Path, arguments: list[str], error: str) -> None:
    found = evaluate("--data", plant, "--out", tmp_path, *arguments, status=2)
    assert error in " ".join(found.stderr.replace("│", " ").split())


def test_a_folder_without_recordings_is_told(tmp_path: Path) -> None:
    found = evaluate("--data", tmp_path / "none", "--out", tmp_path, status=2)
    assert "is no folder: name one with recordings" in found.stderr


def test_a_folder_of_which_nothing_can_be_measured_is_told(tmp_path: Path) -> None:
    (tmp_path / "short.csv").write_text("time,a\n1,2\n2,3\n")
    found = evaluate("--data", tmp_path, "--out", tmp_path / "out", "--methods", "random", status=2)
    assert "1 machines skipped, such as short: 0 samples before" in found.stderr
    assert "every machine was skipped" in found.stderr


def test_the_command_line_loads_nothing_heavy() -> None:
    heavy = ["torch", "sklearn", "rrcf", "matplotlib", "jinja2", "appliance.evaluation.methods"]
    program = f"import sys, appliance.cli; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_scale_weights_are_chosen_on_other_datasets(plant: Path, tmp_path: Path) -> None:
    for dataset in ("pumps", "fans"):
        (tmp_path / "data" / dataset).mkdir(parents=True)
        (tmp_path / "data" / dataset / "events.csv").symlink_to(plant / "events.csv")
        name = f"{dataset.removesuffix('s')}-1.csv"
        (tmp_path / "data" / dataset / name).symlink_to(plant / name)
    found = evaluate("--data", tmp_path / "data", "--out", tmp_path / "out", "--held-out-weights")
    assert "chosen" in found.stdout
    written = json.loads((tmp_path / "out" / "held_out_weights.json").read_text())
    assert [(each["tested_on"], each["chosen_on"]) for each in written] == [("fans", "pumps"), ("pumps", "fans")]


@pytest.mark.skipif(not (DATA / "tep").is_dir(), reason=f"no real recordings in {DATA}: name them in APPLIANCE_DATA")
def test_real_machines_are_measured(tmp_path: Path) -> None:
    evaluate("--data", DATA, "--out", tmp_path, "--quick", "--datasets", "tep", "--methods", "appliance,random")
    rows = read_results(tmp_path / "results.csv")
    assert {row.machine for row in rows} == {"fault00", "fault01", "fault02", "fault04"}
    assert {(row.hops, row.events) for row in rows if row.machine == "fault04"} == {(346, 2)}
