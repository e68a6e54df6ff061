"""Recognise a message that was delivered before: MQTT's QoS 1 means at least once."""

from __future__ import annotations

from collections import deque
from hashlib import blake2b

from appliance.records import Message


class RecentMessages:
    """The last messages, by topic and payload.

    A payload that carries its source's time never comes twice on purpose, so topic and payload together identify a
    message. The packet id does not (it is used again) and neither does the DUP flag (a sender may repeat without it).

    Parameters
    ----------
    capacity
        How many messages back a repeat is recognised. Ten bytes of memory each, and a hundred of Python's.

    Examples
    --------
    >>> recent = RecentMessages(2)
    >>> [recent.seen(Message(b"t", payload, 0.0)) for payload in (b"1", b"2", b"1", b"3", b"4", b"1")]
    [False, False, True, False, False, False]
    """

    def __init__(self, capacity: int) -> None:
        self._order: deque[bytes] = deque()
        self._known: set[bytes] = set()
        self._capacity = capacity

    def seen(self, message: Message) -> bool:
        """Remember a message; tell whether it was remembered already."""
        digest = blake2b(message.topic + b"\0" + message.payload, digest_size=10).digest()
        if digest in self._known:
            return True
        self._known.add(digest)
        self._order.append(digest)
        if len(self._order) > self._capacity:
            self._known.discard(self._order.popleft())
        return False
