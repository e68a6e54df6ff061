"""``appliance ask`` on a real database: doubtful stretches, their words, and the answer that makes them go away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from appliance.cli import app
from appliance.commands import common
from appliance.records import Label
from appliance.store.database import Database
from appliance.store.results import Results
from tests.small_plant import BEGIN, LEARNED, Plant, readings

SOURCE = '[[source]]\nname = "plant"\ntopic = "plant/{machine}"\nformat = { type = "json" }\n'
STRANGE = (LEARNED + 200, LEARNED + 500)
"""Cells at which something slight goes on for a minute."""
END = LEARNED + 800


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common.console, "width", 80)


@pytest.fixture(scope="module")
def lived() -> Plant:
    plant = Plant()
    slight = [(first, first + 60) for first in STRANGE]
    messages = []
    for cell in range(END):
        inside = any(first <= cell < end for first, end in slight)
        messages += readings([cell], offset=1.0 if inside else 0.0, machine="press")
    plant.kept = plant.send(messages)  # type: ignore[attr-defined]
    return plant


def configured(folder: Path, lived: Plant, more: str = "", *labels: Label) -> Path:
    path = folder / "appliance.toml"
    path.write_text(SOURCE + more + f'[mqtt]\nport = 1\n[storage]\ndata_dir = "{folder}/data"\n')
    outcome = lived.kept  # type: ignore[attr-defined]
    outcome.labels = list(labels)
    Results(Database(folder / "data" / "appliance.db")).commit(outcome, 1)
    return path


def ask(config: Path, *arguments: str) -> Result:
    command = ["ask", "press", *arguments, "--config", str(config)]
    return CliRunner(env={"COLUMNS": "80", "TERM": "dumb"}).invoke(app, command)


def asked(config: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(ask(config, "--json").output)
    return found


def cell_of(question: dict[str, object]) -> tuple[float, float]:
    start, end = (float(str(question[key])) - BEGIN for key in ("start", "end"))
    return start, end


def test_a_doubtful_stretch_is_asked_once_and_said_in_words(tmp_path: Path, lived: Plant) -> None:
    config = configured(tmp_path, lived)
    found = asked(config)
    assert 1 <= len(found) <= 3
    start, end = cell_of(found[0])
    assert any(start < first + 60 and end > first for first in STRANGE)
    assert found[0]["channels"]
    assert found[0]["why"]
    shown = ask(config).output
    assert "appliance label press fault --from 2026-01-0" in shown
    assert max(len(line) for line in shown.splitlines() if "appliance label" not in line) <= 80


def test_what_has_been_spoken_of_is_not_asked_again_nor_what_is_like_it(tmp_path: Path, lived: Plant) -> None:
    (tmp_path / "before").mkdir()
    start, end = cell_of(asked(configured(tmp_path / "before", lived))[0])
    label = Label("1", "press", "false_alarm", BEGIN + start, BEGIN + end, BEGIN + END - 90_000.0)
    (tmp_path / "after").mkdir()
    left = asked(configured(tmp_path / "after", lived, "", label))
    assert all(not (cell_of(each)[0] < end and cell_of(each)[1] > start) for each in left)


def test_no_more_is_asked_in_a_day_than_set_and_labels_of_the_day_count(tmp_path: Path, lived: Plant) -> None:
    assert asked(configured(tmp_path, lived, "[feedback]\nquestions_per_day = 0\n")) == []
    (tmp_path / "one").mkdir()
    spoken = Label("1", "press", "maintenance", BEGIN + 10.0, BEGIN + 20.0, BEGIN + END)
    config = configured(tmp_path / "one", lived, "[feedback]\nquestions_per_day = 1\n", spoken)
    assert asked(config) == []
    assert "Nothing to ask about press." in ask(config).output


def test_a_machine_that_is_not_there_is_named_with_those_that_are(tmp_path: Path, lived: Plant) -> None:
    config = configured(tmp_path, lived)
    result = CliRunner(env={"TERM": "dumb"}).invoke(app, ["ask", "pres", "--config", str(config)])
    assert result.exit_code == 2
    assert "press" in result.output
