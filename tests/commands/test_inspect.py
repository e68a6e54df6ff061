"""The commands that look at a database, and the two that need only a configuration."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from appliance.cli import app, main
from appliance.commands import common
from appliance.outcome import Outcome, Quarantined
from appliance.recordings import Recording, write_recording
from appliance.records import Alert, Message
from appliance.store import queries
from appliance.store.database import Database
from appliance.store.results import Results
from tests.servers import Mosquitto
from tests.small_plant import BEGIN, LEARNED, Plant, readings

SOURCE = '[[source]]\nname = "plant"\ntopic = "plant/{machine}"\nformat = { type = "json" }\n'
NAME = "line-3-press-with-a-long-name"
COMMANDS = [
    command.name or command.callback.__name__.replace("_", "-")
    for command in app.registered_commands
    if command.callback
]


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common.console, "width", 80)
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", None)  # read from the environment of the first test that asks


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "80", "TERM": "dumb"}).invoke(app, [str(argument) for argument in arguments])


def shown(result: Result) -> str:
    """The output, after a look that it fits on 80 columns."""
    assert max(map(len, result.output.splitlines()), default=0) <= 80, result.output
    return result.output


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "appliance.toml"
    path.write_text(SOURCE + f'[mqtt]\nport = 1\n[storage]\ndata_dir = "{tmp_path}/data"\n')
    return path


@pytest.fixture
def filled(config: Path, tmp_path: Path) -> Path:
    """A configuration whose database holds a learned machine, one that learns, an alert of each kind and a refusal."""
    plant = Plant()
    outcome = plant.send(readings(range(LEARNED + 40), machine="press") + readings(range(40), machine=NAME))
    message = Message(b"plant/[red]x", b"\x1b[2Jnonsense" * 40, BEGIN)
    outcome.quarantined.append(Quarantined(message, "not_json", "unexpected character: line 1 column 1 (char 0)", 1))
    summary = "press: a at 8.123 (usually 1 to 2), b at 50.01; the level is unusual."
    alert = Alert(
        "1", "press", "closed", BEGIN, BEGIN, BEGIN, BEGIN + 5400, 6.25, 4.9, {"a": 1.0}, {"level": 9.0}, summary
    )
    outcome.alerts += [
        replace(alert, verdict="false_alarm"),
        replace(alert, id="2", state="open", closed_at=None, opened_at=BEGIN + 9000),
    ]
    results = Results(Database(tmp_path / "data" / "appliance.db"))
    results.commit(outcome, 1)
    return config


def running(config: Path, **broker: Any) -> None:
    folder = config.parent / "data"
    outlet = {"delivered": 7, "dead_letters": 0, "problem": "HTTP 401 [token]", "held": True}
    status = {
        "data_dir": str(folder),
        "updated_at": time.time(),
        "started_at": BEGIN,
        "rss_mb": 80.0,
        "outlets": {"influxdb/scores": outlet},
        "broker": {"subscribed": True, "problem": None} | broker,
    }
    (folder / "status.json").write_text(json.dumps(status))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_with_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert re.search(rf"Example: appliance {command}\b", result.output)


def test_machines_are_listed_on_one_line_each(filled: Path) -> None:
    result = run("machines", "--config", filled)
    assert result.exit_code == 0
    lines = shown(result).splitlines()
    (learning,) = (line.split() for line in lines if NAME[:19] in line)
    (normal,) = (line.split() for line in lines if line.strip().startswith("press"))
    assert learning[1:] == ["learning", "4%", "—", "/", "—", "01-05", "00:00"]
    assert normal[:2] == ["press", "normal"]
    assert normal[5:7] == ["01-05", "00:16"]


def test_machines_as_json(filled: Path) -> None:
    found = {machine["machine"]: machine for machine in json.loads(run("machines", "-c", filled, "--json").output)}
    assert set(found) == {"press", NAME}
    assert found["press"]["counts"]["readings_placed"] == 2 * (LEARNED + 40)
    assert found[NAME]["score"] is None


def test_alerts_end_with_one_while_one_is_open(filled: Path) -> None:
    result = run("alerts", "--config", filled)
    assert result.exit_code == 1
    assert "closed 1.5 h" in shown(result)
    assert " ".join(result.output.split()).count("Label: false") == 1
    assert [alert["id"] for alert in json.loads(run("alerts", "-c", filled, "--json").output)] == ["2", "1"]
    assert [alert["id"] for alert in json.loads(run("alerts", "-c", filled, "--open", "--json").output)] == ["2"]
    assert run("alerts", "-c", filled, "--machine", "nobody").exit_code == 0


def test_faulty_sensors_are_shown_as_such(config: Path) -> None:
    outcome = Plant().send(readings(range(40), machine="press"))
    outcome.statuses["press"] |= {"sensor_faults": {"a": "unit_change"}, "trust": "prior", "operating": "stopped"}
    sentence = "press: the sensor a is stuck at 8.1 while the others move."
    outcome.alerts.append(
        Alert("1", "press", "open", BEGIN, BEGIN, BEGIN, None, None, None, {"a": 1.0}, {}, sentence, "sensor", "stuck")
    )
    Results(Database(config.parent / "data" / "appliance.db")).commit(outcome, 1)
    (line,) = (line.split() for line in shown(run("alerts", "-c", config)).splitlines() if "press" in line)
    assert line[2:5] == ["open", "sensor", "—"]
    shown_machines = " ".join(shown(run("machines", "-c", config)).split())
    assert "press stopped" in shown_machines
    assert "sensor a: unit change" in shown_machines


def test_quarantine_shows_hostile_text_as_it_is(filled: Path) -> None:
    result = run("quarantine", "--config", filled)
    assert result.exit_code == 1
    assert "\x1b" not in shown(result)
    assert "plant/[red]x" in result.output
    assert "not_json" in result.output
    (entry,) = json.loads(run("quarantine", "-c", filled, "--json", "-n", "1").output)
    assert (entry["topic"], entry["reason"], entry["readings"]) == ("plant/[red]x", "not_json", 1)


def test_status_tells_running_from_stopped(filled: Path) -> None:
    stopped = run("status", "--config", filled)
    assert stopped.exit_code == 1
    assert "not running" in shown(stopped)
    running(filled)
    result = run("status", "--config", filled)
    assert result.exit_code == 0
    assert "listening" in result.output
    assert "HTTP 401 [token]" in result.output
    running(filled, subscribed=False, problem="the broker refuses us")
    deaf = run("status", "--config", filled)
    assert deaf.exit_code == 1
    assert "running, not listening: the broker refuses us" in deaf.output


def test_status_tells_the_last_refit_and_why(filled: Path) -> None:
    assert "refit" not in run("status", "--config", filled).output
    statuses = {}
    for name, reason, hour in (("press", "drift", 3), ("fan", "routine", 5), ("pump", "schedule", 4)):
        refitted = {"refitted_at": BEGIN + 3600 * hour, "refit_reason": reason}
        statuses[name] = {"machine": name, "received_at": BEGIN} | refitted
    Results(Database(filled.parent / "data" / "appliance.db")).commit(Outcome(statuses=statuses), 2)
    assert "last refit: fan at " in shown(run("status", "--config", filled))
    assert "because it does the same every day" in " ".join(shown(run("status", "--config", filled)).split())
    found = json.loads(run("status", "--config", filled, "--json").output)["last_refit"]
    assert found == {"machine": "fan", "refitted_at": BEGIN + 5 * 3600, "refit_reason": "routine"}


def test_status_tells_what_labels_have_changed(filled: Path) -> None:
    words = "catches 3 of 3 labelled faults (before: 1); 0.4 alerts a week over 30 days (before: 2.1)"
    assert json.loads(run("status", "--config", filled, "--json").output)["learned"] == {}
    database = Database(filled.parent / "data" / "appliance.db")
    (status,) = (each for each in queries.machines(database) if each["machine"] == "press")
    Results(database).commit(Outcome(statuses={"press": status | {"learned": words, "trust": "adapted(3)"}}), 2)
    assert f"labels on press: {words}" in " ".join(run("status", "--config", filled).output.split())
    assert json.loads(run("status", "--config", filled, "--json").output)["learned"] == {"press": words}
    assert "adapted(3)" in run("machines", "--config", filled).output


def test_status_as_json_accounts_for_every_reading(filled: Path) -> None:
    found = json.loads(run("status", "-c", filled, "--json").output)
    readings = found["readings"]
    assert found["running"] is False
    assert readings["received"] == sum(readings[name] for name in ("placed", "late", "duplicate", "quarantined")) > 0


def test_status_says_how_long_thresholds_stay_extrapolated(filled: Path) -> None:
    needs = json.loads(run("status", "-c", filled, "--json").output)["needs_hours"]
    machines = json.loads(run("machines", "-c", filled, "--json").output)
    assert needs == {machine["machine"]: machine["needs_hours"] for machine in machines if machine["needs_hours"]}
    assert needs
    words = f"{len(needs)} with an extrapolated threshold: {max(needs.values()):.0f} more hours of normal operation"
    assert words in " ".join(run("status", "-c", filled).output.split())


def test_an_empty_database_is_said_in_words(config: Path, tmp_path: Path) -> None:
    Results(Database(tmp_path / "data" / "appliance.db")).commit(Outcome(), 0)
    assert "No machine has sent anything yet." in run("machines", "-c", config).output
    assert run("alerts", "-c", config).output == "No alerts.\n"
    nothing = run("quarantine", "-c", config)
    assert (nothing.exit_code, nothing.output) == (0, "Nothing in quarantine.\n")


@pytest.mark.parametrize("command", ["machines", "alerts", "quarantine", "status"])
def test_without_a_database_the_remedy_is_told(
    config: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["appliance", command, "--config", str(config)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "no database here; has the service run with this data_dir?" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["run"], ["check"], ["status", "--config"]])
def test_a_wrong_configuration_ends_with_two(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "appliance.toml"
    path.write_text(SOURCE + "[mqtt]\nport = 99999")
    monkeypatch.setattr("sys.argv", ["appliance", *command, str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {path}: mqtt.port: 99999 is above 65535\n"


def test_run_ends_with_one_where_the_database_cannot_be_opened(config: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder belongs")
    assert run("run", config).exit_code == 1  # not 2, after which systemd would not try again


def test_check_tries_all_parts(config: Path, broker: Mosquitto) -> None:
    config.write_text(config.read_text().replace("port = 1", f"port = {broker.port}") + '[[notify]]\ntype = "mqtt"\n')
    result = run("check", config, "--json")
    assert result.exit_code == 0
    assert [finding["works"] for finding in json.loads(result.output)] == [True] * 6


def test_check_names_what_fails(config: Path) -> None:
    unreachable = '[[notify]]\ntype = "webhook"\nurl = "http://127.0.0.1:1"\n'
    without_ca = '[[notify]]\ntype = "webhook"\nurl = "https://h"\ncafile = "/nowhere"\n'
    config.write_text(config.read_text() + unreachable + without_ca + '[influxdb]\nurl = "http://127.0.0.1:1"\n')
    result = run("check", config, "--json")
    assert result.exit_code == 1
    found = json.loads(result.output)
    assert [finding["works"] for finding in found] == [True] * 4 + [False] * 4
    assert "notify.cafile: /nowhere cannot be used" in found[-1]["detail"]


def test_compare_holds_alerts_against_the_recordings_machines_only(filled: Path, tmp_path: Path) -> None:
    times = BEGIN + np.arange(LEARNED, LEARNED + 40, dtype=float)
    meta = {"events": [[24, 30]]}
    recording = Recording("press", ("a",), times, np.zeros((40, 1)), meta=meta)
    other = Recording("other", ("a",), times, np.zeros((40, 1)), meta=meta)
    for entry in (recording, other):
        write_recording(entry, tmp_path / f"{entry.machine}.npz")
    found = json.loads(run("compare", tmp_path / "press.npz", "-c", filled, "--json").output)
    assert (found["events"], found["caught"], found["during_an_open_alert"], found["false_alerts"]) == (1, 0, 1, 2)
    text = run("compare", tmp_path / "press.npz", "-c", filled)
    assert "0 of 1 events caught (1 more while an alert was already open); 2 false alerts" in shown(text)
    unwatched = json.loads(run("compare", tmp_path / "other.npz", "-c", filled, "--json").output)
    assert (unwatched["events"], unwatched["false_alerts"], unwatched["machine_weeks"]) == (0, 0, 0)
