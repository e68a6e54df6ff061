"""What operators send: a label or a command → here → its machine, the outcome, and an answer to wait for."""

from __future__ import annotations

from typing import Any

from appliance.adaptation import Adapted
from appliance.archive import Archive
from appliance.ingest.commands import read_command
from appliance.ingest.labels import read_label
from appliance.outcome import Outcome
from appliance.records import Message
from appliance.taught import TaughtMachine

Answer = dict[str, Any]
"""JSON: ``id``, ``stored``, ``repeated``, and ``learned``, what came of it in words."""


def take_label(machine: TaughtMachine, message: Message, archive: Archive, outcome: Outcome) -> Answer:
    """Take in a label; raises DecodeError where it cannot be used."""
    asked = read_label(machine.name, message.payload, message.received_at)
    repeated = machine.knows(asked)
    learned = None
    if not repeated:
        heeded = machine.label(asked, message.received_at, archive)
        outcome.labels.append(heeded.label)
        outcome.alerts += heeded.alerts
        learned = note_learned(heeded.adapted, outcome)
    outcome.counts[machine.name, "labels_repeated" if repeated else "labels"] += 1
    return {"id": asked.id, "stored": True, "repeated": repeated, "learned": learned}


def take_command(
    machine: TaughtMachine, message: Message, archive: Archive, outcome: Outcome, *, repeated: bool
) -> Answer:
    """Do what a command says, unless it is delivered again; raises DecodeError where it cannot be read."""
    command = read_command(machine.name, message.payload)
    learned = None
    if not repeated:
        adapted = machine.adapt(archive) if command.kind == "adapt" else machine.roll_back(archive)
        learned = (
            note_learned(adapted, outcome) or "nothing to learn from: no label says anything about a scored window"
        )
    outcome.counts[machine.name, "commands_repeated" if repeated else "commands"] += 1
    return {"id": command.id, "stored": True, "repeated": repeated, "learned": learned}


def note_learned(adapted: Adapted | None, outcome: Outcome) -> str | None:
    """Note what came of an attempt to learn; return it in words."""
    if adapted is None:
        return None
    outcome.attempts.append(adapted.attempt)
    if adapted.record is not None:
        outcome.heads.append(adapted.record)
    return adapted.words
