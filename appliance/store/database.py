"""The one database file: opened safely, migrated, written in whole transactions by one connection."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import apsw

from appliance.errors import DiskFull, StoreError
from appliance.store.schema import MIGRATIONS

log = logging.getLogger(__name__)

QUICK_CHECK_BYTES = 256 * 2**20
"""A larger file is only checked after an unclean stop: reading it all would delay the start by more than 5 s."""
CLEAN_STOP = "clean_stop"
NO_VERSION = 1000
"""No schema will ever have this version: it is damage, not a newer appliance's file."""
WORKER = "worker"
"""The worker's cursor in the journal: the outcome of everything up to it is stored for good."""
CHECKPOINT = "checkpoint"
"""The cursor at which the stored states of the machines stand; never ahead of the worker's."""


class Database:
    """A SQLite file with one writer connection, shared by the threads of one process.

    Parameters
    ----------
    path
        The file; made with its folder where missing. A damaged one is moved aside, never deleted.
    read_only
        For commands that look while the service runs: no lock is taken, nothing is migrated.

    Raises
    ------
    StoreError
        The file cannot be opened, or was written by a newer version.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.moved_aside: Path | None = None
        self._lock = threading.RLock()
        if read_only:
            self._connection = self._open_reader()
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._open_writer()
        except (apsw.CorruptError, apsw.NotADBError) as damage:
            self._move_aside(damage)
            self._connection = self._open_writer()
        except (apsw.Error, OSError) as error:
            raise StoreError(f"{path}: cannot be opened: {error}; check the folder's owner and free space") from error

    def _open_reader(self) -> apsw.Connection:
        if not self.path.exists():
            raise StoreError(f"{self.path}: no database here; has the service run with this data_dir?")
        try:
            connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
            connection.set_busy_timeout(5000)
            self._refuse_other_version(connection)
        except apsw.Error as error:
            raise StoreError(f"{self.path}: cannot be read: {error}") from error
        return connection

    def _open_writer(self) -> apsw.Connection:
        unclean = self._unclean()
        connection = apsw.Connection(str(self.path))
        try:
            connection.set_busy_timeout(5000)
            # Incremental: retention gives pages back without rewriting the file. Heard only before the first page.
            connection.pragma("auto_vacuum", 2)
            connection.pragma("journal_mode", "wal")
            connection.pragma("synchronous", "full")
            connection.pragma("foreign_keys", True)
            connection.pragma("journal_size_limit", 16 * 2**20)
            if unclean or self.path.stat().st_size <= QUICK_CHECK_BYTES:
                verdict = connection.pragma("quick_check")
                if verdict != "ok":
                    raise apsw.CorruptError(str(verdict))
            self._migrate(connection)
            set_cursor(connection, CLEAN_STOP, 0)
        except BaseException:
            connection.close()
            raise
        return connection

    def _unclean(self) -> bool:
        if not self.path.exists():
            return False
        damage = header_damage(self.path)
        if damage is not None:
            raise apsw.CorruptError(damage)
        connection = apsw.Connection(str(self.path))
        try:
            if connection.pragma("user_version") == 0:
                return True
            row = connection.execute("SELECT position FROM cursors WHERE name = ?", (CLEAN_STOP,)).fetchone()
            return row is None or row[0] == 0
        finally:
            connection.close()

    def _migrate(self, connection: apsw.Connection) -> None:
        version = self._refuse_other_version(connection, older_is_fine=True)
        for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
            with connection:
                for _ in connection.execute(statements):
                    pass
                connection.pragma("user_version", number)

    def _refuse_other_version(self, connection: apsw.Connection, *, older_is_fine: bool = False) -> int:
        version = int(str(connection.pragma("user_version")))
        if version > len(MIGRATIONS) or (version < len(MIGRATIONS) and not older_is_fine):
            raise StoreError(
                f"{self.path}: has schema {version}, this version of the appliance reads schema {len(MIGRATIONS)}; "
                "run the version that wrote it, or start the service once to bring it up to date"
            )
        return version

    def _move_aside(self, damage: apsw.Error) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        self.moved_aside = self.path.with_name(f"{self.path.name}.damaged-{stamp}")
        for suffix in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.rename(self.moved_aside.with_name(self.moved_aside.name + suffix))
        log.error("%s: damaged (%s); moved to %s, starting a new one", self.path, damage, self.moved_aside)

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """Everything inside is stored, or nothing is. Durable on return: ``synchronous=FULL``.

        Raises
        ------
        DiskFull
            There is no room; nothing was stored.
        StoreError
            The disk failed. The process should end: after a failed fsync nobody knows what is on it.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except apsw.FullError as error:
                raise DiskFull(f"{self.path}: {error}; free some space, intake resumes by itself") from error
            except apsw.Error as error:
                raise StoreError(f"{self.path}: {error}") from error

    def rows(self, query: str, bindings: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query; nobody writes meanwhile."""
        with self._lock:
            try:
                return self._connection.execute(query, cast("apsw.Bindings", bindings)).fetchall()
            except apsw.Error as error:
                raise StoreError(f"{self.path}: {error}") from error

    def cursor(self, name: str) -> int:
        """Read how far a reader has come; 0 where it never moved."""
        found = self.rows("SELECT position FROM cursors WHERE name = ?", (name,))
        return int(found[0][0]) if found else 0

    def size_bytes(self) -> int:
        """Size of the file and its write-ahead log."""
        parts = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())

    def close(self, *, clean: bool = False) -> None:
        """Close; ``clean`` says that every thread had finished, so the next start may skip the long check."""
        with self._lock:
            try:
                if clean:
                    set_cursor(self._connection, CLEAN_STOP, 1)
            except apsw.Error as error:
                log.warning("%s: not marked as cleanly closed, so the next start checks it: %s", self.path, error)
            self._connection.close()


def header_damage(path: Path) -> str | None:
    """Say what in a database file's first bytes cannot be ours (SQLite's file format, 1.3), None where all may be.

    SQLite itself reports these as a wrong version or a file that it may not write, which no restart would mend.
    """
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100:
        return f"only {len(header)} bytes long" if header else None
    cookie, schema_format, version = (int.from_bytes(header[at : at + 4]) for at in (40, 44, 60))
    if not {header[18], header[19]} <= {1, 2} or schema_format > 4:
        return "unknown file format"
    if version > NO_VERSION or (version == 0 and cookie > 1):
        return f"impossible schema version {version}"
    return None


def set_cursor(connection: apsw.Connection, name: str, position: int) -> None:
    """Move a reader's cursor inside the caller's transaction."""
    connection.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (name, position))
