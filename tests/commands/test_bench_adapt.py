"""The benchmark of learning from labels measures what the service does, for every adapter."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from appliance.adapt.adapters import ADAPTERS
from appliance.cli import app


def test_every_adapter_is_measured() -> None:
    result = CliRunner().invoke(app, ["bench", "adapt", "--windows", "500", "--channels", "2", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.output)
    assert [row["adapter"] for row in rows] == list(ADAPTERS)
    assert all(row[key] > 0 for row in rows for key in ("head_ms", "calibration_ms", "rehearsal_ms"))
