"""Bundles of one name, a shelf for them, and another process that is stopped while it changes one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.bundle.shelf import Shelf
from tests.bundle.interrupted import Interrupter, interrupter
from tests.bundle.made import EXPECTED, TRUSTED, VERSIONS, packed


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Bundles of one name, by version."""
    folder = tmp_path_factory.mktemp("made")
    return {version: packed(folder, version) for version in VERSIONS}


@pytest.fixture(scope="module")
def other() -> Iterator[Interrupter]:
    """Makes changes in other processes, and stops them."""
    with interrupter(TRUSTED) as found:
        yield found


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "data" / "bundles", TRUSTED, EXPECTED)
