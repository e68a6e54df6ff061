"""The benchmark of learning from labels measures what the service does, for every adapter."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from appliance.adapt.adapters import ADAPTERS
from appliance.adapt.adapters.descending import METHODS
from appliance.cli import app
from appliance.commands import bench_adapt


def test_adapters_are_measured_here_and_in_a_process_of_their_own() -> None:
    small = ("--windows", "500", "--channels", "2", "--methods", "ridge, prototype,maml", "--json")
    result = CliRunner().invoke(app, ["bench", "adapt", *small])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.output)
    assert [row["adapter"] for row in rows] == ["ridge", "prototype", "maml"]
    assert all(row[key] > 0 for row in rows for key in ("head_ms", "calibration_ms", "rehearsal_ms"))
    assert [row["peak_mb"] is None for row in rows] == [True, True, False]
    assert 0 < rows[2]["descent_ms"] < rows[2]["process_ms"] < rows[2]["call_ms"]


def test_every_adapter_is_measured_unless_told_otherwise() -> None:
    assert bench_adapt.METHODS.split(", ") == [*ADAPTERS, *METHODS]


def test_an_adapter_that_does_not_exist_is_wrong_usage() -> None:
    result = CliRunner().invoke(app, ["bench", "adapt", "--windows", "500", "--methods", "rigde"])
    assert result.exit_code == 2
    assert "rigde is no adapter; there are ridge, prototype, maml" in " ".join(result.output.replace("│", " ").split())
