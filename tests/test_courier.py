from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.courier import Courier
from appliance.errors import Refused, Rejected, Retry
from appliance.store import queries
from appliance.store.database import Database
from appliance.store.logs import Logs

NAME = "sink/log"


class Receiver:
    """A sink that refuses a batch with a bad parcel in it, and whatever else it is told."""

    def __init__(self, bad: AbstractSet[str] = frozenset(), fail: Callable[[], None] = lambda: None) -> None:
        self.bad = bad
        self.fail = fail
        self.received: list[str] = []

    def write(self, batch: Sequence[str]) -> None:
        self.fail()
        if self.bad & set(batch):
            raise Rejected(f"{len(batch)} refused")
        self.received += batch


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(Database(tmp_path / "appliance.db"))


def courier(logs: Logs, sink: Receiver, records: int = 20, batch: int = 8) -> Courier[int, str]:
    """Carries the numbers from 1 on, each as two parcels."""
    return Courier(
        NAME,
        logs=logs,
        read=lambda after, limit: [(n, n) for n in range(after + 1, min(after + limit, records) + 1)],
        parcels=lambda number: [f"{number}a", f"{number}b"],
        sink=sink,
        batch_records=batch,
        idle_secs=0.01,
        longest_pause_secs=0.05,
    )


def parcels(first: int, last: int) -> list[str]:
    return [f"{number}{letter}" for number in range(first, last + 1) for letter in "ab"]


def test_everything_is_delivered_once_in_order_batch_by_batch(logs: Logs) -> None:
    sink = Receiver()
    carrier = courier(logs, sink)
    assert [carrier.deliver_next() for _ in range(4)] == [True, True, True, False]
    assert sink.received == parcels(1, 20)
    assert (logs.position(NAME), carrier.state.delivered, carrier.state.buried) == (20, 40, 0)


@settings(deadline=None, max_examples=40)
@given(st.sets(st.sampled_from(parcels(1, 12))))
def test_exactly_the_bad_parcels_are_buried_and_the_others_delivered_in_order(
    tmp_path_factory: pytest.TempPathFactory, bad: set[str]
) -> None:
    database = Database(tmp_path_factory.mktemp("courier") / "appliance.db")
    sink = Receiver(bad)
    carrier = courier(Logs(database), sink, records=12)
    while carrier.deliver_next():
        pass
    assert sink.received == [parcel for parcel in parcels(1, 12) if parcel not in bad]
    letters = queries.dead_letters(database, limit=99)
    assert [letter["body"] for letter in reversed(letters)] == [parcel for parcel in parcels(1, 12) if parcel in bad]
    assert all((letter["sink"], letter["reason"]) == (NAME, "1 refused") for letter in letters)
    assert carrier.state.buried == len(bad)
    database.close()


@pytest.mark.parametrize("error", [Retry("busy"), Refused("401")])
def test_the_cursor_stays_until_the_sink_has_taken_it(logs: Logs, error: Exception) -> None:
    def fail() -> None:
        raise error

    sink = Receiver(fail=fail)
    carrier = courier(logs, sink)
    with pytest.raises(type(error)):
        carrier.deliver_next()
    assert logs.position(NAME) == 0
    sink.fail = lambda: None
    assert carrier.deliver_next()
    assert sink.received == parcels(1, 8)


def test_a_courier_that_starts_again_goes_on_where_the_last_one_stood(logs: Logs) -> None:
    courier(logs, Receiver()).deliver_next()
    sink = Receiver()
    courier(logs, sink).deliver_next()
    assert sink.received == parcels(9, 16)


@pytest.mark.parametrize(("error", "held"), [(Retry("busy"), False), (Refused("401"), True)])
def test_it_tells_its_problem_and_goes_on_when_that_has_passed(logs: Logs, error: Exception, held: bool) -> None:
    broken = threading.Event()
    broken.set()

    def fail() -> None:
        if broken.is_set():
            raise error

    sink = Receiver(fail=fail)
    carrier = courier(logs, sink)
    thread = threading.Thread(target=carrier.run)
    thread.start()
    try:
        wait_until(lambda: carrier.state.problem == str(error))
        assert carrier.state.held is held
        broken.clear()
        wait_until(lambda: logs.position(NAME) == 20 and carrier.state.problem is None)
    finally:
        carrier.stop()
        thread.join(5)
    assert not thread.is_alive()
    assert not carrier.state.held
    assert sink.received == parcels(1, 20)


def test_the_server_may_ask_for_a_longer_pause(logs: Logs) -> None:
    carrier = courier(logs, Receiver())
    assert carrier._pause(1, 30.0) == 30.0
    assert all(0 < carrier._pause(failures, None) <= 0.05 for failures in range(1, 100))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()
