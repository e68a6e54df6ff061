"""The bounded hand-over from the network thread to the recorder."""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from appliance.records import Message


class Arrival(NamedTuple):
    """A message with what is needed to acknowledge it."""

    message: Message
    qos: int
    packet_id: int
    epoch: int
    """The connection it came over: an acknowledgement on any other would be for somebody else's message."""


class Inbox:
    """One thread puts, one takes. Neither ever waits for the other.

    Parameters
    ----------
    flush_messages, flush_bytes
        The taker is woken when this much waits.
    capacity_messages, capacity_bytes
        Beyond this nothing is accepted: the message stays unacknowledged with the broker.
    """

    def __init__(self, *, flush_messages: int, flush_bytes: int, capacity_messages: int, capacity_bytes: int) -> None:
        self._arrivals: deque[Arrival] = deque()
        self._flush_messages = flush_messages
        self._flush_bytes = flush_bytes
        self._capacity_messages = capacity_messages
        self._capacity_bytes = capacity_bytes
        self._bytes_in = 0  # written by the putting thread only
        self._bytes_out = 0  # written by the taking thread only
        self._enough = threading.Event()
        self.refused = 0
        """Messages turned away for want of room; they come again when the connection is made anew."""

    def put(self, arrival: Arrival) -> bool:
        """Add an arrival; False where there is no room."""
        size = len(arrival.message.payload) + len(arrival.message.topic)
        waiting_bytes = self._bytes_in - self._bytes_out
        waiting = len(self._arrivals)
        if waiting and (waiting >= self._capacity_messages or waiting_bytes + size > self._capacity_bytes):
            self.refused += 1
            self._enough.set()
            return False
        self._bytes_in += size
        self._arrivals.append(arrival)
        if waiting + 1 >= self._flush_messages or waiting_bytes + size >= self._flush_bytes:
            self._enough.set()
        return True

    def has_room(self) -> bool:
        """Whether reading may go on: half of the capacity is left for what is on its way already."""
        waiting_bytes = self._bytes_in - self._bytes_out
        return 2 * len(self._arrivals) < self._capacity_messages and 2 * waiting_bytes < self._capacity_bytes

    def wait(self, secs: float) -> None:
        """Wait until there is enough for a commit, or for so long."""
        self._enough.wait(secs)
        self._enough.clear()

    def wake(self) -> None:
        """End a :meth:`wait` now."""
        self._enough.set()

    def take(self, limit: int) -> list[Arrival]:
        """Take out what is there, oldest first, at most ``limit``."""
        count = min(len(self._arrivals), limit)
        taken = [self._arrivals.popleft() for _ in range(count)]
        self._bytes_out += sum(len(arrival.message.payload) + len(arrival.message.topic) for arrival in taken)
        return taken

    def __len__(self) -> int:
        return len(self._arrivals)
