"""Run a broker and the appliance as processes of their own, on this machine only, ended with whoever started them."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.config import Settings
from appliance.errors import ApplianceError

PATIENCE_SECS = 20.0
"""How long a process may take to answer; the slowest gateway needs about five."""

MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 1000
"""

STAY_ROOT = "user root\n"
"""As root it would change its user, and Linux then forgets that it is to end with us."""


class StartError(ApplianceError):
    """A process that a command needs did not start."""


def running_status(settings: Settings) -> dict[str, Any]:
    """Return what the running service says of itself; empty where it says nothing yet."""
    try:
        found: dict[str, Any] = json.loads((settings.storage.data_dir / "status.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return found


@contextmanager
def broker(folder: Path) -> Iterator[int]:
    """Run mosquitto on a free loopback port, which is given.

    Raises
    ------
    StartError
        It is not installed, or does not answer.
    """
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        raise StartError("mosquitto is not installed: apt-get install mosquitto")
    for _ in range(5):
        with socket.socket() as trial:
            trial.bind(("127.0.0.1", 0))
            port = trial.getsockname()[1]
        config = folder / "mosquitto.conf"
        config.write_text(MOSQUITTO.format(port=port) + STAY_ROOT * (os.geteuid() == 0))
        with process([program, "-c", str(config)], folder / "mosquitto.log") as child:
            if _answers(port, child):
                yield port
                return
    raise StartError(f"mosquitto did not start: {_tail(folder / 'mosquitto.log')}")


@contextmanager
def appliance(config: Path, settings: Settings, folder: Path) -> Iterator[Callable[[], None]]:
    """Run the service until the end of the context; entered once it listens.

    What is given raises StartError, with the end of the log, once the service has ended.

    Raises
    ------
    StartError
        It ended or did not listen in time; the text has the end of its log.
    """
    with process([sys.executable, "-m", "appliance", "run", str(config)], folder / "appliance.log") as child:
        until = time.monotonic() + PATIENCE_SECS
        while not running_status(settings).get("broker", {}).get("subscribed"):
            if child.poll() is not None or time.monotonic() > until:
                raise StartError(f"the appliance did not start: {_tail(folder / 'appliance.log')}")
            time.sleep(0.1)

        def check() -> None:
            if child.poll() is not None:
                raise StartError(f"the appliance ended: {_tail(folder / 'appliance.log')}")

        yield check


@contextmanager
def process(command: Sequence[str], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a child that ends with us, however we end."""
    with output.open("wb") as file:
        child = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - started before any thread of ours
        )  # fmt: skip
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(12)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _die_with_parent() -> None:
    """Ask Linux to end this process when its parent does: PR_SET_PDEATHSIG of prctl(2)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _answers(port: int, child: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + PATIENCE_SECS
    while child.poll() is None and time.monotonic() < until:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.05)
    return False


def _tail(path: Path) -> str:
    return path.read_text(errors="replace")[-500:].strip() or "it said nothing"
