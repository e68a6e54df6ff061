"""Commit what arrives, then acknowledge it: the thread between inbox and journal."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from appliance.errors import DiskFull
from appliance.ingest.inbox import Arrival, Inbox
from appliance.store.journal import Journal

log = logging.getLogger(__name__)

PAUSE_WHEN_FULL_SECS = 2.0


class Recorder:
    """Writes batches to the journal and acknowledges them after the fsync.

    Parameters
    ----------
    acknowledge
        Called with each batch once it is durable.
    resume
        Called after each batch: there is room again.
    committed
        Called after each batch: there is something to read.
    flush_secs
        Longest a message waits for its commit.
    batch_messages
        Most messages in one commit.
    """

    def __init__(
        self,
        inbox: Inbox,
        journal: Journal,
        *,
        acknowledge: Callable[[Sequence[Arrival]], None],
        resume: Callable[[], None],
        committed: Callable[[], None],
        flush_secs: float,
        batch_messages: int,
    ) -> None:
        self._inbox = inbox
        self._journal = journal
        self._acknowledge = acknowledge
        self._resume = resume
        self._committed = committed
        self._flush_secs = flush_secs
        self._batch_messages = batch_messages
        self._stopping = threading.Event()
        self._held = False
        self._disk_full = False
        self.beat = time.monotonic()
        """When the loop last came round."""

    @property
    def full(self) -> bool:
        """There is no room: nothing is acknowledged until there is."""
        return self._held or self._disk_full

    def run(self) -> None:
        """Record until :meth:`stop`, then once more what is left. An error other than a full disk ends it."""
        while not self._stopping.is_set():
            self._inbox.wait(self._flush_secs)
            self.beat = time.monotonic()
            self.flush()
        self.flush()

    def stop(self) -> None:
        """Ask :meth:`run` to finish."""
        self._stopping.set()
        self._inbox.wake()

    def hold(self, held: bool) -> None:
        """Stop or resume intake by order of whoever watches the space."""
        if held != self._held:
            log.warning("intake %s", "held: the database is near storage.max_mb" if held else "resumed")
        self._held = held

    def flush(self) -> None:
        """Commit and acknowledge all that waits."""
        if self._held:
            return
        while arrivals := self._inbox.take(self._batch_messages):
            if not self._commit(arrivals):
                return
            self._acknowledge(arrivals)
            self._committed()
            self.beat = time.monotonic()
        self._resume()

    def _commit(self, arrivals: Sequence[Arrival]) -> bool:
        messages = [arrival.message for arrival in arrivals]
        while True:
            try:
                self._journal.append(messages)
            except DiskFull as error:
                if not self._disk_full:
                    log.error("intake held: %s", error)
                self._disk_full = True
                self.beat = time.monotonic()
                if self._stopping.wait(PAUSE_WHEN_FULL_SECS):
                    return False  # never acknowledged, so the broker keeps them
            else:
                if self._disk_full:
                    log.warning("intake resumed: there is room again")
                self._disk_full = False
                return True
