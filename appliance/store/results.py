"""What the worker stores and finds again: outcomes, checkpoints, models, history, all in whole transactions."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

import apsw
import msgspec
import numpy as np
import zstandard

from appliance.archive import KEPT_HEADS
from appliance.errors import StoreError
from appliance.outcome import Block, HeadRecord, Model, Outcome, Quarantined, TraceBlock
from appliance.records import Alert, Label, Score
from appliance.store import packing
from appliance.store.database import CHECKPOINT, WORKER, Database, set_cursor

log = logging.getLogger(__name__)

_TRACE_PARTS = ("ends", "strangeness", "traits")
QUARANTINED_BYTES = 4096
"""A refused message is kept up to this size: enough to see what it was."""


class Results:
    """The worker's side of the database. One thread uses it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
        self._decompressor = zstandard.ZstdDecompressor()
        self._channel_sets: dict[tuple[str, ...], int] = {}

    def commit(self, outcome: Outcome, position: int, states: Mapping[str, dict[str, Any]] | None = None) -> None:
        """Store all that came of the journal up to ``position``, and the states that stand there, or nothing.

        Raises
        ------
        DiskFull, StoreError
            Nothing was stored; see :meth:`Database.transaction`.
        """
        try:
            self._commit(outcome, position, states)
        except StoreError:
            self._channel_sets.clear()  # its newest ids may have been rolled back
            raise

    def _commit(self, outcome: Outcome, position: int, states: Mapping[str, dict[str, Any]] | None) -> None:
        with self._database.transaction() as connection:
            self._store_scores(connection, outcome.scores)
            self._store_alerts(connection, outcome.alerts)
            self._store_blocks(connection, outcome.blocks)
            self._store_labels(connection, outcome.labels)
            self._store_traces(connection, outcome)
            self._store_heads(connection, outcome.heads)
            connection.executemany(
                "INSERT INTO attempts (machine, body) VALUES (?, ?)",
                [(attempt.machine, msgspec.msgpack.encode(attempt)) for attempt in outcome.attempts],
            )
            connection.executemany(
                "INSERT INTO quarantine (received_at, topic, payload, reason, detail, readings)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [_quarantine_row(entry) for entry in outcome.quarantined],
            )
            connection.executemany(
                "INSERT INTO counters VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
                [(machine, name, value) for (machine, name), value in outcome.counts.items()],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO machines VALUES (?, ?, ?)",
                [(name, status["received_at"], packing.pack(status)) for name, status in outcome.statuses.items()],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO models VALUES (?, ?, ?)",
                [(name, model.version, self._pressed(model.state)) for name, model in outcome.models.items()],
            )
            set_cursor(connection, WORKER, position)
            if states is not None:
                connection.executemany(
                    "INSERT OR REPLACE INTO checkpoints VALUES (?, ?)",
                    [(name, self._pressed(state)) for name, state in states.items()],
                )
                set_cursor(connection, CHECKPOINT, position)

    def _store_scores(self, connection: apsw.Connection, scores: Iterable[Score]) -> None:
        rows = []
        for score in scores:
            names = tuple(dict.fromkeys((*score.contributions, *score.signals)))
            rows.append(
                (
                    score.machine,
                    score.source,
                    score.start,
                    score.end,
                    score.score,
                    score.threshold,
                    int(score.alarm),
                    score.trust,
                    score.blank,
                    int(score.extrapolated),
                    score.coverage,
                    score.model,
                    score.head,
                    self._channel_set(connection, names),
                    encode_body(score, names),
                )
            )
        connection.executemany(
            "INSERT INTO scores (machine, source, start, end, score, threshold, alarm, trust, blank, extrapolated,"
            " coverage, model, head, channels, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            # A machine that learns anew may close a window that was judged before: the first verdict stands.
            " ON CONFLICT (machine, end) DO NOTHING",
            rows,
        )

    def _channel_set(self, connection: apsw.Connection, names: tuple[str, ...]) -> int:
        known = self._channel_sets.get(names)
        if known is None:
            text = msgspec.json.encode(names).decode()
            connection.execute("INSERT OR IGNORE INTO channel_sets (names) VALUES (?)", (text,))
            (known,) = connection.execute("SELECT id FROM channel_sets WHERE names = ?", (text,)).fetchone() or (0,)
            if len(self._channel_sets) > 10_000:
                self._channel_sets.clear()
            self._channel_sets[names] = known
        return known

    def _store_alerts(self, connection: apsw.Connection, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            body = msgspec.msgpack.encode(alert)
            connection.execute(
                "INSERT OR REPLACE INTO alerts VALUES (?, ?, ?, ?, ?)",
                (alert.id, alert.machine, alert.state, alert.opened_at, body),
            )
            connection.execute("INSERT INTO alert_log (alert, body) VALUES (?, ?)", (alert.id, body))

    def _store_labels(self, connection: apsw.Connection, labels: Iterable[Label]) -> None:
        connection.executemany(
            # A machine whose state was lost takes the same label in again.
            "INSERT OR IGNORE INTO labels (id, machine, body) VALUES (?, ?, ?)",
            [(label.id, label.machine, msgspec.msgpack.encode(label)) for label in labels],
        )

    def _store_blocks(self, connection: apsw.Connection, blocks: Iterable[Block]) -> None:
        connection.executemany(
            "INSERT OR REPLACE INTO samples VALUES (?, ?, ?, ?)",
            [
                (
                    block.machine,
                    block.start,
                    block.values.shape[1],
                    self._pressed({"channels": list(block.channels), "values": block.values}),
                )
                for block in blocks
            ],
        )

    def _store_traces(self, connection: apsw.Connection, outcome: Outcome) -> None:
        connection.executemany(
            "INSERT OR REPLACE INTO traces VALUES (?, ?, ?, ?)",
            [
                (
                    block.machine,
                    block.model,
                    float(block.ends[0]),
                    self._pressed({"ends": block.ends, "strangeness": block.strangeness, "traits": block.traits}),
                )
                for block in outcome.traces
            ],
        )
        connection.executemany(  # what an older fit saw cannot be compared with what is seen now
            "DELETE FROM traces WHERE machine = ? AND model < ?",
            [(name, model.version) for name, model in outcome.models.items()],
        )

    def _store_heads(self, connection: apsw.Connection, heads: Iterable[HeadRecord]) -> None:
        for head in heads:
            connection.execute(
                "INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?)",
                (head.machine, head.number, head.words, self._pressed(head.state)),
            )
            connection.execute(
                "DELETE FROM heads WHERE machine = ? AND number <= ?", (head.machine, head.number - KEPT_HEADS)
            )

    def head(self, machine: str, number: int) -> HeadRecord | None:
        """Read one of a machine's last heads; None where it is not kept."""
        rows = self._database.rows("SELECT words, body FROM heads WHERE machine = ? AND number = ?", (machine, number))
        states = [(words, self._expanded(body, f"head {number} of {machine}")) for words, body in rows]
        return next((HeadRecord(machine, number, words, state) for words, state in states if state), None)

    def model(self, machine: str) -> Model | None:
        """Read the fit in service; None where there is none."""
        rows = self._database.rows("SELECT version, body FROM models WHERE machine = ?", (machine,))
        states = [(version, self._expanded(body, f"model of {machine}")) for version, body in rows]
        return next((Model(version, state) for version, state in states if state), None)

    def traces(self, machine: str, model: int, start: float, end: float) -> list[TraceBlock]:
        """Read what a machine's fit saw: the blocks whose first window ends in [start, end), oldest first."""
        rows = self._database.rows(
            "SELECT first_end, body FROM traces WHERE machine = ? AND model = ? AND first_end >= ? AND first_end < ?"
            " ORDER BY first_end",
            (machine, model, start, end),
        )
        states = [self._expanded(body, f"trace of {machine} at {at:.0f}") for at, body in rows]
        return [TraceBlock(machine, model, *(state[key] for key in _TRACE_PARTS)) for state in states if state]

    def history(self, machine: str, start: float, end: float) -> list[Block]:
        """Read a machine's stored blocks that begin in [start, end), Unix seconds, oldest first."""
        rows = self._database.rows(
            "SELECT start, body FROM samples WHERE machine = ? AND start >= ? AND start < ? ORDER BY start",
            (machine, start, end),
        )
        states = [(start, self._expanded(body, f"history of {machine} at {start:.0f}")) for start, body in rows]
        return [Block(machine, start, tuple(state["channels"]), state["values"]) for start, state in states if state]

    def position(self, name: str) -> int:
        """Read a cursor; 0 where it never moved."""
        return self._database.cursor(name)

    def load(self) -> tuple[dict[str, dict[str, Any]], dict[str, Model]]:
        """Read the last checkpoint: the states by name and the models by machine, without any that are damaged."""
        states = self._database.rows("SELECT name, body FROM checkpoints")
        models = self._database.rows("SELECT machine, version, body FROM models")
        expanded = {name: self._expanded(body, f"checkpoint of {name}") for name, body in states}
        fitted = {name: (version, self._expanded(body, f"model of {name}")) for name, version, body in models}
        return (
            {name: state for name, state in expanded.items() if state is not None},
            {name: Model(version, state) for name, (version, state) in fitted.items() if state is not None},
        )

    def add_vitals(self, vitals: dict[str, float]) -> None:
        """Append the appliance's pulse to its log."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO vitals (time, body) VALUES (?, ?)", (time.time(), msgspec.msgpack.encode(vitals))
            )

    def _pressed(self, state: object) -> bytes:
        return self._compressor.compress(packing.pack(state))

    def _expanded(self, body: bytes, what: str) -> dict[str, Any] | None:
        """Read a stored state; None where it is damaged: what it belonged to is then built anew."""
        try:
            return packing.unpack(self._decompressor.decompress(body))
        except (zstandard.ZstdError, msgspec.DecodeError, ValueError, MemoryError) as error:
            log.error("%s: the %s is damaged and left out: %r", self._database.path, what, error)
            return None


def _quarantine_row(entry: Quarantined) -> tuple[float, bytes, bytes, str, str, int]:
    message = entry.message
    payload = message.payload[:QUARANTINED_BYTES]
    return message.received_at, message.topic, payload, entry.reason, entry.detail, entry.readings


def encode_body(score: Score, names: tuple[str, ...]) -> bytes:
    """Pack the per-channel parts of a score as single-precision arrays in the order of ``names``."""
    missing = (np.nan,) * 3
    signals = np.array([score.signals.get(name, missing) for name in names], dtype=np.float32)
    contributions = np.array([score.contributions.get(name, np.nan) for name in names], dtype=np.float32)
    return msgspec.msgpack.encode(
        packing.ScoreBody(score.evidence, contributions.tobytes(), signals.tobytes(), score.sensor_faults)
    )
