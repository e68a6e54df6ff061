"""Carry one log to one sink: from a cursor, in order, again and again until it is delivered or refused for good."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from appliance.errors import DiskFull, Refused, Rejected, Retry
from appliance.store.logs import Logs

log = logging.getLogger(__name__)

Record = TypeVar("Record")
Parcel = TypeVar("Parcel")
Sent_contra = TypeVar("Sent_contra", contravariant=True)

LONGEST_PAUSE_SECS = 60.0
LONGEST_ASKED_SECS = 900.0
"""A sink may ask for a longer pause than we would make, but not for a day."""
HELD_PAUSE_SECS = 30.0
"""How often a sink that refuses us is tried again: soon after somebody mended it, without a storm until then."""


class Sink(Protocol[Sent_contra]):
    """Somewhere results go. Writing the same thing twice must do no harm."""

    def write(self, batch: Sequence[Sent_contra]) -> None:
        """Deliver a batch, or raise ``Retry``, ``Rejected`` or ``Refused``."""


@dataclass(slots=True)
class Delivery:
    """How a courier's work stands."""

    delivered: int = 0
    buried: int = 0
    problem: str | None = None
    """What is wrong now; None while all goes well."""
    held: bool = False
    """The sink refuses us until somebody mends the set-up."""


class Courier(Generic[Record, Parcel]):
    """Reads records after its cursor, turns them into parcels, hands them to the sink.

    A refused batch is halved until the bad parcel is found; that one is kept among the dead letters, the rest is
    delivered.

    Parameters
    ----------
    name
        Of the cursor and the dead letters, such as ``influxdb/scores``.
    read
        ``(after, limit) → [(position, record)]``.
    parcels
        What one record becomes.
    """

    def __init__(
        self,
        name: str,
        *,
        logs: Logs,
        read: Callable[[int, int], list[tuple[int, Record]]],
        parcels: Callable[[Record], list[Parcel]],
        sink: Sink[Parcel],
        batch_records: int,
        idle_secs: float = 1.0,
        longest_pause_secs: float = LONGEST_PAUSE_SECS,
    ) -> None:
        self.name = name
        self.state = Delivery()
        self._logs = logs
        self._read = read
        self._parcels = parcels
        self._sink = sink
        self._batch_records = batch_records
        self._idle_secs = idle_secs
        self._longest_pause_secs = longest_pause_secs
        self._stopping = threading.Event()

    def run(self) -> None:
        """Deliver until :meth:`stop`; a batch under way is finished first."""
        failures = 0
        while not self._stopping.is_set():
            try:
                pause = 0.0 if self.deliver_next() else self._idle_secs
                failures = 0
                self.state.problem, self.state.held = None, False
            except Retry as error:
                failures += 1
                self._complain(str(error), held=False)
                pause = self._pause(failures, error.after_secs)
            except DiskFull as error:  # the cursor could not move; what was delivered is delivered again, to no harm
                failures += 1
                self._complain(str(error), held=False)
                pause = self._pause(failures, None)
            except Refused as error:
                self._complain(str(error), held=True)
                pause = min(HELD_PAUSE_SECS, self._longest_pause_secs)
            if pause:
                self._stopping.wait(pause)

    def stop(self) -> None:
        """Ask :meth:`run` to finish."""
        self._stopping.set()

    def deliver_next(self) -> bool:
        """Deliver one batch; False where there is nothing to deliver."""
        records = self._read(self._logs.position(self.name), self._batch_records)
        if not records:
            return False
        parcels = [parcel for _, record in records for parcel in self._parcels(record)]
        dead = self._write(parcels)
        position = records[-1][0]
        if dead:
            self._logs.bury(self.name, dead, self.name, position)
        else:
            self._logs.advance(self.name, position)
        self.state.delivered += len(parcels) - len(dead)
        self.state.buried += len(dead)
        return True

    def _write(self, parcels: Sequence[Parcel]) -> list[tuple[str, str]]:
        if not parcels:
            return []
        try:
            self._sink.write(parcels)
        except Rejected as error:
            if len(parcels) == 1:
                log.error("%s: refused for good: %s: %s", self.name, error, parcels[0])
                return [(str(error), str(parcels[0]))]
            middle = len(parcels) // 2
            return self._write(parcels[:middle]) + self._write(parcels[middle:])
        return []

    def _complain(self, problem: str, *, held: bool) -> None:
        if self.state.problem != problem:
            log.warning("%s: %s: %s", self.name, "held until mended" if held else "will try again", problem)
        self.state.problem, self.state.held = problem, held

    def _pause(self, failures: int, asked_secs: float | None) -> float:
        pause = random.uniform(0.5, 1.0) * min(2.0 ** min(failures, 10), self._longest_pause_secs)
        return pause if asked_secs is None else max(pause, min(asked_secs, LONGEST_ASKED_SECS))
