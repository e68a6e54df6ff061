"""Change a shelf in a process of its own and stop it at a chosen place: killed, or with a disk that is full.

Run as a program it reads one ``Request`` a line and answers with the exit status of the process it forked for it.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NamedTuple

from appliance.bundle import durable, shelf, signing
from appliance.bundle.shelf import Shelf
from appliance.errors import BundleError
from tests.bundle.made import EXPECTED

STEPS = {durable.__file__, shelf.__file__}
"""Every line of these is a place to be stopped at: they hold all the calls that change a file."""
FINISHED, FAILED = 0, 3
ROOT = Path(__file__).parents[2]
assert signing  # imported before the fork and not after each

How = Literal["killed", "disk full"]


class Request(NamedTuple):
    """A change, and where to stop it."""

    folder: str
    trusted: dict[str, str]
    install: str | None = None
    """A bundle's file; None for a rollback."""
    how: How = "killed"
    line: int | None = None
    """Before the line that is run as the so-manieth."""
    size: int | None = None
    """In the middle of the write that makes a file larger than this."""


class Interrupter:
    """Makes changes in other processes."""

    def __init__(self, process: subprocess.Popen[str], trusted: dict[str, bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._requests, self._answers = process.stdin, process.stdout
        self._trusted = {name: public.hex() for name, public in trusted.items()}

    def begin(self, folder: Path, install: Path | None, **where: Any) -> None:
        """Begin a change."""
        request = Request(str(folder), self._trusted, None if install is None else str(install), **where)
        self._requests.write(json.dumps(request._asdict()) + "\n")
        self._requests.flush()

    def end(self) -> int:
        """Wait for it: FINISHED if it was not stopped, FAILED after an error, a negative signal if it was killed."""
        return int(self._answers.readline())

    def change(self, folder: Path, install: Path | None, **where: Any) -> int:
        """Do both."""
        self.begin(folder, install, **where)
        return self.end()


@contextmanager
def interrupter(trusted: dict[str, bytes]) -> Iterator[Interrupter]:
    """Start the program, and end it."""
    with subprocess.Popen(
        [sys.executable, "-m", __name__],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Interrupter(process, trusted)


def _stopped_at_line(request: Request, change: Callable[[], object]) -> int:
    steps = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal steps
        if frame.f_code.co_filename not in STEPS:
            return None
        if event == "line":
            steps += 1
            if steps == request.line and request.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if steps == request.line:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return trace

    assert request.line is not None
    sys.settrace(trace)
    try:
        change()
    except (BundleError, OSError):
        assert steps >= request.line
    finally:
        sys.settrace(None)
    return FAILED if steps >= request.line else FINISHED


def _stopped_at_size(request: Request, change: Callable[[], object]) -> int:
    # Beyond the limit the kernel writes what still fits, then sends the signal, which Python ignores unless told.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if request.how == "killed" else signal.SIG_IGN)
    if request.size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request.size, request.size))
    try:
        change()
    except BundleError:
        return FAILED
    return FINISHED


def _change(request: Request) -> int:
    on = Shelf(Path(request.folder), {k: bytes.fromhex(v) for k, v in request.trusted.items()}, EXPECTED)
    change = on.rollback if request.install is None else partial(on.install, Path(request.install))
    return _stopped_at_size(request, change) if request.line is None else _stopped_at_line(request, change)


def _serve() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                os._exit(_change(Request(**json.loads(line))))
            finally:  # only after an error: this process must not go on reading requests
                traceback.print_exc()
                os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve()
