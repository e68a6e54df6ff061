"""Change a shelf in a process of its own and stop it at a chosen place: killed, or with a disk that is full."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from appliance.bundle import durable, shelf
from appliance.bundle.shelf import Shelf
from appliance.errors import BundleError
from tests.bundle.made import EXPECTED

STEPS = {durable.__file__, shelf.__file__}
"""Every line of these is a place to be stopped at: they hold all the calls that change a file."""
FINISHED, FAILED = 0, 3

How = Literal["killed", "disk full"]


def interrupted(how: How, line: int, change: Callable[[Shelf], object], folder: Path, trusted: dict[str, bytes]) -> int:
    """Make a change in another process, stopped before the given step; FINISHED if it has fewer."""
    return _run(_stop_at_line, how, line, change, folder, trusted)


def cut_off(how: How, size: int, change: Callable[[Shelf], object], folder: Path, trusted: dict[str, bytes]) -> int:
    """Make a change in another process, stopped in the middle of the write that makes a file larger than ``size``."""
    return _run(_stop_at_size, how, size, change, folder, trusted)


def _run(target: Callable[..., None], *arguments: object) -> int:
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode


def _stop_at_size(
    how: How, size: int, change: Callable[[Shelf], object], folder: Path, trusted: dict[str, bytes]
) -> None:
    # Beyond the limit the kernel writes what still fits, then sends the signal, which Python ignores unless told.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if how == "killed" else signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        change(Shelf(folder, trusted, EXPECTED))
    except BundleError:
        os._exit(FAILED)
    os._exit(FINISHED)


def _stop_at_line(
    how: How, line: int, change: Callable[[Shelf], object], folder: Path, trusted: dict[str, bytes]
) -> None:
    steps = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal steps
        if frame.f_code.co_filename not in STEPS:
            return None
        if event == "line":
            steps += 1
            if steps == line and how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if steps == line:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return trace

    on = Shelf(folder, trusted, EXPECTED)
    sys.settrace(trace)
    try:
        change(on)
    except (BundleError, OSError):
        assert steps >= line
    finally:
        sys.settrace(None)
    os._exit(FAILED if steps >= line else FINISHED)


CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.bundle.interrupted", "cryptography", "safetensors.numpy"])
