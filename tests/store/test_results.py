from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import apsw
import msgspec
import numpy as np
import pytest

from appliance.archive import KEPT_HEADS
from appliance.errors import StoreError
from appliance.outcome import Attempt, Block, HeadRecord, Model, Outcome, Quarantined, TraceBlock
from appliance.records import Alert, Label, Message, Score, Signal
from appliance.store import queries
from appliance.store.database import CHECKPOINT, WORKER, Database, set_cursor
from appliance.store.journal import Journal
from appliance.store.logs import Logs
from appliance.store.results import QUARANTINED_BYTES, Results, encode_body
from appliance.store.retention import DAY_SECS, KEPT_ROWS, Limits, Retention
from appliance.store.schema import MIGRATIONS

NOW = 1_767_571_200.0
SCORE = Score(
    machine="m", source="s", start=NOW, end=NOW + 16, score=2.5, threshold=4.0, alarm=False, trust="prior", blank=None,
    extrapolated=True, coverage=0.75, model=3, evidence={"level": 1.5}, contributions={"a": 0.25, "b": 0.75},
    signals={"a": Signal(1.5, -2.0, 4.0), "c": Signal(0.0, 0.0, 0.0)}, sensor_faults={"c": "stuck"}, head=2,
)  # fmt: skip
LEARNING = replace(SCORE, score=None, threshold=None, trust="learning", blank="learning", evidence={}, contributions={})
ALERT = Alert("m-1", "m", "open", NOW, NOW + 8, NOW + 8, None, 5.0, 4.0, {"a": 1.0}, {"level": 9.0}, "Hot.")
LIMITS = Limits(
    max_bytes=2**40, journal_secs=DAY_SECS, samples_secs=DAY_SECS, scores_secs=DAY_SECS, remembered_messages=2
)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "appliance.db")


def later(score: Score, secs: float) -> Score:
    return replace(score, start=score.start + secs, end=score.end + secs)


def test_logs_give_back_exactly_the_scores_that_were_stored(database: Database) -> None:
    Results(database).commit(Outcome(scores=[SCORE, later(LEARNING, 8)]), 1)
    assert [score for _, score in Logs(database).scores(0, 10)] == [SCORE, later(LEARNING, 8)]
    ((position, _),) = Logs(database).scores(0, 1)
    assert [score for _, score in Logs(database).scores(position, 10)] == [later(LEARNING, 8)]


def test_scores_and_alerts_stored_before_the_sensor_check_are_read(database: Database) -> None:
    Results(database).commit(Outcome(scores=[SCORE], alerts=[ALERT]), 1)
    older = msgspec.to_builtins(ALERT)
    del older["kind"], older["sensor_fault"]
    with database.transaction() as connection:
        ((body,),) = connection.execute("SELECT body FROM scores")
        parts = msgspec.msgpack.decode(body)[:3]
        connection.execute("UPDATE scores SET body = ?", (msgspec.msgpack.encode(parts),))
        connection.execute("UPDATE alerts SET body = ?", (msgspec.msgpack.encode(older),))
    assert [score for _, score in Logs(database).scores(0, 10)] == [replace(SCORE, sensor_faults={})]
    assert queries.alerts(database) == [ALERT]


def test_logs_give_back_every_change_of_an_alert_and_queries_its_last_state(database: Database) -> None:
    closed = replace(ALERT, state="closed", closed_at=NOW + 99)
    Results(database).commit(Outcome(alerts=[ALERT, closed]), 1)
    assert [alert for _, alert in Logs(database).alerts(0, 10)] == [ALERT, closed]
    assert queries.alerts(database) == [closed]
    assert queries.alerts(database, open_only=True) == queries.alerts(database, machine="other") == []


def test_a_label_is_stored_once_and_given_back_in_the_order_of_its_coming(database: Database) -> None:
    first = Label("b", "m", "fault", NOW, NOW + 60, NOW + 90, said_by="maria", fault="bearing")
    second = replace(first, id="a", verdict="bad_sensor", end=None, channel="temp", fault=None, cleared=True)
    results = Results(database)
    results.commit(Outcome(labels=[first, second]), 1)
    results.commit(Outcome(labels=[replace(first, note="again"), replace(first, machine="n")]), 2)
    given = [label for _, label in Logs(database).labels(0, 10)]
    assert given == [first, second, replace(first, machine="n")]
    assert queries.labels(database, machine="m") == [second, first]
    assert queries.labels(database, limit=1) == [replace(first, machine="n")]


def test_attempts_are_given_back_as_they_were_in_order(database: Database) -> None:
    taken = Attempt("m", NOW, "label", "7", 3, 2, "catches 1 of 1", None, 1, 0, 1, 0.5, 0.25)
    back = Attempt("m", NOW + 8, "rollback", None, 4, 0, "back to what it was before any label")
    Results(database).commit(Outcome(attempts=[taken, back]), 1)
    assert [attempt for _, attempt in Logs(database).attempts(0, 10)] == [taken, back]


