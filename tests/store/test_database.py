from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from appliance.errors import StoreError
from appliance.records import Message
from appliance.store.database import Database, set_cursor
from appliance.store.journal import Journal
from appliance.store.schema import MIGRATIONS


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "data" / "appliance.db")


def messages(*numbers: int) -> list[Message]:
    return [Message(b"t/\xff", f"{number}".encode(), 1000.5 + number, number % 2 == 0) for number in numbers]


def spoil(path: Path, start: int, length: int) -> None:
    data = bytearray(path.read_bytes())
    data[start : start + length] = b"\xa5" * length
    path.write_bytes(data)


def test_an_empty_file_is_migrated_to_the_newest_schema(tmp_path: Path) -> None:
    path = tmp_path / "appliance.db"
    path.touch()
    version = Database(path).rows("PRAGMA user_version")
    assert version == [(len(MIGRATIONS),)]


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_file_of_an_older_schema_is_brought_up_to_date_with_all_it_holds(tmp_path: Path, version: int) -> None:
    path = tmp_path / "appliance.db"
    connection = apsw.Connection(str(path))
    for statements in MIGRATIONS[:version]:
        connection.execute(statements)
    connection.pragma("user_version", version)
    connection.execute("INSERT INTO counters VALUES ('m', 'readings_placed', 7)")
    connection.close()
    database = Database(path)
    assert database.moved_aside is None
    assert database.rows("SELECT value FROM counters") == [(7,)]
    empty = Database(tmp_path / "new.db")
    tables = "SELECT name, sql FROM sqlite_schema ORDER BY name"
    assert database.rows(tables) == empty.rows(tables)


def test_it_is_durable_before_a_transaction_returns(database: Database) -> None:
    assert database.rows("PRAGMA journal_mode") == [("wal",)]
    assert database.rows("PRAGMA synchronous") == [(2,)]


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "appliance.db"
    Database(path).close(clean=True)
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", len(MIGRATIONS) + 1)
    connection.close()
    for read_only in (False, True):
        with pytest.raises(StoreError, match=f"has schema {len(MIGRATIONS) + 1}, this version .* reads schema"):
            Database(path, read_only=read_only)
    assert [entry.name for entry in tmp_path.iterdir() if "damaged" in entry.name] == []


@pytest.mark.parametrize(("start", "length"), [(0, 100), (4096, 4096)])
def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(tmp_path: Path, start: int, length: int) -> None:
    path = tmp_path / "appliance.db"
    first = Database(path)
    Journal(first).append(messages(1))
    first.close()
    spoil(path, start, length)
    second = Database(path)
    assert second.moved_aside is not None
    assert second.moved_aside.exists()
    assert second.rows("SELECT count(*) FROM journal") == [(0,)]


def test_a_reader_needs_a_database_and_may_not_write(tmp_path: Path, database: Database) -> None:
    with pytest.raises(StoreError, match="no database here; has the service run with this data_dir"):
        Database(tmp_path / "elsewhere.db", read_only=True)
    reader = Database(database.path, read_only=True)
    with pytest.raises(StoreError, match="readonly"), reader.transaction() as connection:
        set_cursor(connection, "x", 1)


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    def half() -> None:
        with database.transaction() as connection:
            set_cursor(connection, "x", 1)
            raise KeyError

    with pytest.raises(KeyError):
        half()
    assert database.cursor("x") == 0
    with database.transaction() as connection:
        set_cursor(connection, "x", 2)
    assert database.cursor("x") == 2


def test_journal_gives_back_what_was_appended_in_order(database: Database) -> None:
    journal = Journal(database)
    positions = [journal.append(messages(1, 2)), journal.append(messages(3))]
    assert positions == sorted(positions)
    entries = journal.read(0, rows=10)
    assert [entry.position for entry in entries] == positions
    assert [message for entry in entries for message in entry.messages] == messages(1, 2, 3)
    assert journal.read(positions[0], rows=10) == entries[1:]
    assert journal.read(0, rows=1) == entries[:1]
    assert journal.read(positions[1], rows=1) == []


def test_journal_knows_its_tail(database: Database) -> None:
    journal = Journal(database)
    last = [journal.append(messages(1, 2)), journal.append(messages(3)), journal.append(messages(4))][1]
    assert journal.tail(last, messages=2) == messages(2, 3)
    assert journal.tail(last, messages=99) == messages(1, 2, 3)
    assert journal.tail(0, messages=5) == []


@pytest.mark.parametrize("body", [b"", b"junk", b"\x28\xb5\x2f\xfd"])
def test_a_damaged_row_is_passed_over_with_its_reason(
    database: Database, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    journal = Journal(database)
    for number in (1, 2, 3):
        journal.append(messages(number))
    with database.transaction() as connection:
        connection.execute("UPDATE journal SET body = ? WHERE position = 2", (body,))
    first, damaged, last = journal.read(0, rows=10)
    assert (first.messages, damaged.messages, last.messages) == (messages(1), [], messages(3))
    assert damaged.damaged
    assert "journal row 2 cannot be read" in caplog.text


def test_a_flipped_bit_in_a_row_is_found(database: Database) -> None:
    journal = Journal(database)
    journal.append(messages(*range(50)))
    ((body,),) = database.rows("SELECT body FROM journal")
    flipped = bytearray(body)
    flipped[len(body) // 2] ^= 1
    with database.transaction() as connection:
        connection.execute("UPDATE journal SET body = ?", (bytes(flipped),))
    (entry,) = journal.read(0, rows=1)
    assert entry.damaged
