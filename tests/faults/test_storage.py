"""Damage to the database costs what was damaged; a full disk costs time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from appliance.store.database import Database
from tests.faults import plant
from tests.faults.appliance import Appliance, wait_until
from tests.faults.conftest import Install, Reference
from tests.servers import Mosquitto


def filled(install: Install, broker: Mosquitto, reference: Reference) -> Appliance:
    """Return a stopped appliance that has processed everything."""
    appliance: Appliance = install(broker.port)
    appliance.start()
    wait_until(appliance.is_subscribed, "subscribed")
    plant.publish(broker.port, reference.messages)
    appliance.drain(reference.messages)
    assert appliance.stop() == 0
    return appliance


def flip(file: Path, at: int, bit: int = 0) -> None:
    """Flip one bit of a file."""
    data = bytearray(file.read_bytes())
    data[at] ^= 1 << bit
    file.write_bytes(data)


def test_a_damaged_file_is_moved_aside_and_the_service_runs(
    install: Install, broker: Mosquitto, brief: Reference
) -> None:
    appliance = filled(install, broker, brief)
    file = appliance.database_file
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    appliance.start()
    assert "moved to" in appliance.log()
    (aside,) = appliance.data_dir.glob("appliance.db.damaged-*")
    assert aside.stat().st_size > 0
    wait_until(appliance.is_subscribed, "subscribed")
    more = plant.messages(400, ["other"])
    plant.publish(broker.port, more)
    appliance.drain(more)
    assert appliance.stop() == 0
    assert appliance.account()["readings"]["placed"] == plant.readings(more)


@pytest.mark.parametrize(
    ("at", "damaged"),
    [
        pytest.param(0, b"\x53\x51\x4d", id="magic"),
        pytest.param(16, b"\x11", id="page size"),
        pytest.param(18, b"\x03", id="write version"),
        pytest.param(47, b"\x05", id="schema format"),
        pytest.param(60, b"\x01", id="schema version"),
        pytest.param(63, b"\x00", id="schema version forgotten"),
        pytest.param(100, b"\xff" * 8, id="schema"),
    ],
)
def test_a_damaged_header_is_damage_and_not_a_newer_version(tmp_path: Path, at: int, damaged: bytes) -> None:
    file = tmp_path / "appliance.db"
    Database(file).close(clean=True)
    whole = file.read_bytes()
    file.write_bytes(whole[:at] + damaged + whole[at + len(damaged) :])
    database = Database(file)
    assert database.moved_aside is not None
    assert database.rows("SELECT count(*) FROM journal") == [(0,)]
    database.close()


def test_damaged_rows_are_passed_over_and_all_others_are_used(
    install: Install, broker: Mosquitto, brief: Reference
) -> None:
    appliance = filled(install, broker, brief)
    with_damage = apsw.Connection(str(appliance.database_file))
    (journal,) = with_damage.execute("SELECT count(*) FROM journal").fetchone() or (0,)
    spoil = "UPDATE {0} SET body = CAST(substr(body, 1, 20) || x'0badc0de' || substr(body, 25) AS BLOB) WHERE {1}"
    with_damage.execute(spoil.format("journal", "position = 1"))
    with_damage.execute(spoil.format("checkpoints", "name = 'machine/pump'"))
    with_damage.execute(spoil.format("samples", "start = (SELECT min(start) FROM samples)"))
    with_damage.execute("UPDATE scores SET body = x'93' WHERE id = 3")
    with_damage.execute("DELETE FROM cursors WHERE name IN ('worker', 'checkpoint', 'clean_stop')")
    with_damage.close()
    windows = appliance.rows("SELECT count(*) FROM scores")
    appliance.start()
    wait_until(lambda: appliance.status().get("backlog") == 0, "the journal read again")
    assert appliance.stop() == 0
    assert journal > 1
    assert "journal row 1 cannot be read" in appliance.log()
    assert "checkpoint of machine/pump is damaged" in appliance.log()
    assert appliance.rows("SELECT value FROM counters WHERE name = 'journal_rows_damaged'") == [(1,)]
    assert appliance.rows("SELECT count(*) FROM scores") == windows, "no window was judged twice"


def test_a_grid_changed_between_two_runs_judges_no_window_twice(
    install: Install, broker: Mosquitto, brief: Reference
) -> None:
    appliance = filled(install, broker, brief)
    text = appliance.config.read_text()
    appliance.config.write_text(text.replace("hop = 8", "hop = 8\nlateness_secs = 60"))
    appliance.start()
    wait_until(appliance.is_subscribed, "subscribed")
    later = plant.messages(300, ["pump"], starts_at=plant.STARTS_AT + len(brief.messages))
    plant.publish(broker.port, later)
    appliance.drain(later)
    assert appliance.stop() == 0
    assert "learns anew" in appliance.log()
    ends = [end for (end,) in appliance.rows("SELECT end FROM scores WHERE machine = 'pump'")]
    assert len(ends) == len(set(ends))
    assert max(ends) > plant.STARTS_AT + len(brief.messages)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small file system here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Fill a file system to the last byte; return the file to delete."""
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(b"\0" * 4096):
            pass
    return ballast


def test_a_full_disk_holds_intake_until_there_is_room(
    install: Install, broker: Mosquitto, small_disk: Path, undisturbed: Reference
) -> None:
    appliance = install(broker.port, data_dir=small_disk)
    appliance.start()
    wait_until(appliance.is_subscribed, "subscribed")
    plant.publish(broker.port, undisturbed.messages[:1000])
    wait_until(lambda: appliance.has(undisturbed.messages[:1000]), "the first thousand")
    ballast = fill(small_disk)
    plant.publish(broker.port, undisturbed.messages[1000:])
    wait_until(lambda: "intake held" in appliance.log(), "intake held")
    assert appliance.runs
    assert not appliance.has(undisturbed.messages)
    ballast.unlink()
    appliance.drain(undisturbed.messages)
    assert "intake resumed" in appliance.log()
    assert appliance.stop() == 0
    plant.assert_same(appliance.database_file, undisturbed.database)
    plant.assert_accounted(appliance.account(), plant.readings(undisturbed.messages))


@pytest.mark.slow
def test_a_stop_with_a_full_disk_is_in_order_and_loses_nothing(
    install: Install, broker: Mosquitto, small_disk: Path, undisturbed: Reference
) -> None:
    appliance = install(broker.port, data_dir=small_disk)
    appliance.start()
    wait_until(appliance.is_subscribed, "subscribed")
    ballast = fill(small_disk)
    plant.publish(broker.port, undisturbed.messages)
    wait_until(lambda: "intake held" in appliance.log(), "intake held")
    assert appliance.stop() == 0
    ballast.unlink()
    appliance.start()
    appliance.drain(undisturbed.messages)
    assert appliance.stop() == 0
    plant.assert_same(appliance.database_file, undisturbed.database)
