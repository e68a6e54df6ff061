"""What every fault test may use: appliances that are ended with the test, and one undisturbed run to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from appliance.records import Message
from appliance.store.database import Database
from tests.faults import plant
from tests.faults.appliance import Appliance

Install = Callable[..., Appliance]


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Install appliances, in a folder each; whatever still runs at the end of the test is killed."""
    installed: list[Appliance] = []

    def make(port: int, **options: Any) -> Appliance:
        installed.append(Appliance(tmp_path / f"appliance-{len(installed)}", port, **options))
        return installed[-1]

    yield make
    for appliance in installed:
        appliance.kill()


class Reference:
    """The messages of a test run and what becomes of them when nothing goes wrong."""

    def __init__(self, folder: Path, count: int, machines: Sequence[str], *, labelled: bool = False) -> None:
        self.messages: list[Message] = plant.messages(count, machines)
        if labelled:
            self.messages = plant.labelled(self.messages)
        config = Appliance(folder, 1883).config
        self.database: Database = plant.undisturbed(config, self.messages, folder / "undisturbed.db")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    """Run 10,000 messages through without a fault: learning, fit, scoring and alerts of four machines."""
    reference = Reference(tmp_path_factory.mktemp("undisturbed"), 10_000, plant.MACHINES)
    yield reference
    reference.database.close()


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    """Run two machines and a label of each kind through without a fault: 4,000 messages."""
    reference = Reference(tmp_path_factory.mktemp("labelled"), 4000, ["fan", "pump"], labelled=True)
    yield reference
    reference.database.close()


@pytest.fixture(scope="session")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    """Run one machine's learning, fit, scoring and alert through without a fault: 1,500 messages."""
    reference = Reference(tmp_path_factory.mktemp("brief"), 1500, ["pump"])
    yield reference
    reference.database.close()
