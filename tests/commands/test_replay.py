from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt
import pytest
import typer
from paho.mqtt.enums import CallbackAPIVersion
from typer.testing import CliRunner

from appliance.commands.replay import placed, replay
from appliance.errors import RecordingError
from appliance.ingest.codecs.sparkplug_schema import Payload
from appliance.recordings import Recording, write_recording
from tests.servers import Mosquitto

MONDAY = 1_767_571_200.0
COMMAND = typer.Typer()
COMMAND.command()(replay)


@contextmanager
def listening(broker: Mosquitto) -> Iterator[list[tuple[str, bytes]]]:
    """Collect every message that the broker distributes."""
    received: list[tuple[str, bytes]] = []
    ready = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _client, _data, message: received.append((message.topic, bytes(message.payload)))
    client.connect(broker.host, broker.port)
    client.loop_start()
    client.subscribe("#", qos=1)
    assert ready.wait(5)
    try:
        yield received
    finally:
        client.disconnect()
        client.loop_stop()


def arrived(received: list[tuple[str, bytes]], count: int) -> list[tuple[str, bytes]]:
    deadline = time.monotonic() + 10
    while len(received) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(received) == count
    return received


def fleet(folder: Path) -> list[Path]:
    """A pump every 60 s and a fan every 90 s from Monday on, with readings missing."""
    pump = Recording(
        "pump-1", ("flow", "temp"), np.linspace(MONDAY, MONDAY + 180, 4), np.array([[1.5, 20], [2, math.nan]] * 2)
    )
    fan = Recording(
        "fan-1", ("speed",), np.linspace(MONDAY + 10, MONDAY + 190, 3), np.array([[10.0], [math.nan], [12.0]])
    )
    for recording in (pump, fan):
        write_recording(recording, folder / f"{recording.machine}.npz")
    return [folder / "pump-1.npz", folder / "fan-1.npz"]


def run(broker: Mosquitto, files: list[Path], *options: str) -> tuple[int, dict[str, Any]]:
    command = [*map(str, files), "--broker", f"{broker.host}:{broker.port}", "--json", *options]
    result = CliRunner().invoke(COMMAND, command, catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout)


def test_machines_are_interleaved_in_time_and_missing_readings_left_out(broker: Mosquitto, tmp_path: Path) -> None:
    with listening(broker) as received:
        code, summary = run(broker, fleet(tmp_path), "--speed", "max")
        messages = arrived(received, 6)
    assert code == 0
    assert summary.pop("seconds") < 10
    assert summary == {"machines": 2, "messages": 6, "readings": 8, "acked": 6}
    assert [(topic, json.loads(payload)) for topic, payload in messages] == [
        ("plant/pump-1", {"time": MONDAY, "flow": 1.5, "temp": 20}),
        ("plant/fan-1", {"time": MONDAY + 10, "speed": 10}),
        ("plant/pump-1", {"time": MONDAY + 60, "flow": 2}),
        ("plant/pump-1", {"time": MONDAY + 120, "flow": 1.5, "temp": 20}),
        ("plant/pump-1", {"time": MONDAY + 180, "flow": 2}),
        ("plant/fan-1", {"time": MONDAY + 190, "speed": 12}),
    ]


def test_format_value_sends_each_reading_to_a_topic_of_its_own(broker: Mosquitto, tmp_path: Path) -> None:
    with listening(broker) as received:
        code, summary = run(
            broker, fleet(tmp_path), "--speed", "max", "--format", "value", "--topic", "site/{channel}/{machine}"
        )
        messages = arrived(received, 8)
    assert (code, summary["messages"], summary["readings"]) == (0, 8, 8)
    assert messages[:3] == [("site/flow/pump-1", b"1.5"), ("site/temp/pump-1", b"20.0"), ("site/speed/fan-1", b"10.0")]


def test_format_influx_sends_lines(broker: Mosquitto, tmp_path: Path) -> None:
    with listening(broker) as received:
        run(broker, fleet(tmp_path), "--speed", "max", "--format", "influx")
        messages = arrived(received, 6)
    assert messages[0] == ("plant/pump-1", b"machine,machine=pump-1 flow=1.5,temp=20.0 1767571200000000000")


def test_format_sparkplug_is_born_lives_and_dies(broker: Mosquitto, tmp_path: Path) -> None:
    with listening(broker) as received:
        code, summary = run(broker, fleet(tmp_path), "--speed", "max", "--format", "sparkplug")
        messages = arrived(received, 10)
    assert (code, summary["messages"], summary["readings"]) == (0, 10, 8)
    kinds = [topic.split("/")[2] for topic, _ in messages]
    assert kinds == ["NBIRTH", "DBIRTH", "DBIRTH", *["DDATA"] * 6, "NDEATH"]
    payloads = [Payload.FromString(payload) for _, payload in messages]
    assert [payload.seq for payload in payloads[:9]] == list(range(9))
    assert [(metric.alias, metric.double_value) for metric in payloads[3].metrics] == [(0, 1.5), (1, 20.0)]


