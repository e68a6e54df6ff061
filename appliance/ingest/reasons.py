"""Every reason for which a message, or a part of one, is not used: the words that counters and quarantine show.

A reason never holds anything out of a message, so its number of values is fixed however hostile the input.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from appliance.errors import DecodeError

Reason = Literal[
    "bad_command",
    "bad_label",
    "bad_line",
    "bad_name",
    "bad_time",
    "column_length",
    "compressed",
    "no_channel",
    "no_machine",
    "no_rate",
    "no_such_time",
    "no_values",
    "not_a_number",
    "not_an_object",
    "not_finite",
    "not_json",
    "not_protobuf",
    "not_sparkplug",
    "not_utf8",
    "sparkplug_no_birth",
    "sparkplug_unknown_alias",
    "too_deep",
    "too_large",
    "too_many",
    "too_many_labels",
    "too_short",
    "topic_not_utf8",
    "topic_unknown",
    "unknown_alert",
    "unknown_machine",
]

REASONS: Mapping[str, str] = {
    "bad_command": "a command to a machine cannot be used as it is; its detail says what to write instead",
    "bad_label": "a label cannot be used as it is; its detail says what to write instead",
    "bad_line": "a line is not InfluxDB line protocol",
    "bad_name": "a machine or channel name is empty, too long, or holds characters that cannot be shown",
    "bad_time": "a time cannot be read, has no zone, or lies outside 1990 to 2100",
    "column_length": "a column is not as long as the column of times",
    "compressed": "a compressed Sparkplug payload; switch compression off at the edge node",
    "no_channel": "nothing names the channel; put {channel} into the source's topic or name it in the payload",
    "no_machine": "nothing names the machine; check the tags against the source's options",
    "no_rate": "a burst has no usable sample rate; send rate_hz or set it in the source's options",
    "no_such_time": "a label is on a time of which its machine has sent nothing yet",
    "no_values": "the path to the values leads nowhere; check it against the payload",
    "not_a_number": "a value is text, a truth value, a list or an object where a number belongs",
    "not_an_object": "a JSON payload has another shape than the source's options say",
    "not_finite": "a value is NaN, infinite, or too large for a double",
    "not_json": "a payload is not JSON",
    "not_protobuf": "a payload is not a Sparkplug B protobuf message",
    "not_sparkplug": "a topic is not spBv1.0/group/type/node or spBv1.0/group/type/node/device",
    "not_utf8": "a payload is not UTF-8 text",
    "sparkplug_no_birth": "data came before the birth certificate that names its metrics",
    "sparkplug_unknown_alias": "a metric uses an alias that its birth certificate does not list",
    "too_deep": "a payload is nested more deeply than any machine's",
    "too_large": "a payload is larger than the limit",
    "too_many": "a payload or a source holds more readings or names than the limit",
    "too_many_labels": "more labels on one machine than people give; the sender is to send fewer",
    "too_short": "a burst has too few samples for its features",
    "topic_not_utf8": "a topic is not UTF-8",
    "topic_unknown": "no source's pattern matches the topic",
    "unknown_alert": "a label names an alert that its machine has not had of late",
    "unknown_machine": "a label is on a machine that has not sent anything",
}
"""Reason → what it means, for the operator."""

assert set(get_args(Reason)) == set(REASONS)


def refuse(reason: Reason, detail: str = "") -> DecodeError:
    """Make the error to raise, with a reason that the type checker knows to be one of :data:`REASONS`."""
    return DecodeError(reason, detail)


def quote(value: object) -> str:
    """Show a piece of a message in an error, cut short, whatever it is."""
    if isinstance(value, str | bytes):
        return repr(value) if len(value) <= 60 else f"{value[:57]!r}..."
    if value is None or isinstance(value, bool | float):
        return repr(value)
    return f"a value of type {type(value).__name__}"  # repr of a huge int or a deep list raises


def likely(given: object, known: Iterable[str]) -> str:
    """Say which known word was probably meant, or which there are.

    Examples
    --------
    >>> likely("falt", ["fault", "maintenance"]), likely(7, ["a", "b"])
    (': did you mean "fault"?', '; use one of a, b')
    """
    known = list(known)
    close = difflib.get_close_matches(given, known, n=1) if isinstance(given, str) else []
    return f': did you mean "{close[0]}"?' if close else f"; use one of {', '.join(known)}"
