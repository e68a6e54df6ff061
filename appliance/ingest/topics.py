"""Finds the source, machine and channel that a topic names: the first thing done with a message."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from appliance.ingest.names import Template, channel_name, machine_name
from appliance.ingest.reasons import quote, refuse
from appliance.records import TopicMatch

_LEVEL = re.compile(r"\{([A-Za-z_]\w*)(\.\.\.)?\}", re.ASCII)
_CACHED_TOPICS: Final = 16_384
"""More than the distinct topics of a plant; with the next limit, at most about 20 MB."""
_CACHED_TOPIC_BYTES: Final = 256
"""Longer topics are legal (65,535 bytes) but rare: they are read anew each time rather than kept."""


class TopicPattern:
    """What the topics of one source look like: ``plant/{line}/{machine}/{channel}``.

    ``{name}`` takes exactly one level. A last level ``{name...}`` takes one or more, joined by ``/``. Other levels
    stand for themselves. ``machine`` and ``channel`` name those of the readings; other names serve machine templates.

    Raises
    ------
    ValueError
        The pattern cannot be subscribed to or names nothing; the text says what to write instead.

    Examples
    --------
    >>> pattern = TopicPattern("plant/{machine}/{channel...}")
    >>> pattern.filter
    'plant/+/#'
    >>> pattern.match("plant/press/motor/temp")
    {'machine': 'press', 'channel': 'motor/temp'}
    """

    def __init__(self, text: str) -> None:
        self.text = text
        levels = text.split("/")
        if levels[0] == "$share":
            raise ValueError(f"{text!r}: shared subscriptions are not supported; leave out '$share/<group>/'")
        names: list[str] = []
        filters: list[str] = []
        parts: list[str] = []
        for position, level in enumerate(levels):
            hole = _LEVEL.fullmatch(level)
            if hole is None:
                _check_literal(text, level)
                filters.append(level)
                parts.append(re.escape(level))
                continue
            name, rest = hole.groups()
            if name in names:
                raise ValueError(f"{text!r}: {{{name}}} stands there twice; give each level its own name")
            if rest and position != len(levels) - 1:
                raise ValueError(f"{text!r}: {level} takes the rest of the topic and so must be the last level")
            names.append(name)
            filters.append("#" if rest else "+")
            parts.append("(.+)" if rest else "([^/]+)")
        if not names:
            raise ValueError(f"{text!r} names nothing; write {{machine}} for the level that names the machine")
        self.filter = "/".join(filters)
        """The MQTT topic filter to subscribe to."""
        self.names = tuple(names)
        self._regex = re.compile("/".join(parts), re.DOTALL)

    def match(self, topic: str) -> dict[str, str] | None:
        """Name → level(s) of the topic, or None where the topic has another form."""
        found = self._regex.fullmatch(topic)
        return dict(zip(self.names, found.groups(), strict=True)) if found else None


@dataclass(frozen=True)
class Route:
    """How the topics of one source are read.

    Parameters
    ----------
    name
        The source.
    pattern
        Its topics.
    machine_template
        How the machine id is made from the pattern's names. A ``/`` in the result becomes ``:``.

    Raises
    ------
    ValueError
        The template uses a name that the pattern has not.
    """

    name: str
    pattern: TopicPattern
    machine_template: str = "{machine}"

    def __post_init__(self) -> None:
        missing = [name for name in Template(self.machine_template).names if name not in self.pattern.names]
        if missing:
            raise ValueError(
                f"source {self.name!r}: the machine id {self.machine_template!r} needs {{{missing[0]}}}, which the"
                f" topic {self.pattern.text!r} has not; name a level {{{missing[0]}}} or change the machine id"
            )

    def match(self, topic: str) -> TopicMatch | None:
        """Read a topic; None if it is not this source's. Raises DecodeError ``bad_name``."""
        fields = self.pattern.match(topic)
        if fields is None:
            return None
        machine = machine_name(self.machine_template.format_map(fields))
        channel = channel_name(fields["channel"]) if "channel" in fields else None
        return TopicMatch(self.name, machine, channel, topic, fields)


class Router:
    """Finds the source of each message.

    Parameters
    ----------
    routes
        In the order of the configuration: where patterns overlap, the first one wins.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple(routes)
        self._remembered = lru_cache(_CACHED_TOPICS)(self._read)

    def match(self, topic: bytes) -> TopicMatch:
        """Read a topic as it came from the network; a topic seen lately costs a look-up.

        Raises
        ------
        DecodeError
            ``topic_not_utf8``, ``topic_unknown`` or ``bad_name``.
        """
        return self._remembered(topic) if len(topic) <= _CACHED_TOPIC_BYTES else self._read(topic)

    def _read(self, topic: bytes) -> TopicMatch:
        try:
            text = topic.decode()
        except UnicodeDecodeError:
            raise refuse("topic_not_utf8", quote(topic)) from None
        for route in self._routes:
            found = route.match(text)
            if found is not None:
                return found
        raise refuse("topic_unknown", f"{quote(text)} matches no source; check the topics of the sources")


def _check_literal(text: str, level: str) -> None:
    if not level:
        raise ValueError(f"{text!r} has an empty level; remove the extra '/'")
    if "+" in level or "#" in level:
        raise ValueError(f"{text!r}: write {{name}} for '+' and a last level {{name...}} for '#'")
    if "{" in level or "}" in level:
        raise ValueError(f"{text!r}: {level!r} must be a whole level {{name}}, or {{name...}} as the last one")
    if not level.isprintable():
        raise ValueError(f"{text!r}: {level!r} holds control or invisible characters")
