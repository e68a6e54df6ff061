"""``appliance label`` against a running service, and where there is none."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from appliance.cli import app, main
from appliance.outcome import Outcome
from appliance.records import Label
from appliance.store.database import Database
from appliance.store.results import Results
from tests.faults import plant
from tests.faults.appliance import Appliance, wait_until
from tests.servers import Mosquitto


def iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat()


def test_a_label_is_taken_in_answered_and_listed(tmp_path: Path, broker: Mosquitto) -> None:
    appliance = Appliance(tmp_path / "appliance", broker.port)
    try:
        appliance.start()
        wait_until(appliance.is_subscribed, "subscribed")
        sent = plant.messages(1500, ["pump"])
        plant.publish(broker.port, sent)
        appliance.drain(sent)
        t = plant.STARTS_AT
        span = ("--from", iso(t + 1200), "--to", iso(t + 1290))
        done = appliance.command("label", "pump", "fault", *span, "--name", "bearing", "--by", "maria", "--json")
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert (answer["machine"], answer["stored"], answer["repeated"]) == ("pump", True, False)
        assert answer["learned"].startswith("catches 1 of 1 labelled fault (before: ")
        status = appliance.command("status")
        assert f"labels on pump: {answer['learned']}" in status.stdout
        assert "adapted(1)" in appliance.command("machines").stdout
        back = appliance.command("rollback", "pump")
        assert (back.returncode, "back to what it was before any label" in back.stdout) == (0, True)
        again = json.loads(appliance.command("adapt", "pump", "--json").stdout)
        assert again["learned"].startswith("catches 1 of 1 labelled fault (before: ")
        listed = json.loads(appliance.command("labels", "--json").stdout)
        assert [(each["id"], each["said_by"], each["fault"]) for each in listed] == [(answer["id"], "maria", "bearing")]
        assert "bearing; by maria" in appliance.command("labels", "--machine", "pump").stdout
        refused = appliance.command("label", "pmp", "fault", *span)
        assert refused.returncode == 2
        assert 'no machine is called pmp: did you mean "pump"?' in refused.stdout
        wrong = appliance.command("label", "pump", "fault")
        assert wrong.returncode == 2
        assert "a fault needs from and to, or the id of an alert" in wrong.stderr
        assert f"pump: label {answer['id']}, fault, by maria via cli" in appliance.log()
        assert appliance.stop() == 0
        unheard = appliance.command("label", "pump", "maintenance", *span, "--wait", "0.2")
        assert unheard.returncode == 1
        assert "sent, but no answer within 0.2 s" in unheard.stdout
        appliance.start()
        wait_until(lambda: len(json.loads(appliance.command("labels", "--json").stdout)) == 2, "the broker kept it")
    finally:
        appliance.kill()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "appliance.toml"
    source = '[[source]]\nname = "plant"\ntopic = "plant/{machine}"\nformat = { type = "json" }\n'
    path.write_text(source + f'[mqtt]\nport = 1\n[storage]\ndata_dir = "{tmp_path}/data"\n')
    return path


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, [str(argument) for argument in arguments])


def test_a_broker_that_cannot_be_reached_is_said(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["appliance", "label", "pump", "new_normal", "--from", "-2h", "--config", str(config)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "broker 127.0.0.1:1: " in error
    assert "check host, port and certificates; nothing was sent" in error


@pytest.mark.parametrize("time", ["yesterday", "2026-03-12T14:00", "-2"])
def test_a_time_that_cannot_be_read_is_said(config: Path, time: str) -> None:
    result = run("label", "pump", "new_normal", "--from", time, "--config", config)
    assert result.exit_code == 2
    assert "or write now, -2h, +30m" in " ".join(result.output.replace("│", " ").split())


def test_labels_are_listed_newest_first(config: Path, tmp_path: Path) -> None:
    empty = Results(Database(tmp_path / "data" / "appliance.db"))
    empty.commit(Outcome(), 1)
    assert run("labels", "-c", config).output == "No labels.\n"
    bad = Label("1", "pump", "bad_sensor", 1.7e9, None, 1.7e9, channel="[red]temp")
    empty.commit(Outcome(labels=[bad, Label("2", "fan", "maintenance", 1.7e9, 1.7e9 + 60, 1.7e9, note="oil")]), 2)
    first, second = (line for line in run("labels", "-c", config).output.splitlines() if "22:13" in line)
    assert first.split() == ["11-14", "22:13", "fan", "maintenance", "11-14", "22:13", "–", "11-14", "22:14", "oil"]
    assert second.split() == ["11-14", "22:13", "pump", "bad_sensor", "11-14", "22:13", "–", "—", "[red]temp"]
    assert run("labels", "-c", config, "--machine", "fan", "-n", "1").output.count("maintenance") == 1