def test_speed_paces_the_messages(broker: Mosquitto, tmp_path: Path) -> None:
    files = fleet(tmp_path)
    code, summary = run(broker, files, "--speed", "380")
    assert code == 0
    assert summary["seconds"] == pytest.approx(190 / 380, abs=0.4)
    assert summary["seconds"] >= 190 / 380


def recording(start: float) -> Recording:
    return Recording("m", ("a",), np.linspace(start, start + 600, 11), np.zeros((11, 1)))


@pytest.mark.parametrize(
    ("start", "speed", "recorded", "first"),
    [
        (None, math.inf, MONDAY, MONDAY),
        (None, math.inf, 0.0, 2e9 - 600),
        (None, 1.0, 0.0, 2e9),
        ("keep", 1.0, 0.0, 0.0),
        ("now", 1.0, MONDAY, 2e9),
        ("now", 0.5, MONDAY, 2e9),
        ("now", 2.0, MONDAY, 2e9 - 300),
        ("now", math.inf, MONDAY, 2e9 - 600),
        ("2026-01-05T01:00:00+01:00", 1.0, 0.0, MONDAY),
    ],
)
def test_start_places_the_first_sample(start: str | None, speed: float, recorded: float, first: float) -> None:
    (moved,) = placed([recording(recorded)], start, speed, now=2e9)
    assert moved.times[0] == pytest.approx(first, abs=1e-3)
    assert np.ptp(moved.times) == pytest.approx(600, abs=1e-3)


def test_recordings_are_shifted_together_and_dated_ones_stay() -> None:
    first, later, dated = placed([recording(0.0), recording(120.0), recording(MONDAY)], None, math.inf, now=2e9)
    assert later.times[0] - first.times[0] == pytest.approx(120)
    assert later.times[-1] == pytest.approx(2e9)
    assert dated.times[0] == MONDAY


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--speed", "fast"], "no speed"),
        (["--speed", "-1"], "no speed"),
        (["--speed", "nan"], "no speed"),
        (["--start", "tomorrow"], "no start"),
        (["--start", "2026-01-05T00:00:00"], "with a zone"),
        (["--broker", "localhost:mqtt"], "no address"),
        (["--topic", "plant"], "has no {machine}"),
        (["--format", "xml"], "xml"),
        (["--password-file", "/nonexistent"], "cannot be read"),
    ],
)
def test_bad_usage_exits_2_and_says_why(tmp_path: Path, options: list[str], says: str) -> None:
    result = CliRunner(env={"TERMINAL_WIDTH": "200"}).invoke(COMMAND, [*map(str, fleet(tmp_path)), *options])
    assert result.exit_code == 2
    assert says in result.stderr


def test_an_unreadable_recording_is_an_error_for_the_operator(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"none\.npz"):
        CliRunner().invoke(COMMAND, [str(tmp_path / "none.npz")], catch_exceptions=False)


def test_a_lost_broker_exits_1_with_the_count_of_what_arrived(broker: Mosquitto, tmp_path: Path) -> None:
    killer = threading.Timer(0.5, broker.kill)
    killer.start()
    code, summary = run(broker, fleet(tmp_path), "--speed", "10")
    killer.join()
    assert code == 1
    assert 1 <= summary["acked"] < 6


def test_a_user_with_a_password_file_is_admitted(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "broker", users={"line1": "se cret"})
    broker.start()
    password = tmp_path / "password"
    password.write_text("se cret\n")
    try:
        options = ["--speed", "max", "--user", "line1", "--password-file", str(password)]
        code, summary = run(broker, fleet(tmp_path), *options)
        assert (code, summary["acked"]) == (0, 6)
        password.write_text("wrong\n")
        code, summary = run(broker, fleet(tmp_path), *options)
        assert (code, summary["acked"]) == (1, 0)
    finally:
        broker.kill()


@pytest.mark.parametrize("speed", ["1", "max"])
def test_interrupted_it_counts_what_it_sent(broker: Mosquitto, tmp_path: Path, speed: str) -> None:
    hour = MONDAY + 0.01 * np.arange(360_000.0)
    write_recording(Recording("pump-2", ("flow",), hour, np.ones((len(hour), 1))), tmp_path / "pump-2.npz")
    script = "import typer; from appliance.commands.replay import replay; typer.run(replay)"
    options = [*map(str, [*fleet(tmp_path), tmp_path / "pump-2.npz"]), "--speed", speed, "--json"]
    with listening(broker) as received:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *options, "--broker", f"{broker.host}:{broker.port}"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 10
        while not received and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
        summary = json.loads(output)
        arrived(received, summary["messages"])
    assert process.returncode == 130
    assert summary["acked"] == summary["messages"] >= 1
    assert "Traceback" not in errors


def test_help_shows_an_example() -> None:
    result = CliRunner(env={"TERMINAL_WIDTH": "120"}).invoke(COMMAND, ["--help"])
    assert result.exit_code == 0
    assert "Example: appliance replay" in result.stdout
