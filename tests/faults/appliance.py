"""The appliance as a process of its own, seen from outside: started, killed, asked, its database read."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from appliance.records import Message
from appliance.store import queries
from appliance.store.database import Database
from appliance.store.journal import Journal
from tests.servers import InfluxDB

ROOT = Path(__file__).parents[2]
PATIENCE_SECS = 60.0
"""For anything to happen on a loaded build machine."""

OFTEN = ("--set", "service.TICK_SECS=0.1", "--set", "service.STATUS_SECS=0.2")
"""The status is written more often than in service, so that tests see a change when it comes."""

PERIOD_SECS, LENGTH, HOP, WARMUP_WINDOWS = 1.0, 16, 8, 120

JSON_SOURCE = f"""
[[source]]
name = "machines"
topic = "plant/{{machine}}"
format = {{ type = "json" }}
period_secs = {PERIOD_SECS}
length = {LENGTH}
hop = {HOP}
warmup_hours = {(WARMUP_WINDOWS + 0.5) * HOP * PERIOD_SECS / 3600}
"""


def wait_until(true: Callable[[], object], what: str, secs: float = PATIENCE_SECS, pause_secs: float = 0.05) -> float:
    """Wait for a condition; return how long it took, fail with ``what`` where it never came."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > secs:
            raise AssertionError(f"waited {secs:g} s in vain: {what}")
        time.sleep(pause_secs)
    return time.monotonic() - began