def test_scores_stored_before_heads_were_numbered_are_read(tmp_path: Path) -> None:
    path = tmp_path / "older.db"
    older = apsw.Connection(str(path))
    for statements in MIGRATIONS[:2]:
        older.execute(statements)
    older.pragma("user_version", 2)
    names = ("a", "b", "c")
    older.execute("INSERT INTO channel_sets VALUES (1, ?)", (msgspec.json.encode(names).decode(),))
    older.execute(
        "INSERT INTO scores VALUES (1, 'm', 's', ?, ?, 2.5, 4.0, 0, 'prior', NULL, 1, 0.75, 3, 1, ?)",
        (SCORE.start, SCORE.end, encode_body(SCORE, names)),
    )
    older.close()
    database = Database(path)
    Results(database).commit(Outcome(scores=[later(SCORE, 8)]), 1)
    assert [score for _, score in Logs(database).scores(0, 10)] == [replace(SCORE, head=0), later(SCORE, 8)]


def test_an_outcome_is_stored_whole_or_not_at_all(database: Database) -> None:
    results = Results(database)
    results.commit(Outcome(scores=[SCORE]), 1)
    outcome = Outcome(scores=[later(SCORE, 8)], alerts=[ALERT])
    outcome.counts["m", "readings_placed"] = 2**70  # no integer of the database's
    with pytest.raises((StoreError, OverflowError)):
        results.commit(outcome, 2, {"machine/m": {"a": 1}})
    assert len(Logs(database).scores(0, 10)) == 1
    assert queries.alerts(database) == []
    assert queries.counters(database) == {}
    assert (results.position(WORKER), results.position(CHECKPOINT), results.load()[0]) == (1, 0, {})


def test_states_models_and_history_come_back(database: Database) -> None:
    results = Results(database)
    block = Block("m", NOW, ("a", "b"), np.array([[1, np.nan], [2, 3]], dtype=np.float32))
    outcome = Outcome(blocks=[block._replace(start=NOW + 2), block], models={"m": Model(4, {"w": np.arange(3.0)})})
    results.commit(outcome, 5, {"machine/m": {"n": 1}})
    results.commit(Outcome(), 6)
    states, models = results.load()
    assert states == {"machine/m": {"n": 1}}
    assert (models["m"].version, models["m"].state["w"].tolist()) == (4, [0.0, 1.0, 2.0])
    assert (results.position(WORKER), results.position(CHECKPOINT)) == (6, 5)
    first, second = results.history("m", 0.0, math.inf)
    assert (first.start, second.start, first.channels) == (NOW, NOW + 2, ("a", "b"))
    np.testing.assert_array_equal(first.values, block.values)
    assert [block.start for block in results.history("m", NOW, NOW + 2)] == [NOW]
    assert [block.start for block in results.history("m", NOW + 1, math.inf)] == [NOW + 2]
    assert results.history("other", 0.0, math.inf) == []


def trace(at: float, model: int = 4) -> TraceBlock:
    ends = np.array([at, at + 8])
    return TraceBlock("m", model, ends, np.ones(2, dtype=np.float32), np.arange(6, dtype=np.float16).reshape(2, 3))


def test_traces_come_back_and_go_with_the_fit_that_saw_them(database: Database) -> None:
    results = Results(database)
    results.commit(Outcome(traces=[trace(NOW + 16), trace(NOW), trace(NOW, model=3)]), 1)
    first, second = results.traces("m", 4, 0.0, math.inf)
    assert (first.ends.tolist(), second.ends[0], first.traits.dtype.name) == ([NOW, NOW + 8], NOW + 16, "float16")
    np.testing.assert_array_equal(first.traits, trace(NOW).traits)
    assert [block.ends[0] for block in results.traces("m", 4, NOW, NOW + 16)] == [NOW]
    assert results.traces("other", 4, 0.0, math.inf) == []
    results.commit(Outcome(traces=[trace(NOW, model=5)], models={"m": Model(5, {})}), 2)
    assert database.rows("SELECT model FROM traces") == [(5,)]


def test_the_last_heads_are_kept_whole(database: Database) -> None:
    results = Results(database)
    for number in range(1, KEPT_HEADS + 3):
        results.commit(Outcome(heads=[HeadRecord("m", number, "better", {"w": np.arange(number)})]), number)
    assert results.head("m", 2) is None
    kept = results.head("m", 3)
    assert kept is not None
    assert (kept.words, kept.state["w"].tolist()) == ("better", [0, 1, 2])
    assert results.head("other", 3) is None


def test_the_fit_in_service_is_read_again(database: Database) -> None:
    results = Results(database)
    assert results.model("m") is None
    results.commit(Outcome(models={"m": Model(4, {"w": np.arange(2)})}), 1)
    found = results.model("m")
    assert found is not None
    assert (found.version, found.state["w"].tolist()) == (4, [0, 1])


