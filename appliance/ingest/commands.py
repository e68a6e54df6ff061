"""Operators' commands over MQTT: topic and payload → here → what a machine is to do."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, cast, get_args

import orjson

from appliance.ingest.reasons import likely
from appliance.ingest.spoken import Spoken, shown
from appliance.ingest.topics import Route, TopicPattern

COMMAND: Final = "operator command"
"""Name of the route; a source's name holds no space."""
CommandKind = Literal["adapt", "rollback"]
_KEYS: Final = ("command", "id", "by")


class MachineCommand(NamedTuple):
    """What an operator wants a machine to do."""

    kind: CommandKind
    """``adapt``: learn from its labels once more; ``rollback``: judge as before the last change of its head."""
    id: str | None = None
    """Tells a command that is given again from one that is delivered again."""
    said_by: str | None = None


def command_route(prefix: str) -> Route:
    """Return where commands come in: ``{prefix}/machines/{machine}/command``."""
    return Route(COMMAND, TopicPattern(f"{prefix}/machines/{{machine}}/command"))


def read_command(machine: str, payload: bytes) -> MachineCommand:
    """Read a command to a machine.

    Raises
    ------
    DecodeError
        ``bad_command``, with a detail that says what to write instead; or ``not_json``.

    Examples
    --------
    >>> read_command("pump-1", b'{"command": "rolback"}')
    Traceback (most recent call last):
    appliance.errors.DecodeError: bad_command: command to pump-1: "rolback": did you mean "rollback"?
    """
    spoken = Spoken.read(payload, "bad_command", f"command to {machine}", _KEYS, '{"command": "adapt"}')
    kind = spoken.body.get("command")
    if kind not in get_args(CommandKind):
        raise spoken.wrong(f"{shown(kind)}{likely(kind, get_args(CommandKind))}")
    return MachineCommand(cast("CommandKind", kind), spoken.text("id"), spoken.text("by"))


def write_command(command: MachineCommand) -> bytes:
    """Write a command as the message that :func:`read_command` reads.

    Examples
    --------
    >>> read_command("m", write_command(MachineCommand("adapt", "7"))).kind
    'adapt'
    """
    return orjson.dumps({"command": command.kind, "id": command.id, "by": command.said_by})
