from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.dedupe import RecentMessages
from appliance.records import Message


def message(topic: bytes, payload: bytes, at: float = 0.0) -> Message:
    return Message(topic, payload, at)


def test_a_repeat_is_known_by_topic_and_payload_whenever_it_comes() -> None:
    recent = RecentMessages(10)
    assert not recent.seen(message(b"t", b"1", 5.0))
    assert recent.seen(message(b"t", b"1", 9.0))
    assert not recent.seen(message(b"t", b"2"))
    assert not recent.seen(message(b"u", b"1"))


def test_topic_and_payload_do_not_run_into_each_other() -> None:
    recent = RecentMessages(10)
    assert not recent.seen(message(b"ab", b"c"))
    assert not recent.seen(message(b"a", b"bc"))


@given(st.lists(st.binary(min_size=1, max_size=1), max_size=200), st.integers(1, 20))
def test_it_knows_exactly_the_last_messages_and_forgets_the_others(payloads: list[bytes], capacity: int) -> None:
    recent = RecentMessages(capacity)
    window: list[bytes] = []
    for payload in payloads:
        assert recent.seen(message(b"t", payload)) == (payload in window)
        if payload not in window:
            window = [*window, payload][-capacity:]
    assert len(recent._known) == len(recent._order) <= capacity
