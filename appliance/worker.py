"""Drive the pipeline with the journal and store what comes out: the thread between journal and logs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from appliance.errors import DiskFull
from appliance.explain import REFIT_IN_WORDS
from appliance.outcome import Outcome
from appliance.pipeline import Pipeline
from appliance.records import Command, Message
from appliance.store.database import CHECKPOINT, WORKER
from appliance.store.journal import Journal
from appliance.store.results import Results

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 8
COMMIT_MESSAGES = 2000
"""Most messages between two commits: bounds memory and what a crash makes us do again."""
COMMIT_SECS = 0.5
"""Longest a score waits for its commit."""
IDLE_COMMIT_SECS = 10.0
"""Longest the cursor lags where no window closed: each commit costs flash, and nothing would be lost without it."""
CHECKPOINT_MESSAGES = 20_000
"""Messages between two checkpoints: about two seconds of replay after a crash."""
CHECKPOINT_SECS = 600.0
PAUSE_WHEN_FULL_SECS = 2.0


class Interrupted(Exception):  # noqa: N818 - nothing is wrong
    """The service stops, and what is being waited for is no longer wanted."""


class Worker:
    """Reads the journal from the last checkpoint on.

    What lies between the checkpoint and the cursor was stored before the restart: it is processed again to bring the
    machines' state up to date, and its outcome is thrown away. From the cursor on, everything is new.

    Parameters
    ----------
    send
        Takes commands for sources, such as a request for a new birth certificate.
    """

    def __init__(
        self, pipeline: Pipeline, journal: Journal, results: Results, send: Callable[[Sequence[Command]], None]
    ) -> None:
        self._pipeline = pipeline
        self._journal = journal
        self._results = results
        self._send = send
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._outcome = Outcome()
        self._waiting = 0  # messages in the outcome
        self._since_checkpoint = 0
        self._checkpoint_at = time.monotonic()
        self._commit_at = time.monotonic()
        self.position = 0
        """Last journal row processed."""
        self.stored = 0
        """Last journal row whose outcome is stored."""
        self.checkpointed = 0
        """Journal row at which the stored states stand: nothing before it is needed again, but for repeats."""
        self.beat = time.monotonic()
        """When the loop last came round."""

    def restore(self, remembered: int) -> dict[str, str]:
        """Load the last checkpoint and catch up with the cursor; return machines that could not be kept, and why."""
        self.stored = self._results.position(WORKER)
        self.position = self.checkpointed = self._results.position(CHECKPOINT)
        dropped = self._pipeline.restore(*self._results.load())
        self._pipeline.remember(self._journal.tail(self.position, messages=remembered))
        while self.position < self.stored and self._step():
            pass
        return dropped

    def run(self) -> None:
        """Work until :meth:`stop`, then store everything and a last checkpoint."""
        try:
            while not self._stopping.is_set():
                self.beat = time.monotonic()
                if not self._step():
                    self._wake.wait(COMMIT_SECS)
                    self._wake.clear()
                self._commit_when_due()
        except Interrupted:  # half way through a journal row: as after a crash, the next start does it again
            log.info("stopped while a head was being made of labels; the next start makes it")
        else:
            self._commit(checkpoint=True)

    def stop(self) -> None:
        """Ask :meth:`run` to finish; what it has not read stays in the journal."""
        self._stopping.set()
        self._wake.set()

    def wait(self) -> None:
        """Show life while what has a limit of its own is waited for; raises `Interrupted` where we are to stop."""
        self.beat = time.monotonic()
        if self._stopping.is_set():
            raise Interrupted

    def wake(self) -> None:
        """Say that the journal has something new."""
        self._wake.set()

    def _step(self) -> bool:
        entries = self._journal.read(self.position, rows=ROWS_AT_ONCE)
        for entry in entries:
            is_new = entry.position > self.stored
            self._pipeline.process(self._beating(entry.messages), self._outcome if is_new else Outcome())
            self.position = entry.position
            self._since_checkpoint += len(entry.messages)
            if is_new:
                self._waiting += len(entry.messages)
                self._outcome.counts["", "journal_rows_damaged"] += entry.damaged is not None
            if self._waiting >= COMMIT_MESSAGES:
                self._commit(checkpoint=self._checkpoint_due())
        return bool(entries)

    def _beating(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Show life with every message: one label takes up to a second, and a row may hold many."""
        for message in messages:
            self.beat = time.monotonic()
            yield message
        self.beat = time.monotonic()

    def _commit_when_due(self) -> None:
        outcome, waited = self._outcome, time.monotonic() - self._commit_at
        has_news = bool(outcome.scores or outcome.alerts or outcome.quarantined or outcome.models or outcome.commands)
        checkpoint = self._checkpoint_due()
        if checkpoint or (self._waiting and waited > (COMMIT_SECS if has_news else IDLE_COMMIT_SECS)):
            self._commit(checkpoint=checkpoint)

    def _checkpoint_due(self) -> bool:
        if self.position == self.checkpointed:
            return False
        if self._outcome.models or self._outcome.attempts:  # either takes a while: not again after the next restart
            return True
        age = time.monotonic() - self._checkpoint_at
        return self._since_checkpoint >= CHECKPOINT_MESSAGES or age > CHECKPOINT_SECS

    def _commit(self, *, checkpoint: bool) -> None:
        states = self._pipeline.checkpoint() if checkpoint else None
        while True:
            try:
                self._results.commit(self._outcome, self.position, states)
                break
            except DiskFull as error:
                log.error("results held: %s", error)
                self.beat = time.monotonic()
                if self._stopping.wait(PAUSE_WHEN_FULL_SECS):
                    return  # the journal still has it all
        for name, model in self._outcome.models.items():
            reason = self._outcome.statuses[name]["refit_reason"]
            why = "after its warm-up" if reason is None else REFIT_IN_WORDS[reason]
            log.info("%s: learned %s, model %d", name, why, model.version)
        for label in self._outcome.labels:
            who, note = label.said_by or "somebody", f": {label.note}" if label.note else ""
            log.info("%s: label %s, %s, by %s via %s%s", label.machine, label.id, label.verdict, who, label.via, note)
        for head in self._outcome.heads:
            log.info("%s: head %d in service: %s", head.machine, head.number, head.words)
        for attempt in self._outcome.attempts:
            if attempt.failed:
                log.warning("%s: %s", attempt.machine, attempt.vetoed)
        self._send(self._outcome.commands)
        self.stored = self.position
        self._outcome = Outcome()
        self._waiting = 0
        self._commit_at = time.monotonic()
        if checkpoint:
            self.checkpointed = self.position
            self._since_checkpoint = 0
            self._checkpoint_at = time.monotonic()
