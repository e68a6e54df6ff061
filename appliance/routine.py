"""Which alerts are a machine's daily routine that its warm-up did not show: closed alerts → here → the reservoir."""

from __future__ import annotations

from typing import Any, NamedTuple

from appliance.records import Alert

DAY_SECS = 86_400.0
_FIRST_SECS = 2 * DAY_SECS
"""After the warm-up within which a routine shows for the first time: what begins later is a fault until a person says
otherwise, even one that only shows in one of two shifts."""
_PUNCTUAL_SECS = 900.0
"""A routine begins at the same time of day, give or take so much or a window..."""
_AS_LONG = 1 / 8
"""...and lasts as long, give or take this share: the slow scales do not see its end to the minute."""
_NAMED = 3
"""Channels to blame most, one of which at least is the same."""


class Episode(NamedTuple):
    """An alert that ended by itself while its machine ran."""

    id: str
    start: float
    end: float
    channels: list[str]

    @property
    def secs(self) -> float:
        """How long it lasted."""
        return self.end - self.start


class Routine:
    """Tells a duty cycle from a fault by its times.

    A fault that lasts never ends by itself, and one that comes and goes keeps no hours. So all the episodes of a day
    must be those of the day before, each at its time, before any of them is taken for routine.
    """

    def __init__(self, window_secs: float) -> None:
        self._tolerance = max(_PUNCTUAL_SECS, window_secs)
        self._until: float | None = None
        self._episodes: list[Episode] = []

    def begin(self, at: float) -> None:
        """Note when the machine was first learned, Unix seconds."""
        self._until = at + _FIRST_SECS

    def ended(self, alert: Alert) -> list[Episode]:
        """Take in an alert that ended by itself; return the episodes that are now known to be routine."""
        assert alert.closed_at is not None
        new = Episode(alert.id, alert.since, alert.closed_at, list(alert.channels)[:_NAMED])
        since = new.start - 2 * DAY_SECS - self._tolerance
        self._episodes = [old for old in self._episodes if old.id != new.id and old.start >= since] + [new]
        today = [episode for episode in self._episodes if episode.start > new.start - DAY_SECS + self._tolerance]
        pairs = [[self._day_before(episode), episode] for episode in today]
        routine = [episode for pair in pairs for episode in pair if episode is not None]
        return routine if len(routine) == 2 * len(today) else []

    def _day_before(self, episode: Episode) -> Episode | None:
        if self._until is None or episode.secs < 2 * self._tolerance:
            return None
        for other in self._episodes:
            punctual = abs(episode.start - other.start - DAY_SECS) <= self._tolerance
            alike = abs(episode.secs - other.secs) <= max(self._tolerance, _AS_LONG * episode.secs)
            same = bool(set(other.channels) & set(episode.channels))
            if punctual and alike and same and other.start < self._until:
                return other
        return None

    def snapshot(self) -> dict[str, Any]:
        """State for a restart."""
        return {"until": self._until, "episodes": [list(episode) for episode in self._episodes]}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a snapshot."""
        self._until = state["until"]
        self._episodes = [Episode(*values) for values in state["episodes"]]
