"""One server process for a test: on a free loopback port, its log at hand, ended by its process id."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

HOST = "127.0.0.1"
PACKAGES = {"mosquitto_passwd": "mosquitto", "influxd": "influxdb", "nginx": "nginx-light", "setpriv": "util-linux"}
"""Program → Debian package, where the names differ."""

START_SECS = 15.0
"""A cold start takes under a second; a loaded build machine may need much longer."""
STOP_SECS = 10.0
PORT_ATTEMPTS = 5


class ServerError(Exception):
    """A test server did not start; the text holds the end of its log."""


def executable(name: str) -> str:
    """Return the path of a server's program, also where ``sbin`` is not on the search path."""
    path = shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")
    if path is None:
        raise ServerError(f"{name} is not installed: run `make setup`, or `apt-get install {PACKAGES.get(name, name)}`")
    return path


def free_port() -> int:
    """Return a loopback port that nobody listens on.

    It lies below the kernel's ephemeral range (32768 up), so that no outgoing connection takes it while its
    server is down. Two test runs may still choose the same one: ``Daemon.start`` then asks for another.
    """
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


class Daemon:
    """One server process in the foreground.

    Parameters
    ----------
    name
        Its program.
    folder
        Where it runs and where its log goes.
    arguments
        Its command line after the program.
    configure
        Writes its settings for the port it is given.
    """

    def __init__(self, name: str, folder: Path, arguments: Sequence[str], configure: Callable[[int], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.port = 0
        self.log_file = folder / f"{name}.log"
        self._folder = folder
        self._arguments = arguments
        self._configure = configure
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens: on a free port the first time, then always on the same."""
        if self.port:
            self._start_once()
            return
        for attempts_left in reversed(range(PORT_ATTEMPTS)):
            self.port = free_port()
            self._configure(self.port)
            try:
                self._start_once()
            except ServerError:
                if attempts_left == 0 or "in use" not in self.log():
                    self.port = 0
                    raise
            else:
                return

    def stop(self) -> None:
        """End it as its service manager would, with SIGTERM."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would, with SIGKILL."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it and start it again on its port."""
        self.stop()
        self.start()

    def log(self) -> str:
        """Return everything it has said since its latest start."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def _start_once(self) -> None:
        if self._process is not None:
            raise ServerError(f"{self.name} already runs on port {self.port}")
        command = [executable(self.name), *self._arguments]
        # A test run that is killed takes its servers with it. The kernel looks at the thread that started the process,
        # not at the whole program, so a server that a short-lived thread restarts must do without.
        if threading.current_thread() is threading.main_thread():
            command = [executable("setpriv"), "--pdeathsig", "KILL", *command]
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_SECS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            if _listens(self._process.pid, self.port):
                return
            time.sleep(0.01)
        self.kill()
        raise ServerError(f"{self.name} did not start on port {self.port}; its log ends:\n{self.log()[-2000:]}")

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_SECS)
        self._process = None


def _listens(pid: int, port: int) -> bool:
    """Tell whether this very process listens on a loopback port: somebody else's server might, had both chosen it."""
    address = f"{int.from_bytes(socket.inet_aton(HOST), sys.byteorder):08X}:{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1] == address and row[3] == _TCP_LISTEN}
    with suppress(OSError):  # a file that is closed meanwhile
        return any(str(file.readlink()) in sockets for file in Path(f"/proc/{pid}/fd").iterdir())
    return False


_TCP_LISTEN = "0A"
