"""The same small plant in every fault test, and what an undisturbed appliance makes of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from appliance import assembly
from appliance.config import load
from appliance.ingest.publisher import Publisher
from appliance.records import Message
from appliance.store.database import WORKER, Database
from appliance.store.journal import Journal
from appliance.store.logs import Logs
from appliance.store.results import Results
from appliance.worker import Worker
from tests.faults.appliance import wait_until
from tests.servers import InfluxDB

MACHINES = ("fan", "mill", "press", "pump")
STARTS_AT = 1_767_225_600.0
"""2026-01-01, a multiple of every window's hop."""
FAULT_BEGINS, FAULT_ENDS = 0.8, 0.86
"""Share of the messages before each machine's fault and after it."""

Table = dict[tuple[Any, ...], Any]


def messages(count: int, machines: Sequence[str] = MACHINES, *, starts_at: float = STARTS_AT) -> list[Message]:
    """Return ``count`` messages of machines that take turns, three readings in each, with one fault per machine."""
    noise = np.random.default_rng(7).normal(size=(count, 3))
    made = []
    for number in range(count):
        machine, cell = machines[number % len(machines)], number // len(machines)
        fault = 12.0 * (FAULT_BEGINS <= number / count < FAULT_ENDS)
        temp = 40 + 3 * np.sin(cell / 20) + 0.3 * noise[number, 0]
        values = {"temp": temp, "flow": 5 + 0.2 * noise[number, 1] + fault, "rpm": 1450 + 4 * noise[number, 2] + fault}
        body = {"time": starts_at + cell, **{name: round(float(value), 4) for name, value in values.items()}}
        made.append(Message(f"plant/{machine}".encode(), json.dumps(body).encode(), starts_at + cell))
    return made


def labelled(sent: Sequence[Message]) -> list[Message]:
    """Return messages with operators' labels among them, one of each verdict."""
    shares = {
        0.3: "maintenance",
        0.75: "bad_sensor",
        0.84: "fault",
        0.88: "false_alarm",
        0.9: "bad_sensor",
        0.93: "new_normal",
    }
    made = list(sent)
    for share, verdict in sorted(shares.items(), reverse=True):
        number = round(share * len(sent))
        at = sent[number].received_at
        body: dict[str, object] = {"verdict": verdict, "from": at - 20, "said_at": at}
        if verdict == "bad_sensor":
            body |= {"channel": "temp", "cleared": share > 0.8}
        elif verdict != "new_normal":
            body["to"] = at - 1
        machine = MACHINES[-1] if verdict == "new_normal" else MACHINES[0]
        topic = f"appliance/machines/{machine}/label"
        made.insert(number, Message(topic.encode(), json.dumps(body).encode(), at))
    return made


def publish(port: int, sent: Sequence[Message]) -> None:
    """Publish at QoS 1 and wait until the broker has acknowledged all."""
    with Publisher("127.0.0.1", port) as publisher:
        for message in sent:
            publisher.publish(message.topic.decode(), message.payload)


def undisturbed(config: Path, sent: Sequence[Message], file: Path) -> Database:
    """Process messages as the service does, in one go and without any fault; return the database with the results."""
    settings = load(config)
    database = Database(file)
    journal, results = Journal(database), Results(database)
    for start in range(0, len(sent), 500):
        last = journal.append(sent[start : start + 500])
    worker = Worker(assembly.pipeline(settings, results), journal, results, lambda commands: None)
    worker.restore(0)
    thread = threading.Thread(target=worker.run)
    thread.start()
    wait_until(lambda: worker.position == last, "the undisturbed run")
    worker.stop()
    thread.join()
    assert database.cursor(WORKER) == last
    return database


def windows(database: Database) -> Table:
    """Return everything stored of each window, by machine and end."""
    found: Table = {}
    for _, score in Logs(database).scores(0, 2**31):
        assert (score.machine, score.end) not in found
        found[score.machine, score.end] = score
    return found


