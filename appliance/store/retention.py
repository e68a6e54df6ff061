"""Keep the database within its limits: old rows go by age, delivered ones first when space runs short."""

from __future__ import annotations

import time
from dataclasses import dataclass

from appliance.store.database import CHECKPOINT, WORKER, Database

DAY_SECS = 86_400.0
TRIM_AT = 0.8
HOLD_AT = 0.9
KEPT_ROWS = 10_000
"""Quarantined messages, dead letters and attempts to change a head kept for people to read; the counters keep the
number of all messages."""
ROWS_AT_ONCE = 20_000
"""Scores looked at in one pass: the oldest, so that a large log is not read through every time."""
VACUUM_PAGES = 2000
"""Pages given back to the file system at a time: 8 MB, a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much."""

    max_bytes: int
    journal_secs: float
    samples_secs: float
    scores_secs: float
    remembered_messages: int
    """Messages kept in the journal behind the checkpoint, to recognise repeats after a restart."""


class Retention:
    """Deletes what is over age; under pressure also what everybody has read."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits

    def used_bytes(self) -> int:
        """Bytes that hold data; free pages inside the file do not count."""
        query = "SELECT (p.page_count - f.freelist_count) * s.page_size FROM pragma_page_count() p, "
        ((used,),) = self._database.rows(query + "pragma_freelist_count() f, pragma_page_size() s")
        return int(used)

    def must_hold(self) -> bool:
        """Whether intake has to wait for room."""
        return self.used_bytes() > HOLD_AT * self._limits.max_bytes

    def enforce(self, readers: tuple[str, ...], now: float | None = None) -> None:
        """Delete what is over age, and under pressure the oldest tenth of everything delivered.

        Parameters
        ----------
        readers
            Cursors on the score log: nothing ahead of the slowest is deleted while there is room.
        """
        now = time.time() if now is None else now
        limits = self._limits
        delivered = min((self._database.cursor(name) for name in readers), default=2**62)
        needed = self._needed_journal()
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM journal WHERE position < ? AND received_at < ?", (needed, now - limits.journal_secs)
            )
            # By each machine's own newest time: a recording may be years old and still be learned from.
            connection.execute(
                "DELETE FROM samples WHERE start < "
                "(SELECT max(newer.start) FROM samples newer WHERE newer.machine = samples.machine) - ?",
                (limits.samples_secs,),
            )
            connection.execute(
                "DELETE FROM traces WHERE first_end < "
                "(SELECT max(newer.first_end) FROM traces newer WHERE newer.machine = traces.machine) - ?",
                (limits.samples_secs,),
            )
            connection.execute(
                "DELETE FROM scores WHERE id <= min(?, (SELECT min(id) FROM scores) + ?) AND end < "
                "(SELECT max(newer.end) FROM scores newer WHERE newer.machine = scores.machine) - ?",
                (delivered, ROWS_AT_ONCE, limits.scores_secs),
            )
            connection.execute("DELETE FROM vitals WHERE time < ?", (now - 7 * DAY_SECS,))
            connection.execute("DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?", (KEPT_ROWS,))
            connection.execute("DELETE FROM attempts WHERE id <= (SELECT max(id) FROM attempts) - ?", (KEPT_ROWS,))
            connection.execute(
                "DELETE FROM dead_letters WHERE id <= (SELECT max(id) FROM dead_letters) - ?", (KEPT_ROWS,)
            )
        if self.used_bytes() > TRIM_AT * limits.max_bytes:
            self._trim(needed, delivered)
        self._database.rows(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")

    def _needed_journal(self) -> int:
        """First journal row that a restart may need: the checkpoint, and as many messages before as are remembered."""
        checkpoint = min(self._database.cursor(CHECKPOINT), self._database.cursor(WORKER))
        rows = self._database.rows(
            "SELECT position, messages FROM journal WHERE position <= ? ORDER BY position DESC LIMIT ?",
            (checkpoint, self._limits.remembered_messages),
        )
        messages = 0
        for position, count in rows:
            messages += count
            if messages >= self._limits.remembered_messages:
                return int(position)
        return int(rows[-1][0]) if rows else 0

    def _trim(self, needed_journal: int, delivered: int) -> None:
        """Make room: the journal behind the checkpoint first, then the oldest tenth of the scores and samples."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM journal WHERE position < ?", (needed_journal,))
        if self.used_bytes() <= TRIM_AT * self._limits.max_bytes:
            return
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM scores WHERE id <= min(?, (SELECT min(id) + (max(id) - min(id)) / 10 FROM scores))",
                (delivered,),
            )
            connection.execute(
                "DELETE FROM samples WHERE start < (SELECT min(start) + (max(start) - min(start)) / 10 FROM samples)"
            )
            connection.execute(
                "DELETE FROM traces WHERE first_end < "
                "(SELECT min(first_end) + (max(first_end) - min(first_end)) / 10 FROM traces)"
            )
