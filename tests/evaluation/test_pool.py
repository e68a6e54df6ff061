from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.evaluation import pool
from appliance.evaluation.datasets import Entry
from appliance.evaluation.runner import Measured, Request


def stand_in(entry: Entry, request: Request) -> Measured:
    """Take the place of a measurement, in the pool's processes."""
    if entry.path.stem == "endless":
        (entry.path.parent / "pid").write_text(str(os.getpid()))
        while True:
            time.sleep(0.1)
    if entry.path.stem == "deadly":
        os._exit(1)
    warnings.warn("not seen at the terminal", stacklevel=1)
    return Measured(entry.dataset, entry.path.stem, computed=int(os.environ["OMP_NUM_THREADS"]))


def test_the_largest_come_first_and_a_dying_process_takes_only_what_it_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pool, "run_entry", stand_in)
    sizes = {"small": 1, "large": 100, "deadly": 50, "medium": 10}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes(size))
    entries = [Entry("plant", tmp_path / name) for name in sizes]
    watched: list[list[str]] = []
    found = list(
        pool.run_all(
            entries,
            Request(("random",), (0,), tmp_path),
            1,
            lambda running: watched.append([entry.path.name for entry in running]),
        )
    )
    assert [entry.path.name for entry, _ in found] == ["large", "deadly", "medium", "small"]
    assert [measured.computed for _, measured in found] == [1, 0, 1, 1]
    ((what, why),) = found[1][1].failed
    assert (what, "its process died" in why) == ("everything", True)
    assert watched == [["large"], ["deadly"], ["medium"], ["small"]]
    assert "not seen" not in capfd.readouterr().err


PROGRAM = """\
import sys
from pathlib import Path
from appliance.evaluation import pool
from appliance.evaluation.datasets import Entry
from appliance.evaluation.runner import Request
from tests.evaluation.test_pool import stand_in

if __name__ == "__main__":
    pool.run_entry = stand_in
    folder = Path(sys.argv[1])
    list(pool.run_all([Entry("plant", folder / "endless")], Request(("random",), (0,), folder), 1, print))
"""


def until(reached: Callable[[], bool]) -> bool:
    end = time.monotonic() + 30
    while not reached() and time.monotonic() < end:
        time.sleep(0.1)
    return reached()


def test_no_process_outlives_a_run_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "endless").touch()
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, tmp_path / "program.py", tmp_path], env=environment) as running:
        pid = tmp_path / "pid"
        assert until(lambda: pid.exists() and bool(pid.read_text()))
        running.kill()
    assert until(lambda: not Path(f"/proc/{pid.read_text()}").exists())
