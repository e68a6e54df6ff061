"""The service with one step made to fail: ``python -m tests.faults.harness CONFIG [--at STEP] ...``.

Everything runs as in ``appliance run``; only the named step ends the process, or hangs, when it is reached.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import typer

from appliance.commands.run import run
from appliance.ingest.mqtt import Subscriber
from appliance.pipeline import Pipeline
from appliance.store.journal import Journal
from appliance.store.logs import Logs
from appliance.store.results import Results

WIRE_SECS = 0.2
"""Enough for the network thread to put acknowledgements on the wire."""


def die() -> None:
    """End as kill -9 does: nothing is flushed, closed or said."""
    time.sleep(WIRE_SECS)
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    """Never come back."""
    threading.Event().wait()


class Step(NamedTuple):
    """A call at which a fault can strike: before it begins, or when it is over."""

    owner: type
    method: str
    over: bool
    of: str | None = None
    """Only calls with this as their first argument."""


STEPS = {
    "before-journal": Step(Journal, "append", over=False),
    "after-journal": Step(Journal, "append", over=True),
    "after-ack": Step(Subscriber, "acknowledge", over=True),
    "in-commit": Step(Results, "_store_blocks", over=True),
    "in-label": Step(Results, "_store_labels", over=True),
    "in-head": Step(Results, "_store_heads", over=True),
    "after-commit": Step(Results, "commit", over=True),
    "after-post": Step(Logs, "advance", over=False, of="influxdb/scores"),
    "process": Step(Pipeline, "process", over=False),
}


def strike(step: Step, fault: Callable[[], None]) -> None:
    """Have a fault strike when a step is reached."""
    real = getattr(step.owner, step.method)

    def struck(self: Any, first: Any, *rest: Any, **named: Any) -> Any:
        meant = step.of is None or step.of == first
        if meant and not step.over:
            fault()
        result = real(self, first, *rest, **named)
        if meant and step.over:
            fault()
        return result

    setattr(step.owner, step.method, struck)


def main() -> None:
    """Read the command line, arrange the fault, run the service."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--at", choices=STEPS)
    parser.add_argument("--hang", action="store_true", help="hang there instead of dying")
    parser.add_argument("--set", action="append", default=[], help="module.NAME=number: another pace for this run")
    arguments = parser.parse_args()
    for assignment in arguments.set:
        name, _, value = assignment.partition("=")
        module, _, constant = name.rpartition(".")
        target = importlib.import_module(f"appliance.{module}")
        setattr(target, constant, type(getattr(target, constant))(float(value)))
    if arguments.at is not None:
        strike(STEPS[arguments.at], hang if arguments.hang else die)
    try:
        run(arguments.config)
    except typer.Exit as end:
        raise SystemExit(end.exit_code) from None


if __name__ == "__main__":
    main()
