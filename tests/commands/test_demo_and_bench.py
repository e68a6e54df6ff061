from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import need


@pytest.fixture(autouse=True)
def broker_is_installed() -> None:
    """Demand the program that the demo and the benchmark start by themselves."""
    need("mosquitto")


def appliance(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "appliance", *arguments]


def processes_with(text: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended meanwhile
            continue
        if text in command and str(os.getpid()) != entry.parent.name:
            found.append(command)
    return found


def gone(text: str) -> bool:
    until = time.monotonic() + 15
    while processes_with(text):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def test_the_demo_plays_three_weeks_and_reckons_up(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    command = appliance("demo", "--json", "--seconds", "1", "--keep", str(folder))
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    found = json.loads(result.stdout)
    assert found["events"] == 10
    assert found["machine_weeks"] > 10
    assert found["caught"] >= 5, "the detector has become much worse than it was"
    labels = found["labels"]
    assert [answer["verdict"] for answer in labels["answers"]] == ["false_alarm", "fault", "false_alarm", "fault"]
    assert all("a week over" in answer["answer"] for answer in labels["answers"])
    *_, fault = [each for each in labels["occurrences"] if each["verdict"] == "fault"]
    first, *_, routine = [each for each in labels["occurrences"] if each["verdict"] == "false_alarm"]
    assert fault["alert_after_secs"]["fan-3"] < 3600
    assert fault["alert_after_secs"]["fan-3-unlabelled"] is None
    assert None not in first["alert_after_secs"].values()
    assert routine["alert_after_secs"]["fan-3"] is None
    assert routine["alert_after_secs"]["fan-3-unlabelled"] is not None
    passed = found["caught"] >= 8 and found["false_alerts_per_machine_week"] <= 1 and labels["learned"]
    assert result.returncode == (0 if passed else 1)
    assert gone(str(folder))
    database = folder / "data" / "appliance.db"
    assert database.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_demo_that_is_ended_early_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "demo"
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        appliance("demo", "--keep", str(folder)), stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    try:
        until = time.monotonic() + 30
        while not (folder / "data" / "status.json").exists():
            assert time.monotonic() < until
            time.sleep(0.1)
        os.set_blocking(screen, False)
        process.send_signal(number)
        while process.poll() is None and time.monotonic() < until:
            try:
                os.read(screen, 65_536)  # a full terminal would hold it up
            except (BlockingIOError, OSError):
                time.sleep(0.05)
        assert process.poll() is not None
        assert gone(str(folder))
    finally:
        process.kill()
        process.wait()
        os.close(screen)


def test_the_benchmark_measures_the_appliance_against_a_subscriber_that_does_nothing() -> None:
    command = appliance("bench", "ingest", "--machines", "2", "--channels", "3", "--samples", "200", "--json")
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["messages"] == 400
    assert found["ratio"] > 0
    assert found["rss_mb"] > 20
    assert found["written_mb_per_million_readings"] > 0


def test_the_benchmark_of_detection_measures_by_machines_and_by_channels() -> None:
    command = appliance("bench", "detect", "--machines", "1,3", "--channels", "2", "--json")
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert [(row["machines"], row["channels"]) for row in found] == [(1, 10), (3, 10), (1, 2)]
    for row in found:
        assert row["us_per_window"] > 0
        assert 1 < row["state_kb_per_channel"] <= 50
        share = 10_000 / row["channels_per_sec_per_core"] / 16  # a hop of 16 cells at 1 Hz
        assert row["share_of_core_for_10k_channels"] == pytest.approx(share, rel=0.01)


@pytest.mark.parametrize("number", ["0", "ten", "1,,2"])
def test_the_benchmark_of_detection_refuses_what_is_no_number(number: str) -> None:
    result = subprocess.run(
        appliance("bench", "detect", "--machines", number), capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 2
    assert "write 1,10,100" in result.stderr


def test_the_benchmark_of_detection_refuses_a_picture_of_another_kind() -> None:
    result = subprocess.run(
        appliance("bench", "detect", "--plot", "costs.gif"), capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 2
    assert "neither .svg nor .png" in result.stderr
