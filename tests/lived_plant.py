"""The small plant after a while, with a slight fault that has come twice: what labels are tried on."""

from __future__ import annotations

import json
from typing import Any

from appliance.outcome import Outcome
from appliance.records import Message
from tests.small_plant import BEGIN, LEARNED, Plant, readings, said

FIRST, LONG = LEARNED + 800, 80
"""Where the fault shows first, and how long."""
AGAIN = FIRST + 480
AFTER = AGAIN + 480


def told(command: str, *, at: int, **keys: object) -> Message:
    body = {"command": command, "id": f"{command}-{at}", **keys}
    return Message(b"appliance/machines/m/command", json.dumps(body).encode(), BEGIN + at + 0.3)


def slight(first: int, cells: int = LONG) -> list[Message]:
    """A fault too slight for the detector alone."""
    return readings(range(first, first + cells), offset=0.35)


def fault(first: int, at: int, cells: int = LONG, **keys: str) -> Message:
    return said("fault", at=at, start=first, end=first + cells, **keys)


def answers(outcome: Outcome) -> list[dict[str, Any]]:
    return [json.loads(command.payload) for command in outcome.commands if command.topic.endswith("/answer")]


def live() -> Plant:
    """A plant that has been well for long and has had a slight fault twice, which nobody noticed."""
    plant = Plant()
    outcome = plant.send(
        [
            *readings(range(FIRST)),
            *slight(FIRST),
            *readings(range(FIRST + LONG, AGAIN)),
            *slight(AGAIN),
            *readings(range(AGAIN + LONG, AFTER)),
        ]
    )
    assert not outcome.alerts
    return plant
