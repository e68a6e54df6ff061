from pathlib import Path

import pytest

from appliance.evaluation.datasets import Skipped
from appliance.meta.machines import permitted
from appliance.meta.traced import TracedMachine, traced_machines
from tests.meta.grounds import write


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings: two machines alike, and one with too little warm-up for the slowest scale."""
    folder = tmp_path_factory.mktemp("traced")
    write(folder / "data/hums", "three", 2, 1)
    write(folder / "data/hums", "ten", 2, 2)
    write(folder / "data/hums", "short", 2, 3, warm_up=520)
    return folder


@pytest.fixture(scope="session")
def left_out(recorded: Path) -> list[Skipped]:
    """Filled by `traced`."""
    return []


@pytest.fixture(scope="session")
def traced(recorded: Path, left_out: list[Skipped]) -> list[TracedMachine]:
    """The machines of that folder as the service saw them."""
    trials = permitted(recorded / "data", None, 9, 0, skipped=left_out.append)
    return list(traced_machines(trials, recorded / "cache", left_out.append))