def test_counters_add_up_and_status_accounts_for_all(database: Database) -> None:
    results = Results(database)
    Journal(database).append([Message(b"t", b"1", NOW)] * 5)
    for position in (0, 1):
        outcome = Outcome()
        for name, value in {"received": 5, "placed": 3, "late": 1, "quarantined": 1}.items():
            outcome.counts["m", f"readings_{name}"] = value
        outcome.counts["", "quarantined_not_json"] = 1
        outcome.counts["", "messages_received"] = 2
        results.commit(outcome, position)
    found = queries.status(database)
    assert found["readings"] == {"received": 10, "placed": 6, "late": 2, "duplicate": 0, "quarantined": 2}
    assert found["refused"] == {"not_json": 2}
    assert found["messages"] == {"journaled": 4, "processed": 4, "quarantined": 0, "backlog": 0}


def test_a_quarantined_message_is_kept_with_its_reason_and_cut(database: Database) -> None:
    huge = Quarantined(Message(b"t/\xff", b"\xff" * 9999, NOW), "not_json", "why", 1)
    Results(database).commit(Outcome(quarantined=[huge]), 1)
    (entry,) = queries.quarantine(database)
    assert (entry["topic"], entry["reason"], entry["detail"]) == ("t/\\xff", "not_json", "why")
    assert len(entry["payload"]) == QUARANTINED_BYTES * len("\\xff")


def filled(database: Database) -> Results:
    """Ten days of scores and blocks, ten journal rows of one message, processed up to row 8 with a checkpoint at 6."""
    results, journal = Results(database), Journal(database)
    for day in range(10):
        journal.append([Message(b"t", b"%d" % day, NOW + day * DAY_SECS)])
        block = Block("m", NOW + day * DAY_SECS, ("a",), np.zeros((1, 8), dtype=np.float32))
        traces = [trace(NOW + day * DAY_SECS)]
        results.commit(Outcome(scores=[later(SCORE, day * DAY_SECS)], blocks=[block], traces=traces), 8)
    with database.transaction() as connection:
        set_cursor(connection, CHECKPOINT, 6)
    return results


def test_retention_by_age_keeps_what_is_undelivered_or_needed_again(database: Database) -> None:
    results = filled(database)
    with database.transaction() as connection:
        set_cursor(connection, "influxdb/scores", 4)
    Retention(database, LIMITS).enforce(("influxdb/scores",), now=NOW + 100 * DAY_SECS)
    assert [position for position, _ in Logs(database).scores(0, 99)] == [5, 6, 7, 8, 9, 10]
    assert [entry.position for entry in Journal(database).read(0, rows=99)] == [5, 6, 7, 8, 9, 10]
    assert len(results.history("m", 0.0, math.inf)) == 2  # a day back from the machine's own newest
    assert len(results.traces("m", 4, 0.0, math.inf)) == 2


def test_retention_deletes_nothing_that_is_young(database: Database) -> None:
    results = filled(database)
    limits = replace(LIMITS, journal_secs=30 * DAY_SECS, samples_secs=30 * DAY_SECS, scores_secs=30 * DAY_SECS)
    Retention(database, limits).enforce((), now=NOW + 10 * DAY_SECS)
    assert len(Logs(database).scores(0, 99)) == len(results.history("m", 0.0, math.inf)) == 10
    assert len(Journal(database).read(0, rows=99)) == 10


def test_what_is_kept_for_people_to_read_does_not_grow_for_ever(database: Database) -> None:
    attempts = [Attempt("m", NOW + number, "label", str(number), number, number, "") for number in range(KEPT_ROWS + 2)]
    refused = [Quarantined(Message(b"t", b"", NOW), "topic_unknown", "", 1) for _ in attempts]
    Results(database).commit(Outcome(attempts=attempts, quarantined=refused), 1)
    Retention(database, LIMITS).enforce((), now=NOW)
    assert [attempt.head for _, attempt in Logs(database).attempts(0, 3)] == [2, 3, 4]
    for table in ("attempts", "quarantine"):
        assert database.rows(f"SELECT count(*) FROM {table}") == [(KEPT_ROWS,)]


def test_under_pressure_the_oldest_delivered_rows_go_before_their_time(database: Database) -> None:
    results = filled(database)
    with database.transaction() as connection:
        set_cursor(connection, "influxdb/scores", 1)
    limits = Limits(1, 1e9, 1e9, 1e9, 2)
    retention = Retention(database, limits)
    assert retention.must_hold()
    for _ in range(3):
        retention.enforce(("influxdb/scores",), now=NOW)
    assert [position for position, _ in Logs(database).scores(0, 99)] == list(range(2, 11))
    assert [entry.position for entry in Journal(database).read(0, rows=99)] == [5, 6, 7, 8, 9, 10]
    assert 0 < len(results.history("m", 0.0, math.inf)) < 10
    assert 0 < len(results.traces("m", 4, 0.0, math.inf)) < 10
    assert not Retention(database, replace(limits, max_bytes=2**40)).must_hold()
