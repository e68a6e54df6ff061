"""Descend in a process of its own, which may take so long and so much: task → here → the bent part of a head.

::

    pipeline ── method, meta-parameters, task as npz ──▶ python -m appliance.meta.solve ── part as npz ──▶ pipeline

The service stays free of torch. Whatever becomes of the process, one error comes of it, and nothing is left running.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import appliance
from appliance.adapt import wire
from appliance.adapt.adapters.task import Task
from appliance.detect.head import Bent
from appliance.errors import AdaptationError
from appliance.records import Floats

OUT_OF_MEMORY, NO_TORCH = os.EX_OSERR, os.EX_UNAVAILABLE
"""Exit statuses of the process, as sysexits.h has them."""
SLICE_SECS = 0.5
"""So often whoever waits shows life."""
_MODULE = "appliance.meta.solve"
_LONGEST_COMPLAINT = 300
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_BACK = 'or set adaptation.method = "ridge"'


class Used(NamedTuple):
    """What a descent took."""

    descent_cpu_secs: float
    """Of the descent alone."""
    cpu_secs: float
    """Of the process, most of which is the import of torch."""
    wall_secs: float
    """With the start of the process."""
    peak_mb: float
    """Of the process's memory, resident at once."""


class Solver:
    """Descends in a new process each time.

    Parameters
    ----------
    secs
        On the clock, and of CPU, after which it is killed with all that it has started.
    mb
        Most address space, of which Python and torch need 600, and LEO 50 more.
    waiting
        Called while it runs, every half second. What it raises ends the process.
    """

    def __init__(self, secs: float, mb: int, waiting: Callable[[], None] = lambda: None) -> None:
        self._secs, self._mb, self._waiting = secs, mb, waiting
        self.used: Used | None = None
        """By the last that succeeded."""

    def __call__(self, method: str, meta: Mapping[str, Floats], task: Task) -> Bent:
        """Descend.

        Raises
        ------
        AdaptationError
            It took too long or too much memory, torch is not installed, or what came back cannot be read.
        """
        began = time.monotonic()
        asked = wire.written(
            {"method": method, **{f"meta/{name}": each for name, each in meta.items()}, **task._asdict()}
        )
        with self._started(method) as process:
            try:
                answer, complaint = self._talk(process, asked, began + self._secs, method)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode:
            raise AdaptationError(self._why(method, process.returncode, complaint.decode(errors="replace")))
        try:
            found = wire.read(answer)
            part = Bent(found["linear"], found["hidden"], found["offset"], found["bend"])
            descent, whole, peak = (float(found[name]) for name in ("descent_cpu_secs", "cpu_secs", "peak_mb"))
            self.used = Used(descent, whole, time.monotonic() - began, peak)
        except (ValueError, KeyError, TypeError) as error:
            raise AdaptationError(
                f"{method}: what {_MODULE} answered cannot be read ({error!r}); install one version of the appliance, "
                f"{_BACK}"
            ) from error
        return part

    def _started(self, method: str) -> subprocess.Popen[bytes]:
        """Start the process; raises AdaptationError where the system has no room for one."""
        try:
            return subprocess.Popen(
                [sys.executable, "-m", _MODULE, f"{self._secs:g}", str(self._mb), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=Path(appliance.__file__).parents[1],  # where -m looks first: it must be this very package
                env={name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"} | _ONE_THREAD,
                start_new_session=True,
            )
        except OSError as error:
            raise AdaptationError(
                f"{method}: no process could be started for it ({error.strerror}); free memory, {_BACK}"
            ) from error

    def _talk(self, process: subprocess.Popen[bytes], asked: bytes, until: float, method: str) -> tuple[bytes, bytes]:
        """Hand over the task and wait; raises AdaptationError where the time is over."""
        rest: bytes | None = asked
        while True:
            self._waiting()
            left = until - time.monotonic()
            try:
                return process.communicate(rest, timeout=min(SLICE_SECS, max(left, 0.0)))
            except subprocess.TimeoutExpired:
                rest = None  # it remembers what it has not written yet
                if left <= SLICE_SECS:
                    raise AdaptationError(self._too_long(method)) from None

    def _too_long(self, method: str) -> str:
        return f"{method} took longer than adaptation.worker_secs ({self._secs:g} s); raise it, {_BACK}"

    def _why(self, method: str, status: int, complaint: str) -> str:
        """Say why the process ended without an answer, and what to do."""
        if status == NO_TORCH:
            return f"{method} needs torch, which is not installed; install appliance[train], {_BACK}"
        if status == -signal.SIGXCPU:
            return self._too_long(method)
        if status < 0:
            how = f"was ended by {signal.Signals(-status).name}"
            return f"{method} {how}, as it is where memory is short; free some or raise adaptation.worker_mb, {_BACK}"
        last = (complaint.strip().splitlines() or ["without a word"])[-1][:_LONGEST_COMPLAINT]
        if status == OUT_OF_MEMORY or "memory" in last.lower():
            return f"{method} needs more than adaptation.worker_mb ({self._mb} MB); raise it, {_BACK}"
        return f"{method} failed: {last}; install what appliance[train] names, {_BACK}"
