from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from appliance.errors import ResultsError
from appliance.evaluation.explaining import Blamed
from appliance.evaluation.outputs import notes, write_outputs
from appliance.evaluation.results import Row, read_results
from appliance.evaluation.runner import Measured
from tests.fake_results import fake_rows

ROWS = fake_rows((0,), ("SKAB",))


def fleet() -> list[Measured]:
    names = sorted({row.machine for row in ROWS}, reverse=True)
    return [Measured("SKAB", name, rows=[row for row in ROWS if row.machine == name]) for name in names]


def test_all_three_files_are_written_and_do_not_depend_on_the_order(tmp_path: Path) -> None:
    machines = [*fleet(), Measured("New", "x", skipped="too short")]
    machines[0].blamed = [Blamed(0.5, True, 0.2), Blamed(0.0, False, 0.4)]
    summary = write_outputs(tmp_path, machines, "appliance evaluate --data d")
    files = {name: (tmp_path / name).read_bytes() for name in ("results.csv", "summary.json", "report.html")}
    assert sorted(map(repr, read_results(tmp_path / "results.csv"))) == sorted(map(repr, ROWS))
    assert json.loads(files["summary.json"]) == msgspec.to_builtins(summary)
    page = files["report.html"].decode()
    assert "too short" in page
    assert "<td>2</td><td>50 %</td><td>25 %</td><td>30 %</td>" in page
    write_outputs(tmp_path, machines[::-1], "appliance evaluate --data d")
    assert files["results.csv"] == (tmp_path / "results.csv").read_bytes()
    assert files["summary.json"] == (tmp_path / "summary.json").read_bytes()


def test_what_is_missing_is_said_once_for_each_reason() -> None:
    first, second, *others = fleet()
    eventless: list[Row] = [msgspec.structs.replace(row, events=0) for row in first.rows]
    machines = [
        replace(first, rows=eventless, failed=[("rrcf", "KeyError: {x}")]),
        replace(second, unsuited=[("cnn_forecaster", "windows of one sample")]),
        *(replace(each, unsuited=[("random", "no luck")]) for each in others),
    ]
    assert list(notes(machines)) == [
        f"No event is known of SKAB {first.machine}: only false alerts count there.",
        f"cnn_forecaster has no figure on SKAB {second.machine}: windows of one sample.",
        "random has no figure on 10 machines: no luck.",
        f"rrcf failed on SKAB {first.machine}: KeyError: {{x}}.",
    ]


def test_without_any_figure_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="every machine was skipped"):
        write_outputs(tmp_path, [Measured("New", "x", skipped="too short")], "appliance evaluate")
    assert not list(tmp_path.iterdir())
