"""What machines and channels may be called, and the templates that make their names from parts of a message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from appliance.ingest.reasons import quote, refuse

MAX_NAME_CHARS: Final = 200
"""Names become MQTT levels, InfluxDB tags and labels on a screen; no plant naming scheme comes near this."""
_HOLE = re.compile(r"\{([A-Za-z_]\w*)\}", re.ASCII)


def channel_name(text: str) -> str:
    """Return ``text`` if it may name a channel.

    Raises
    ------
    DecodeError
        ``bad_name``: empty, longer than 200 characters, or with control, format or other invisible characters.
    """
    if not text or len(text) > MAX_NAME_CHARS:
        raise refuse("bad_name", f"{quote(text)} has {len(text)} characters; allowed are 1 to {MAX_NAME_CHARS}")
    if not text.isprintable():
        raise refuse("bad_name", f"{quote(text)} holds control or invisible characters")
    return text


def machine_name(text: str) -> str:
    """Return ``text`` as a machine id, with ``/`` replaced by ``:`` because the id is one level of our own topics.

    Raises
    ------
    DecodeError
        ``bad_name``: as for a channel; also ``.``, ``..`` and the MQTT wildcards ``+`` and ``#``.
    """
    name = channel_name(text).replace("/", ":")
    if name in {".", ".."} or "+" in name or "#" in name:
        raise refuse("bad_name", f"{quote(text)} cannot name a machine: '.', '..', '+' and '#' have other meanings")
    return name


class Template:
    """Text with ``{name}`` holes, such as ``{line}-{machine}``.

    Raises
    ------
    ValueError
        A brace is not part of a ``{name}``, or there is no hole at all.

    Examples
    --------
    >>> Template("{line}-{machine}").fill({"line": "a", "machine": "press"})
    'a-press'
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.names = tuple(_HOLE.findall(text))
        if not self.names or re.search(r"[{}]", _HOLE.sub("", text)):
            raise ValueError(f"{text!r} is not a template: write names in braces, such as '{{line}}-{{machine}}'")

    def fill(self, values: Mapping[str, str]) -> str:
        """Put the values in; a missing one raises KeyError."""
        return self.text.format_map(values)
