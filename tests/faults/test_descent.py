"""A head that descends in the whole service: killed, hung, out of time, and taken into service all the same."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from appliance.bundle.keys import format_public_key
from appliance.bundle.shelf import Shelf
from appliance.store import packing
from appliance.store.database import Database
from tests.adapt.descents import bundled
from tests.bundle.made import KEY
from tests.faults import plant
from tests.faults.appliance import Appliance, wait_until
from tests.faults.conftest import Install
from tests.servers import Mosquitto
from tests.test_solver import children

SETTINGS = f"""
[adaptation]
method = "maml"
worker_secs = 300
worker_mb = 2048
[bundles]
trusted_keys = {{ own = "{format_public_key(KEY.public)}" }}
"""
SENT = plant.labelled(plant.messages(4000, ["fan", "pump"]))
LABEL = next(number for number, message in enumerate(SENT) if b'"fault"' in message.payload)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("undisturbed")
    appliance = taught(Appliance(folder, 1883, extra=SETTINGS), folder)
    database = plant.undisturbed(appliance.config, SENT, folder / "undisturbed.db")
    yield database
    database.close()


def taught(appliance: Appliance, folder: Path) -> Appliance:
    """Install a bundle with meta-parameters."""
    Shelf(appliance.data_dir / "bundles", {"own": KEY.public}).install(bundled(folder, KEY, "maml"))
    return appliance


def parts(body: bytes) -> bytes:
    """Return what was descended to, of a stored head."""
    return packing.pack(packing.unpack(zstandard.decompress(body))["head"]["parts"])


def ready(appliance: Appliance) -> Appliance:
    """Start it, and have it learn its machines and live until the label."""
    appliance.start()
    wait_until(appliance.is_subscribed, "subscribed")
    return appliance


def descents(pid: int) -> list[int]:
    """Return the processes that descend for the service; one that has not begun yet still has its command line."""
    return [each for each in children(pid) if b"appliance.meta.solve" in Path(f"/proc/{each}/cmdline").read_bytes()]


def test_a_kill_as_a_head_goes_into_service_leads_to_the_same_head(
    install: Install, broker: Mosquitto, undisturbed: Database, tmp_path: Path
) -> None:
    appliance = ready(taught(install(broker.port, extra=SETTINGS), tmp_path))
    plant.publish(broker.port, SENT[:LABEL])
    appliance.drain(SENT[:LABEL])
    appliance.kill()
    appliance.start("--at", "in-head", ready=False)
    plant.publish(broker.port, SENT[LABEL : LABEL + 1])
    assert appliance.wait() == -9
    assert appliance.rows("SELECT count(*) FROM heads") == [(0,)]
    appliance.start()
    plant.publish(broker.port, SENT[LABEL + 1 :])
    appliance.drain(SENT)
    assert appliance.stop() == 0
    plant.assert_same(appliance.database_file, undisturbed)
    assert undisturbed.rows("SELECT count(*) FROM heads")[0][0] >= 1
    assert "by ridge" not in str(undisturbed.rows("SELECT words FROM heads"))


def test_while_a_descent_hangs_the_service_lives_listens_and_stops(
    install: Install, broker: Mosquitto, tmp_path: Path
) -> None:
    appliance = taught(install(broker.port, extra=SETTINGS), tmp_path)
    hung_secs = 2.0
    appliance.start("--set", f"service.HUNG_SECS={hung_secs}")
    wait_until(appliance.is_subscribed, "subscribed")
    plant.publish(broker.port, SENT[:LABEL])
    appliance.drain(SENT[:LABEL])
    pid = appliance.status()["pid"]
    plant.publish(broker.port, SENT[LABEL : LABEL + 1])
    wait_until(lambda: descents(pid), "a process that descends", pause_secs=0.0)
    (descent,) = descents(pid)
    os.kill(descent, signal.SIGSTOP)
    stopped_at = time.monotonic()
    rest = SENT[LABEL + 1 : LABEL + 301]
    plant.publish(broker.port, rest)
    wait_until(lambda: appliance.has(rest), "every message journaled while nothing is scored", pause_secs=0.2)

    def fed() -> bool:
        return any("WATCHDOG=1" in line for at, line in appliance.heard if at > stopped_at + 2 * hung_secs)

    wait_until(fed, "the watchdog fed")
    assert appliance.status()["backlog"] >= 300
    assert appliance.stop() == 0
    assert "stopped while a head was being made of labels" in appliance.log()
    assert not Path(f"/proc/{descent}").exists()
    assert appliance.rows("SELECT count(*) FROM heads") == [(0,)]
    ready(appliance).drain()
    assert appliance.stop() == 0
    words = appliance.rows("SELECT words FROM heads ORDER BY number")[0][0]
    assert "of 1 labelled fault" in words


def test_what_ran_out_of_time_is_said_kept_and_not_made_by_a_replay(
    install: Install, broker: Mosquitto, tmp_path: Path
) -> None:
    appliance = taught(install(broker.port, extra=SETTINGS.replace("= 300", "= 0.05")), tmp_path)
    ready(appliance)
    plant.publish(broker.port, SENT[:LABEL])
    appliance.drain(SENT[:LABEL])
    told = json.loads(SENT[LABEL].payload)
    span = ("--from", f"{told['from']}", "--to", f"{told['to']}", "--wait", "60", "--json")
    answer = json.loads(appliance.command("label", "fan", "fault", *span).stdout)
    why = 'maml took longer than adaptation.worker_secs (0.05 s); raise it, or set adaptation.method = "ridge"'
    assert answer["learned"] == f"no head came of the labels, what is in service stays: {why}"
    assert f"WARNING appliance.worker: fan: {why}" in appliance.log()
    assert f"labels on fan: {answer['learned']}" in appliance.command("status").stdout
    appliance.kill()
    appliance.config.write_text(appliance.config.read_text().replace("worker_secs = 0.05", "worker_secs = 300"))
    ready(appliance)
    plant.publish(broker.port, SENT[LABEL + 1 :])
    appliance.drain(SENT[LABEL + 1 :])
    ((number, words),) = appliance.rows("SELECT number, words FROM heads")
    assert number == 1, "the replay must have made none"
    assert "of 1 labelled fault" in words
    wait = ("--wait", "60", "--json")
    back = json.loads(appliance.command("rollback", "fan", *wait).stdout)
    assert back["learned"] == "back to what it was before any label"
    for _ in range(2):
        appliance.kill()
        ready(appliance)
        again = json.loads(appliance.command("adapt", "fan", *wait).stdout)
        assert "of 1 labelled fault" in again["learned"]
    (before,), (after,) = appliance.rows("SELECT body FROM heads WHERE number > 2")
    assert parts(after) == parts(before)