def stored(database: Database) -> dict[str, Table]:
    """Return all results that must not depend on what happened to the process."""
    logs = Logs(database)
    placed = "SELECT machine, name, value FROM counters WHERE name IN ('readings_placed', 'readings_late')"
    return {
        "windows": windows(database),
        "alerts": {(alert.id, alert.updated_at): alert for _, alert in logs.alerts(0, 2**31)},
        "counters": {(machine, name): value for machine, name, value in database.rows(placed)},
        "samples": {
            (machine, at): body for machine, at, body in database.rows("SELECT machine, start, body FROM samples")
        },
        "labels": {(label.machine, label.id): label for _, label in logs.labels(0, 2**31)},
        "attempts": {(attempt.machine, attempt.at): attempt for _, attempt in logs.attempts(0, 2**31)},
        "heads": {
            (machine, number): (words, body)
            for machine, number, words, body in database.rows("SELECT machine, number, words, body FROM heads")
        },
        "traces": {
            (machine, model, at): body
            for machine, model, at, body in database.rows("SELECT machine, model, first_end, body FROM traces")
        },
        "models": {(machine,): (version, body) for machine, version, body in database.rows("SELECT * FROM models")},
    }


def assert_same(file: Path, reference: Database) -> None:
    """Assert that a database holds exactly what the undisturbed run gave, and that its readings add up."""
    database = Database(file, read_only=True)
    try:
        expected, found = stored(reference), stored(database)
        for name, table in expected.items():
            assert found[name].keys() == table.keys(), name
            differing = [key for key, value in table.items() if found[name][key] != value]
            assert not differing, f"{name}: {differing[:3]}"
        assert len(expected["windows"]) == reference.rows("SELECT count(*) FROM scores")[0][0]
        assert expected["alerts"], "the fault must have raised alerts, or nothing was compared"
    finally:
        database.close()


def assert_accounted(account: dict[str, Any], readings_sent: int) -> None:
    """Assert that nothing received is missing from the books, and that each reading sent counts once."""
    readings = account["readings"]
    parts = ("placed", "late", "duplicate", "quarantined")
    assert readings["received"] == sum(readings[part] for part in parts)
    assert readings["received"] - readings["duplicate"] == readings_sent


def assert_exported(influxdb: InfluxDB, reference: Database) -> None:
    """Assert that InfluxDB holds each window and each change of an alert exactly once, with the same values."""
    assert_windows_exported(influxdb, reference)
    changes = [alert for _, alert in Logs(reference).alerts(0, 2**31)]
    told = influxdb.query("SELECT id, state FROM alert")
    assert sorted((a["id"], a["state"]) for a in told) == sorted((a.id, a.state) for a in changes)


def assert_windows_exported(influxdb: InfluxDB, reference: Database, missing_signals: int = 0) -> None:
    """Assert that InfluxDB holds each window and its signals exactly once, with the same values."""
    expected = windows(reference)
    fields = "score, threshold, alarm, model, coverage, trust"
    points = influxdb.query(f"SELECT {fields}, machine, site FROM anomaly")
    found = {(point["machine"], int(str(point["time"])) / 1e9): point for point in points}
    assert len(points) == len(found)
    assert found.keys() == expected.keys()
    for key, score in expected.items():
        for name in ("score", "threshold", "model", "coverage", "trust"):
            assert found[key][name] == getattr(score, name), (key, name)
        assert found[key]["alarm"] == float(score.alarm), key
    means = influxdb.query("SELECT mean, machine, channel FROM signal")
    assert len(means) == sum(len(score.signals) for score in expected.values()) - missing_signals
    for point in means:
        score = expected[point["machine"], int(str(point["time"])) / 1e9]
        assert point["mean"] == score.signals[str(point["channel"])].mean


def readings(sent: Sequence[Message]) -> int:
    """Return how many readings messages hold: all of a payload but its time."""
    return sum(
        len(msgspec.json.decode(message.payload)) - 1 for message in sent if not message.topic.endswith(b"/label")
    )
