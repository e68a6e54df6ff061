"""The process that descends: what it answers, and every way in which it can fail, with nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from appliance.adapt.adapters.descending import METHODS, Descending
from appliance.adapt.adapters.task import Task
from appliance.errors import AdaptationError
from appliance.meta.descend import descend
from appliance.solver import Solver
from tests.adapt.descents import untrained
from tests.faults.appliance import wait_until

FEATURES = 12
SECS, MB = 300.0, 2048
"""Enough on a loaded build machine."""
TASK = Task(
    np.random.default_rng(0).exponential(size=(40, FEATURES)),
    np.repeat([0.0, 1.0], 20),
    np.full(40, 1.0 / 40),
)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and not seen off, zombies among them."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (thread / "children").read_text().split())
    return found


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = children(os.getpid())
    yield
    assert children(os.getpid()) == before


def fails(solver: Solver, method: str = "maml") -> str:
    with pytest.raises(AdaptationError) as raised:
        solver(method, untrained(method, FEATURES), TASK)
    assert 'or set adaptation.method = "ridge"' in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("method", METHODS)
def test_it_descends_to_the_same_bits_as_without_a_process(method: str) -> None:
    solver, meta = Solver(SECS, MB), untrained(method, FEATURES)
    found, expected = (each(method, meta, TASK).snapshot()[0] for each in (solver, descend))
    assert {name: each.tobytes() for name, each in found.items()} == {
        name: each.tobytes() for name, each in expected.items()
    }
    assert solver.used is not None
    assert 0 < solver.used.descent_cpu_secs < solver.used.cpu_secs < solver.used.wall_secs
    assert 50 < solver.used.peak_mb < MB


def test_one_that_takes_too_long_is_ended() -> None:
    assert fails(Solver(0.05, MB)).startswith("maml took longer than adaptation.worker_secs (0.05 s); raise it")


def test_one_that_uses_up_its_cpu_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It limits itself to whole seconds, also where the clock of whoever waits stands still."""
    solver = Solver(1.0, MB)
    monkeypatch.setattr("appliance.solver.time", type("Stopped", (), {"monotonic": staticmethod(lambda: 0.0)}))
    hide(tmp_path, monkeypatch, "torch.py", "while True: pass")
    assert fails(solver).startswith("maml took longer than adaptation.worker_secs (1 s); raise it")


@pytest.mark.parametrize("mb", [64, 300, 500])
def test_one_that_needs_too_much_memory_is_ended(mb: int) -> None:
    assert re.match(r"maml (needs more than|was ended by \w+, .*) .*adaptation\.worker_mb", fails(Solver(SECS, mb)))


def test_a_task_too_large_for_the_memory_is_refused_and_not_the_service() -> None:
    """One method compares all examples with all: the process starts, and runs out of room on the way."""
    large = Task(*(np.repeat(each, 100, axis=0) for each in TASK))
    with pytest.raises(AdaptationError, match=r"leo .*adaptation\.worker_mb"):
        Solver(SECS, 1024)("leo", untrained("leo", FEATURES), large)


def test_what_it_has_started_itself_is_ended_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = tmp_path / "pid"
    hide(
        tmp_path,
        monkeypatch,
        "torch.py",
        "import pathlib, subprocess, time\n"
        "sleeper = subprocess.Popen(['sleep', '600'])\n"
        f"pathlib.Path({str(started)!r}).write_text(f'{{sleeper.pid}}.')\n"
        "time.sleep(3)\n",
    )

    def stop() -> None:
        if started.exists() and started.read_text().endswith("."):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        Solver(SECS, MB, stop)("maml", untrained("maml", FEATURES), TASK)
    sleeper = int(started.read_text()[:-1])
    try:
        wait_until(lambda: not is_running(sleeper), "an end of what it had started")
    finally:
        if is_running(sleeper):
            os.kill(sleeper, signal.SIGKILL)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_one_that_is_killed_in_the_middle_is_said_to_be() -> None:
    struck = []

    def strike() -> None:
        for pid in children(os.getpid()):
            os.kill(pid, signal.SIGKILL)
            struck.append(pid)

    assert fails(Solver(SECS, MB, strike)).startswith("maml was ended by SIGKILL, as it is where memory is short")
    assert struck


def test_what_whoever_waits_raises_ends_it() -> None:
    def give_up() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        Solver(SECS, MB, give_up)("maml", untrained("maml", FEATURES), TASK)


def test_where_torch_is_missing_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(tmp_path, monkeypatch, "torch.py", "raise ModuleNotFoundError('No module named torch', name='torch')")
    assert fails(Solver(SECS, MB)).startswith("maml needs torch, which is not installed; install appliance[train]")


def test_torch_that_cannot_be_loaded_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(tmp_path, monkeypatch, "torch.py", "raise ImportError('libc10.so: wrong ELF class')")
    assert fails(Solver(SECS, MB)).startswith("maml failed: ImportError: libc10.so: wrong ELF class; install what")


@pytest.mark.parametrize("answer", ["", "garbage", "PK\x03\x04"])
def test_an_answer_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    hide(tmp_path, monkeypatch, "sitecustomize.py", f"import os; os.write(1, {answer.encode()!r}); os._exit(0)")
    assert fails(Solver(SECS, MB)).startswith("maml: what appliance.meta.solve answered cannot be read")


def test_what_libraries_print_does_not_come_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(tmp_path, monkeypatch, "sitecustomize.py", "import atexit; atexit.register(print, 'goodbye')")
    assert Solver(SECS, MB)("maml", untrained("maml", FEATURES), TASK).linear.shape == (FEATURES,)


def test_where_no_process_can_be_started_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert fails(Solver(SECS, MB)).startswith("maml: no process could be started for it (No such file or directory)")


def test_weights_that_are_no_numbers_are_refused() -> None:
    meta = untrained("maml", FEATURES) | {"model.bend.weight": np.full((1, 16), np.inf)}
    with pytest.raises(AdaptationError, match="maml ran off to infinity"):
        Descending("maml", meta, Solver(SECS, MB)).try_out()


def test_it_ends_with_the_process_that_waits_for_it() -> None:
    """Also where that is killed, and can see nothing off."""
    script = (
        "import os\n"
        "from appliance.solver import Solver\n"
        "from tests import test_solver as own\n"
        "say = lambda: print(*own.children(os.getpid()), flush=True)\n"
        "Solver(own.SECS, own.MB, say)('maml', own.untrained('maml', own.FEATURES), own.TASK)\n"
    )
    root = Path(__file__).parents[1]
    with subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the end of what it had started")


def hide(folder: Path, monkeypatch: pytest.MonkeyPatch, module: str, text: str) -> None:
    """Put a module before the installed one, in processes that are started from here on."""
    (folder / module).write_text(text)
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", str(folder) if before is None else f"{folder}{os.pathsep}{before}")
