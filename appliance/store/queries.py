"""What people and scripts ask of the database while the service runs: read-only, plain dicts."""

from __future__ import annotations

from typing import Any

import msgspec

from appliance.records import Alert, Label, Score
from appliance.store import packing
from appliance.store.database import WORKER, Database
from appliance.store.scores import COLUMNS, score_of


def counters(database: Database) -> dict[str, int]:
    """Return the sum of each counter over all machines."""
    rows = database.rows("SELECT name, sum(value) FROM counters GROUP BY name ORDER BY name")
    return {name: int(value) for name, value in rows}


def status(database: Database) -> dict[str, Any]:
    """Account for everything received.

    ``readings.received = placed + late + duplicate + quarantined``; a message that could not be read at all counts as
    one reading.
    """
    counts = counters(database)
    waiting = "SELECT coalesce(sum(messages), 0) FROM journal WHERE position > ?"
    return {
        "messages": {
            "journaled": counts.get("messages_received", 0) + database.rows(waiting, (database.cursor(WORKER),))[0][0],
            "processed": counts.get("messages_received", 0),
            "quarantined": counts.get("messages_quarantined", 0),
            "backlog": database.rows(waiting, (database.cursor(WORKER),))[0][0],
        },
        "readings": {
            name: counts.get(f"readings_{name}", 0)
            for name in ("received", "placed", "late", "duplicate", "quarantined")
        },
        "refused": {
            name.removeprefix("quarantined_"): value
            for name, value in counts.items()
            if name.startswith("quarantined_")
        },
        "sources": {name: counts[name] for name in ("offline", "sequence_gap") if name in counts},
        "last_refit": _last_refit(database),
        "scores": database.rows("SELECT count(*) FROM scores")[0][0],
        "alerts_open": database.rows("SELECT count(*) FROM alerts WHERE state != 'closed'")[0][0],
        "dead_letters": database.rows("SELECT count(*) FROM dead_letters")[0][0],
        "database_mb": round(database.size_bytes() / 2**20, 2),
    }


def _last_refit(database: Database) -> dict[str, Any] | None:
    states = [packing.unpack(body) for (body,) in database.rows("SELECT body FROM machines ORDER BY machine")]
    refitted = [state for state in states if state.get("refitted_at") is not None]
    if not refitted:
        return None
    latest = max(refitted, key=lambda state: state["refitted_at"])
    return {key: latest[key] for key in ("machine", "refitted_at", "refit_reason")}


def machines(database: Database) -> list[dict[str, Any]]:
    """Return what every machine looks like, by name, with its own counters."""
    bodies = database.rows("SELECT body FROM machines ORDER BY machine")
    counts: dict[str, dict[str, int]] = {}
    for machine, name, value in database.rows("SELECT machine, name, value FROM counters WHERE machine != ''"):
        counts.setdefault(machine, {})[name] = value
    found = [packing.unpack(body) for (body,) in bodies]
    return [{**machine, "counts": counts.get(machine["machine"], {})} for machine in found]


def alerts(database: Database, *, machine: str | None = None, open_only: bool = False, limit: int = 50) -> list[Alert]:
    """Return the newest alerts, newest first."""
    rows = database.rows(
        "SELECT body FROM alerts WHERE (?1 IS NULL OR machine = ?1) AND (NOT ?2 OR state != 'closed') "
        "ORDER BY opened_at DESC LIMIT ?3",
        (machine, open_only, limit),
    )
    return [msgspec.msgpack.decode(body, type=Alert) for (body,) in rows]


def labels(database: Database, *, machine: str | None = None, limit: int = 50) -> list[Label]:
    """Return the newest labels, newest first."""
    rows = database.rows(
        "SELECT body FROM labels WHERE (?1 IS NULL OR machine = ?1) ORDER BY number DESC LIMIT ?2", (machine, limit)
    )
    return [msgspec.msgpack.decode(body, type=Label) for (body,) in rows]


def scores(database: Database, *, machine: str, since: float, limit: int) -> list[Score]:
    """Return a machine's newest scores whose window ends after a time, Unix seconds, oldest first."""
    rows = database.rows(
        COLUMNS + "WHERE s.machine = ? AND s.end > ? ORDER BY s.end DESC LIMIT ?", (machine, since, limit)
    )
    return [score_of(row) for row in reversed(rows)]


def watched(database: Database) -> dict[str, tuple[float, float]]:
    """Return each machine's first and last time with a score, Unix seconds."""
    rows = database.rows("SELECT machine, min(end), max(end) FROM scores WHERE score IS NOT NULL GROUP BY machine")
    return {machine: (first, last) for machine, first, last in rows}


def quarantine(database: Database, *, limit: int = 20) -> list[dict[str, Any]]:
    """Return the newest refused messages, newest first; payloads are cut where they were stored."""
    rows = database.rows(
        "SELECT id, received_at, topic, payload, reason, detail, readings FROM quarantine ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return [
        {
            "id": number,
            "received_at": received_at,
            "topic": topic.decode(errors="backslashreplace"),
            "payload": payload.decode(errors="backslashreplace"),
            "reason": reason,
            "detail": detail,
            "readings": readings,
        }
        for number, received_at, topic, payload, reason, detail, readings in rows
    ]


def dead_letters(database: Database, *, limit: int = 20) -> list[dict[str, Any]]:
    """Return the newest points a sink refused for good, newest first."""
    rows = database.rows("SELECT sink, at, reason, body FROM dead_letters ORDER BY id DESC LIMIT ?", (limit,))
    return [{"sink": sink, "at": at, "reason": reason, "body": body} for sink, at, reason, body in rows]