class Appliance:
    """One installation: a configuration, a database, and at most one running process.

    Parameters
    ----------
    folder
        Its files; ``data_dir`` lies within unless given.
    port
        The broker's.
    influxdb
        Where results go; nowhere without.
    url
        Reach InfluxDB here instead, such as through a proxy.
    sources, extra
        Further parts of the configuration file.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        influxdb: InfluxDB | None = None,
        url: str | None = None,
        sources: str = JSON_SOURCE,
        mqtt: str = "",
        extra: str = "",
        data_dir: Path | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.data_dir = data_dir or folder / "data"
        self.config = folder / "appliance.toml"
        self.log_file = folder / "appliance.log"
        self.database_file = self.data_dir / "appliance.db"
        self._environment = dict(os.environ)
        text = f'site = "hall"\n[storage]\ndata_dir = "{self.data_dir}"\n'
        text += f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\nkeepalive_secs = 5\n{mqtt}\n{sources}\n{extra}\n'
        if influxdb is not None:
            text += f'[influxdb]\nurl = "{url or influxdb.url}"\nbucket = "{influxdb.database}"\n'
            self._environment["APPLIANCE_INFLUXDB__TOKEN"] = influxdb.token
        self.config.write_text(text)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._notices: socket.socket | None = None
        self.heard: list[tuple[float, str]] = []
        """What the running process has told its service manager, and when (monotonic)."""

    def start(self, *harness: str, ready: bool = True, as_shipped: bool = False) -> None:
        """Start it and wait until it says that it is ready.

        Parameters
        ----------
        harness
            Arguments for the harness, such as a step at which to die.
        ready
            Whether to wait.
        as_shipped
            Run ``appliance run`` itself, not the harness that has it report more often.
        """
        address = self._folder / "notify"
        address.unlink(missing_ok=True)
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notices.bind(str(address))
        self.heard = []
        # Always read: the kernel queues ten notices, and a service that is not listened to would wait for us.
        threading.Thread(target=self._listen, args=(self._notices, self.heard), daemon=True).start()
        program = ["appliance", "run"] if as_shipped else ["tests.faults.harness", *OFTEN]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *program, *harness, str(self.config)],
                cwd=ROOT,
                env=self._environment | {"NOTIFY_SOCKET": str(address)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if ready:
            wait_until(lambda: self.has_said("READY=1") or not self.runs, f"ready; its log ends:\n{self.log()[-3000:]}")

    @property
    def runs(self) -> bool:
        """Whether its process is alive."""
        return self._process is not None and self._process.poll() is None

    def has_said(self, what: str) -> bool:
        """Whether the service manager was told this since the start."""
        return any(what in line for _, line in self.heard)

    @staticmethod
    def _listen(notices: socket.socket, heard: list[tuple[float, str]]) -> None:
        with notices:
            while line := notices.recv(4096).decode():
                heard.append((time.monotonic(), line))

    def kill(self) -> None:
        """Kill -9, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self.wait()

    def stop(self) -> int:
        """SIGTERM, as the service manager would; return the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self, secs: float = PATIENCE_SECS) -> int:
        """Wait for its end; return the exit status, negative for a signal."""
        assert self._process is not None
        status = self._process.wait(secs)
        if self._notices is not None:
            self._notices.shutdown(socket.SHUT_RDWR)  # ends the thread that reads it
            self._notices = None
        return status

    def log(self) -> str:
        """Return all it has logged since the first start."""
        return self.log_file.read_text(errors="replace")

    def status(self) -> dict[str, Any]:
        """Return what the running process last said of itself; empty before it did."""
        try:
            found: dict[str, Any] = json.loads((self.data_dir / "status.json").read_text())
        except OSError:
            return {}
        return found if self._process is not None and found["pid"] == self._process.pid else {}

    def is_subscribed(self) -> bool:
        """Whether it listens, by its own word."""
        return bool(self.status().get("broker", {}).get("subscribed"))

    def outlet(self, name: str = "influxdb/scores") -> dict[str, Any]:
        """Return how one delivery stands."""
        return dict(self.status().get("outlets", {}).get(name, {}))

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another command on its configuration: ``status``, ``quarantine --json``."""
        name, *options = words
        config = [str(self.config)] if name == "check" else ["--config", str(self.config)]
        return subprocess.run(
            [sys.executable, "-m", "appliance", name, *config, *options],
            cwd=ROOT,
            env=self._environment | {"COLUMNS": "250"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECS,
            check=False,
        )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask its database while it may be running."""
        database = Database(self.database_file, read_only=True)
        try:
            return database.rows(query)
        finally:
            database.close()

    def account(self) -> dict[str, Any]:
        """Return what ``appliance status`` says of everything received."""
        database = Database(self.database_file, read_only=True)
        try:
            return queries.status(database)
        finally:
            database.close()

    def journaled(self) -> list[Message]:
        """Return every message of its journal, in order."""
        database = Database(self.database_file, read_only=True)
        try:
            return [message for entry in Journal(database).read(0, rows=2**31) for message in entry.messages]
        finally:
            database.close()

    def has(self, messages: Sequence[Message]) -> bool:
        """Whether all of these are in its journal."""
        wanted = {(message.topic, message.payload) for message in messages}
        return wanted <= {(message.topic, message.payload) for message in self.journaled()}

    def drain(self, messages: Sequence[Message] = ()) -> None:
        """Wait until these have come and everything is processed, stored and, where there is one, in InfluxDB."""
        wait_until(lambda: self.has(messages), "every message journaled", pause_secs=0.2)
        asked_at = time.time()
        wait_until(
            lambda: self.status().get("updated_at", 0) > asked_at and self.status()["backlog"] == 0, "no backlog"
        )
        if "[influxdb]" in self.config.read_text():
            time.sleep(1.0)  # twice the longest time a score waits for its commit
            wait_until(self.is_exported, "every window and alert delivered to InfluxDB")

    def is_exported(self) -> bool:
        """Whether the couriers to InfluxDB have nothing left to carry."""
        logs = (
            ("influxdb/scores", "scores", "id"),
            ("influxdb/alerts", "alert_log", "id"),
            ("influxdb/labels", "labels", "number"),
            ("influxdb/adaptation", "attempts", "id"),
        )
        return all(
            self.rows(
                f"SELECT coalesce((SELECT max({key}) FROM {log}), 0) = "
                f"coalesce((SELECT position FROM cursors WHERE name = '{name}'), 0)"
            )[0][0]
            for name, log, key in logs
        )
