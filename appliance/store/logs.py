"""Scores, alerts, labels and what they changed, and the appliance's pulse, in order, for whoever carries them out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from appliance.outcome import Attempt
from appliance.records import Alert, Label, Score
from appliance.store.database import Database, set_cursor
from appliance.store.scores import COLUMNS, score_of

log = logging.getLogger(__name__)

T = TypeVar("T")

SCORES = COLUMNS + "WHERE s.id > ? ORDER BY s.id LIMIT ?"


class Vitals(NamedTuple):
    """The appliance's pulse at one time."""

    time: float
    values: dict[str, float]


class Logs:
    """Reads each log after a cursor and moves the cursor. Safe from any thread.

    A row that damage has made unreadable is named in the log and passed over: it must not stop those after it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def scores(self, after: int, limit: int) -> list[tuple[int, Score]]:
        """Return the next scores with their positions."""
        return self._read(SCORES, (after, limit), score_of)

    def alerts(self, after: int, limit: int) -> list[tuple[int, Alert]]:
        """Return the next changes of alerts with their positions."""
        return self._read(
            "SELECT id, body FROM alert_log WHERE id > ? ORDER BY id LIMIT ?",
            (after, limit),
            lambda row: msgspec.msgpack.decode(row[1], type=Alert),
        )

    def labels(self, after: int, limit: int) -> list[tuple[int, Label]]:
        """Return the next labels with their positions."""
        return self._read(
            "SELECT number, body FROM labels WHERE number > ? ORDER BY number LIMIT ?",
            (after, limit),
            lambda row: msgspec.msgpack.decode(row[1], type=Label),
        )

    def attempts(self, after: int, limit: int) -> list[tuple[int, Attempt]]:
        """Return the next attempts to change a head with their positions."""
        return self._read(
            "SELECT id, body FROM attempts WHERE id > ? ORDER BY id LIMIT ?",
            (after, limit),
            lambda row: msgspec.msgpack.decode(row[1], type=Attempt),
        )

    def vitals(self, after: int, limit: int) -> list[tuple[int, Vitals]]:
        """Return the next pulses with their positions."""
        return self._read(
            "SELECT id, time, body FROM vitals WHERE id > ? ORDER BY id LIMIT ?",
            (after, limit),
            lambda row: Vitals(row[1], msgspec.msgpack.decode(row[2])),
        )

    def _read(self, query: str, bindings: Sequence[int], build: Callable[[tuple[Any, ...]], T]) -> list[tuple[int, T]]:
        after, limit = bindings
        while rows := self._database.rows(query, (after, limit)):
            found = [(row[0], built) for row in rows if (built := _try(build, row)) is not None]
            if found:
                return found
            after = rows[-1][0]
        return []

    def position(self, name: str) -> int:
        """Read a cursor."""
        return self._database.cursor(name)

    def join_alerts(self, name: str) -> None:
        """Put a cursor that does not exist yet at the end of the alert log: a new receiver is not told old stories."""
        with self._database.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO cursors SELECT ?, coalesce(max(id), 0) FROM alert_log", (name,))

    def advance(self, name: str, position: int) -> None:
        """Move a cursor: what lies at or before it has been delivered or given up for good."""
        with self._database.transaction() as connection:
            set_cursor(connection, name, position)

    def bury(self, sink: str, letters: Sequence[tuple[str, str]], name: str, position: int) -> None:
        """Keep points that a sink refused for good, as (reason, body), and move its cursor in the same transaction."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO dead_letters (sink, at, reason, body) VALUES (?, ?, ?, ?)",
                [(sink, time.time(), reason, body) for reason, body in letters],
            )
            set_cursor(connection, name, position)


def _try(build: Callable[[tuple[Any, ...]], T], row: tuple[Any, ...]) -> T | None:
    try:
        return build(row)
    except (msgspec.DecodeError, ValueError, TypeError) as error:
        log.error("row %d of a log cannot be read and is passed over: %s", row[0], error)
        return None
