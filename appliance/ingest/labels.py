"""Operators' labels over MQTT: topic and payload → here → a label for its machine."""

from __future__ import annotations

import hashlib
from typing import Final, cast, get_args

import orjson

from appliance.errors import DecodeError
from appliance.ingest.reasons import likely
from appliance.ingest.spoken import Spoken, shown
from appliance.ingest.times import read_time
from appliance.ingest.topics import Route, TopicPattern
from appliance.records import Label, LabelVerdict

LABEL: Final = "operator label"
"""Name of the route; a source's name holds no space."""
_KEYS: Final = ("verdict", "from", "to", "alert", "name", "channel", "cleared", "by", "via", "note", "id", "said_at")
_MAX_NOTE_CHARS: Final = 1000
_ID_CHARS: Final = 16
_SPANS: Final = ("fault", "false_alarm", "maintenance")
"""Verdicts on something that is over, or will be: they need both ends, or an alert."""


def label_route(prefix: str) -> Route:
    """Return where labels come in: ``{prefix}/machines/{machine}/label``; raises ValueError for an unusable prefix."""
    return Route(LABEL, TopicPattern(f"{prefix}/machines/{{machine}}/label"))


def read_label(machine: str, payload: bytes, received_at: float) -> Label:
    """Read a label on a machine.

    Raises
    ------
    DecodeError
        ``bad_label``, with a detail that says what to write instead; or ``not_json``.

    Examples
    --------
    >>> read_label("pump-1", b'{"verdict": "falt"}', 0.0)
    Traceback (most recent call last):
    appliance.errors.DecodeError: bad_label: label on pump-1: verdict "falt": did you mean "fault"?
    """
    spoken = Spoken.read(payload, "bad_label", f"label on {machine}", _KEYS, '{"verdict": "fault", "from": …, "to": …}')
    verdict = spoken.body.get("verdict")
    if verdict not in get_args(LabelVerdict):
        raise spoken.wrong(f"verdict {shown(verdict)}{likely(verdict, get_args(LabelVerdict))}")
    start, end, said_at = (_time(spoken, key) for key in ("from", "to", "said_at"))
    cleared = spoken.body.get("cleared", False)
    if not isinstance(cleared, bool):
        raise spoken.wrong(f"cleared {shown(cleared)}: write true or false")
    label = Label(
        id=spoken.text("id") or hashlib.sha256(machine.encode() + b"\0" + payload).hexdigest()[:_ID_CHARS],
        machine=machine,
        verdict=cast("LabelVerdict", verdict),
        start=start,
        end=end,
        said_at=received_at if said_at is None else said_at,
        said_by=spoken.text("by"),
        via=spoken.text("via") or "mqtt",
        fault=spoken.text("name"),
        channel=spoken.text("channel"),
        cleared=cleared,
        alert=spoken.text("alert"),
        note=_note(spoken),
    )
    _check(spoken, label)
    return label


def write_label(label: Label) -> bytes:
    """Write a label as the message that :func:`read_label` reads.

    Examples
    --------
    >>> label = Label("7", "m", "fault", 1.7e9, 1.7e9 + 60, 1.7e9, fault="bearing")
    >>> read_label("m", write_label(label), 0.0) == label
    True
    """
    body: dict[str, object] = {
        "id": label.id, "verdict": label.verdict, "from": label.start, "to": label.end, "alert": label.alert,
        "name": label.fault, "channel": label.channel, "cleared": label.cleared or None, "by": label.said_by,
        "via": label.via, "note": label.note, "said_at": label.said_at,
    }  # fmt: skip
    return orjson.dumps({key: value for key, value in body.items() if value is not None})


def _check(spoken: Spoken, label: Label) -> None:
    """Refuse what contradicts itself."""
    verdict = label.verdict
    if label.start is not None and label.end is not None and label.end <= label.start:
        raise spoken.wrong("its end is not after its start; swap from and to")
    if label.end is not None and label.start is None:
        raise spoken.wrong("to without from; say when it began")
    if label.alert is None and verdict in _SPANS and label.end is None:
        raise spoken.wrong(f"a {verdict} needs from and to, or the id of an alert")
    if label.alert is not None and label.start is not None:
        raise spoken.wrong("an alert says when it was; leave out from and to")
    if verdict == "new_normal" and label.end is not None:
        raise spoken.wrong("a new normal has no end; leave out to")
    if label.fault is not None and verdict != "fault":
        raise spoken.wrong(f"a {verdict} has no name; leave it out, or write it into the note")
    if label.cleared and verdict != "bad_sensor":
        raise spoken.wrong("cleared is for bad_sensor only; leave it out")
    if label.channel is not None and verdict != "bad_sensor":
        raise spoken.wrong(f"a {verdict} is of the whole machine; leave out the channel")
    if verdict == "bad_sensor" and label.channel is None and label.alert is None:
        raise spoken.wrong("a bad_sensor needs its channel, or the id of a sensor's alert")


def _time(spoken: Spoken, key: str) -> float | None:
    if spoken.body.get(key) is None:
        return None
    try:
        return read_time(spoken.body[key])
    except DecodeError as error:
        raise spoken.wrong(f"{key}: {error.detail}") from None


def _note(spoken: Spoken) -> str | None:
    value = spoken.body.get("note")
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _MAX_NOTE_CHARS:
        raise spoken.wrong(f"note: write text of at most {_MAX_NOTE_CHARS} characters")
    return value
