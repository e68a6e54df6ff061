"""Run the appliance: the only file with threads, signals and the watchdog.

Sinks start first, then the worker, then the recorder, then the connection; they stop in reverse, each finishing what it
has. A part that dies takes the process with it: systemd starts it again, and nothing acknowledged is lost.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from appliance import assembly, systemd
from appliance.config import Settings
from appliance.errors import Retry, SinkError, StoreError
from appliance.ingest.inbox import Inbox
from appliance.ingest.mqtt import Subscriber
from appliance.recorder import Recorder
from appliance.records import Command
from appliance.store.database import Database
from appliance.store.journal import Journal
from appliance.store.logs import Logs
from appliance.store.results import Results
from appliance.store.retention import Retention
from appliance.worker import Worker

log = logging.getLogger(__name__)

TICK_SECS = 1.0
STATUS_SECS = 2.0
HOUSEKEEPING_SECS = 60.0
HUNG_SECS = 20.0
"""A loop that has not come round for so long is hung: the watchdog is not fed, and systemd ends us at 30 s."""
STOP_SECS = 8.0
INBOX_BYTES = 64 * 2**20
FLUSH_BYTES = 64 * 2**10


class Service:
    """All parts of one running appliance."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self._failed: str | None = None
        self._started_at = time.time()
        self._database = Database(settings.storage.database)
        results = Results(self._database)
        journal = Journal(self._database)
        limits = assembly.limits(settings)
        self._retention = Retention(self._database, limits)
        self._results = results
        self._pipeline = assembly.pipeline(settings, results, self._wait)
        self._worker = Worker(self._pipeline, Journal(self._database), results, self._send)
        window = settings.mqtt.receive_maximum
        self._inbox = Inbox(
            flush_messages=max(window // 2, 1),
            flush_bytes=FLUSH_BYTES,
            capacity_messages=4 * window,
            capacity_bytes=INBOX_BYTES,
        )
        self._subscriber = Subscriber(
            assembly.broker_options(settings), assembly.filters(settings), self._inbox.put, self._inbox.has_room
        )
        self._recorder = Recorder(
            self._inbox,
            journal,
            acknowledge=self._subscriber.acknowledge,
            resume=self._subscriber.resume,
            committed=self._worker.wake,
            flush_secs=settings.storage.flush_secs,
            batch_messages=window,
        )
        self._logs = Logs(self._database)
        self._outlets = assembly.outlets(settings, self._logs, self._subscriber.publish)
        self._threads: dict[str, threading.Thread] = {}

    def _wait(self) -> None:
        self._worker.wait()

    def run(self) -> int:
        """Run until a signal or a failure; return the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        dropped = self._worker.restore(assembly.limits(self._settings).remembered_messages)
        for name, reason in dropped.items():
            log.warning("%s: %s", name, reason)
        for notifier in self._outlets.notifiers:
            self._logs.join_alerts(notifier.name)
        for courier in self._outlets.couriers:
            self._start(courier.name, courier.run)
        self._start("worker", self._worker.run)
        self._start("recorder", self._recorder.run)
        self._subscriber.start()
        log.info("started: database %s, journal at %d", self._settings.storage.database, self._worker.stored)
        systemd.notify("READY=1")
        self._watch()
        self._stop()
        return 0 if self._failed is None else 1

    def _start(self, name: str, run: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                run()
            except BaseException as error:
                log.exception("%s ended", name)
                self._failed = f"{name}: {error}"
                self._stopping.set()

        self._threads[name] = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads[name].start()

    def _watch(self) -> None:
        status_at = housekeeping_at = 0.0
        while not self._stopping.wait(TICK_SECS):
            now = time.monotonic()
            if self._alive(now):
                systemd.notify("WATCHDOG=1", f"STATUS={self._summary()}")
            if not self._subscriber.alive:
                self._failed = "mqtt: its thread has ended"
                return
            if now - status_at >= STATUS_SECS:
                status_at = now
                self._write_status()
            if now - housekeeping_at >= HOUSEKEEPING_SECS:
                housekeeping_at = now
                self._housekeep()

    def _alive(self, now: float) -> bool:
        loops = now - self._worker.beat < HUNG_SECS and now - self._recorder.beat < HUNG_SECS
        return loops and self._subscriber.alive

    def _housekeep(self) -> None:
        try:
            readers = tuple(courier.name for courier in (self._outlets.scores,) if courier is not None)
            self._retention.enforce(readers)
            self._recorder.hold(self._retention.must_hold())
            self._results.add_vitals(self.vitals())
        except StoreError as error:
            log.error("housekeeping: %s", error)

    def vitals(self) -> dict[str, float]:
        """Return the appliance's own figures, as they go to InfluxDB."""
        rows = self._database.rows("SELECT name, sum(value) FROM counters GROUP BY name")
        counts = {name: float(value) for name, value in rows}
        return {
            "messages": counts.get("messages_received", 0.0),
            "readings": counts.get("readings_received", 0.0),
            "quarantined": counts.get("readings_quarantined", 0.0),
            "late": counts.get("readings_late", 0.0),
            "duplicate": counts.get("readings_duplicate", 0.0),
            "backlog": float(self._backlog()),
            "rss_mb": rss_mb(),
            "journal_mb": self._database.size_bytes() / 2**20,
        }

    def _backlog(self) -> int:
        """Messages in the journal that no score has come of yet."""
        query = "SELECT coalesce(sum(messages), 0) FROM journal WHERE position > ?"
        return int(self._database.rows(query, (self._worker.position,))[0][0]) + len(self._inbox)

    def _summary(self) -> str:
        health = self._subscriber.health()
        return f"{len(self._pipeline.machines)} machines; " + (
            "listening" if health.subscribed else f"{health.problem}"
        )

    def status(self) -> dict[str, Any]:
        """Return what only the running process knows; the rest is in the database."""
        health = self._subscriber.health()
        return {
            "pid": os.getpid(),
            "data_dir": str(self._settings.storage.data_dir.absolute()),
            "started_at": self._started_at,
            "updated_at": time.time(),
            "broker": {
                "connected": health.connected,
                "subscribed": health.subscribed,
                "problem": health.problem,
                "connections": health.connections,
                "sessions_lost": health.sessions_lost,
                "silent_secs": round(health.silent_secs, 1),
            },
            "intake_held": self._recorder.full,
            "backlog": self._backlog(),
            "rss_mb": round(rss_mb(), 1),
            "cpu_secs": round(time.process_time(), 2),
            "outlets": {
                courier.name: {
                    "delivered": courier.state.delivered,
                    "dead_letters": courier.state.buried,
                    "problem": courier.state.problem,
                    "held": courier.state.held,
                }
                for courier in self._outlets.couriers
            },
        }

    def _write_status(self) -> None:
        path = status_path(self._settings)
        part = path.with_suffix(".part")
        with contextlib.suppress(OSError):  # a status nobody can read must not end the service
            part.write_text(json.dumps(self.status()))
            part.replace(path)

    def _send(self, commands: Sequence[Command]) -> None:
        for command in commands:
            try:
                self._subscriber.publish(command.topic, command.payload, timeout_secs=1.0)
            except Retry as error:  # each would wait in vain, and the worker with it
                log.warning("answers and requests to sources were not sent: %s", error)
                return
            except SinkError as error:
                log.warning("%s was not sent: %s", command.topic, error)

    def _stop(self) -> None:
        systemd.notify("STOPPING=1")
        until = time.monotonic() + STOP_SECS
        for courier in self._outlets.couriers:
            courier.stop()
        self._subscriber.stop(2.0)
        self._recorder.stop()
        self._join("recorder", until)
        self._worker.stop()
        self._join("worker", until)
        for courier in self._outlets.couriers:
            self._join(courier.name, until)
        if self._outlets.influx is not None:
            self._outlets.influx.close()
        running = [name for name, thread in self._threads.items() if thread.is_alive()]
        if running:
            log.warning("stopping without waiting for %s", ", ".join(running))
            sys.stdout.flush()
            os._exit(
                1 if self._failed else 0
            )  # a thread holds the connection; the next start recovers as after a crash
        self._database.close(clean=self._failed is None)
        status_path(self._settings).unlink(missing_ok=True)
        log.info("stopped")

    def _join(self, name: str, until: float) -> None:
        self._threads[name].join(max(until - time.monotonic(), 0.1))


def status_path(settings: Settings) -> Path:
    """Where the running service says how it is: in memory under systemd, so that it wears no flash."""
    folder = os.environ.get("RUNTIME_DIRECTORY")
    return (Path(folder) if folder else settings.storage.data_dir) / "status.json"


def rss_mb() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20
