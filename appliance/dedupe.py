"""Recognise a message that was delivered before: MQTT's QoS 1 means at least once."""

from __future__ import annotations

from collections import deque

from appliance.records import Message


class RecentMessages:
    """The last messages, by topic and payload.

    A payload that carries its source's time never comes twice on purpose, so topic and payload together identify a
    message. The packet id does not (it is used again) and neither does the DUP flag (a sender may repeat without it).

    Parameters
    ----------
    capacity
        How many messages back a repeat is recognised; about 200 bytes of memory each.

    Examples
    --------
    >>> recent = RecentMessages(2)
    >>> [recent.seen(Message(b"t", payload, 0.0)) for payload in (b"1", b"2", b"1", b"3", b"4", b"1")]
    [False, False, True, False, False, False]
    """

    def __init__(self, capacity: int) -> None:
        self._order: deque[int] = deque()
        self._known: set[int] = set()
        self._capacity = capacity

    def seen(self, message: Message) -> bool:
        """Remember a message; tell whether it was remembered already."""
        # 64 bits under a key drawn at each start (PEP 456): nobody can make two messages look alike, and what was
        # remembered before a restart is read from the journal again.
        digest = hash((message.topic, message.payload))
        if digest in self._known:
            return True
        self._known.add(digest)
        self._order.append(digest)
        if len(self._order) > self._capacity:
            self._known.discard(self._order.popleft())
        return False
