"""Operators' labels over MQTT: topic and payload → here → a label for its machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, cast, get_args

import orjson

from appliance.errors import DecodeError
from appliance.ingest.codecs.base import load_json
from appliance.ingest.names import channel_name
from appliance.ingest.reasons import likely, quote, refuse
from appliance.ingest.times import read_time
from appliance.ingest.topics import Route, TopicPattern
from appliance.records import Label, LabelVerdict

LABEL: Final = "operator label"
"""Name of the route; a source's name holds no space."""
_KEYS: Final = ("verdict", "from", "to", "alert", "name", "channel", "cleared", "by", "via", "note", "id", "said_at")
_MAX_NOTE_CHARS: Final = 1000
_MAX_PAYLOAD_BYTES: Final = 64 * 1024
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
    if len(payload) > _MAX_PAYLOAD_BYTES:
        raise _wrong(machine, f"{len(payload)} bytes; a label has at most {_MAX_PAYLOAD_BYTES}")
    raw = load_json(payload)
    if not isinstance(raw, dict):
        raise _wrong(machine, 'is no JSON object; write {"verdict": "fault", "from": …, "to": …}')
    for key in raw:
        if key not in _KEYS:
            raise _wrong(machine, f"{_shown(key)} is no key of a label{likely(key, _KEYS)}")
    verdict = raw.get("verdict")
    if verdict not in get_args(LabelVerdict):
        raise _wrong(machine, f"verdict {_shown(verdict)}{likely(verdict, get_args(LabelVerdict))}")
    start, end, said_at = (_time(machine, raw, key) for key in ("from", "to", "said_at"))
    cleared = raw.get("cleared", False)
    if not isinstance(cleared, bool):
        raise _wrong(machine, f"cleared {_shown(cleared)}: write true or false")
    label = Label(
        id=_name(machine, raw, "id") or hashlib.sha256(machine.encode() + b"\0" + payload).hexdigest()[:_ID_CHARS],
        machine=machine,
        verdict=cast("LabelVerdict", verdict),
        start=start,
        end=end,
        said_at=received_at if said_at is None else said_at,
        said_by=_name(machine, raw, "by"),
        via=_name(machine, raw, "via") or "mqtt",
        fault=_name(machine, raw, "name"),
        channel=_name(machine, raw, "channel"),
        cleared=cleared,
        alert=_name(machine, raw, "alert"),
        note=_note(machine, raw),
    )
    _check(label)
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


def _check(label: Label) -> None:
    """Refuse what contradicts itself."""
    machine, verdict = label.machine, label.verdict
    if label.start is not None and label.end is not None and label.end <= label.start:
        raise _wrong(machine, "its end is not after its start; swap from and to")
    if label.end is not None and label.start is None:
        raise _wrong(machine, "to without from; say when it began")
    if label.alert is None and verdict in _SPANS and label.end is None:
        raise _wrong(machine, f"a {verdict} needs from and to, or the id of an alert")
    if label.alert is not None and label.start is not None:
        raise _wrong(machine, "an alert says when it was; leave out from and to")
    if verdict == "new_normal" and label.end is not None:
        raise _wrong(machine, "a new normal has no end; leave out to")
    if label.fault is not None and verdict != "fault":
        raise _wrong(machine, f"a {verdict} has no name; leave it out, or write it into the note")
    if label.cleared and verdict != "bad_sensor":
        raise _wrong(machine, "cleared is for bad_sensor only; leave it out")
    if label.channel is not None and verdict != "bad_sensor":
        raise _wrong(machine, f"a {verdict} is of the whole machine; leave out the channel")
    if verdict == "bad_sensor" and label.channel is None and label.alert is None:
        raise _wrong(machine, "a bad_sensor needs its channel, or the id of a sensor's alert")


def _time(machine: str, raw: Mapping[str, Any], key: str) -> float | None:
    if raw.get(key) is None:
        return None
    try:
        return read_time(raw[key])
    except DecodeError as error:
        raise _wrong(machine, f"{key}: {error.detail}") from None


def _name(machine: str, raw: Mapping[str, Any], key: str) -> str | None:
    value = raw.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _wrong(machine, f"{key} {_shown(value)}: write text")
    try:
        return channel_name(value)
    except DecodeError as error:
        raise _wrong(machine, f"{key}: {error.detail}") from None


def _note(machine: str, raw: Mapping[str, Any]) -> str | None:
    value = raw.get("note")
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _MAX_NOTE_CHARS:
        raise _wrong(machine, f"note: write text of at most {_MAX_NOTE_CHARS} characters")
    return value


def _wrong(machine: str, detail: str) -> DecodeError:
    return refuse("bad_label", f"label on {machine}: {detail}")


def _shown(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) and len(value) <= 60 and value.isprintable() else quote(value)
