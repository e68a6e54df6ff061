"""Which stretches of a machine's life are normal and worth learning from again: settled windows → here → a refit.

Only their place in time is kept; the readings lie in the history.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np


class Span(NamedTuple):
    """Settled cells, counted in hops since the Unix epoch: [first, end)."""

    first: int
    end: int

    @property
    def hops(self) -> int:
        """How long it is."""
        return self.end - self.first


class Reservoir:
    """The newest normal operation whole, and a sample of what was before it.

    What has just been judged normal may turn out to have led to an alert, so it is on probation: `forget_recent` drops
    it. What has passed is sampled at random (Vitter 1985, algorithm R); beyond ``memory`` hops the chance to be taken
    no longer falls, so that what was taken fades over about that time (Aggarwal 2006).

    Parameters
    ----------
    recent, older
        Hops of probation, and of what was before it.
    memory
        Hops over which older operation is remembered.
    shortest, longest
        Hops of a stretch: shorter ones teach nothing, longer ones are cut, so that some of everything is kept.
    seed
        Of what is drawn.
    """

    def __init__(self, *, recent: int, older: int, memory: int, shortest: int, longest: int, seed: int) -> None:
        self._most_recent, self._most_older, self._memory = recent, older, memory
        self._shortest, self._longest, self._seed = shortest, longest, seed
        self._recent: list[Span] = []
        self.held = 0
        """Hops on probation."""
        self._older: list[Span] = []
        self._seen = 0  # hops that have passed probation
        self._draws = 0

    def add(self, hop: int) -> None:
        """Take in a hop that was judged normal, later than all before it."""
        last = self._recent[-1] if self._recent else None
        if last is not None and last.end == hop and last.hops < self._longest:
            self._recent[-1] = Span(last.first, hop + 1)
        else:
            if last is not None and last.hops < self._shortest and last.end != hop:
                self.held -= self._recent.pop().hops
            self._recent.append(Span(hop, hop + 1))
        self.held += 1
        while self.held - self._recent[0].hops >= self._most_recent:
            passed = self._recent.pop(0)
            self.held -= passed.hops
            self._sample(passed)

    def forget_recent(self) -> None:
        """Drop what is on probation: it led to an alert."""
        self._recent, self.held = [], 0

    def accept_recent(self) -> None:
        """Take what is on probation for normal: the warm-up was declared so."""
        self.keep(self._recent)
        self.forget_recent()

    def keep(self, spans: Iterable[Span]) -> None:
        """Take in stretches that are known to be normal, in place of others where there is no room."""
        kept = [
            Span(first, min(first + self._longest, span.end))
            for span in spans
            for first in range(span.first, span.end, self._longest)
        ]
        self._seen += _hops(kept)
        self._make_room(_hops(kept))
        self._older += kept

    def spans(self, most: int) -> list[Span]:
        """Return what is kept, in order of time, neighbours joined; evenly thinned out to about ``most`` hops."""
        kept = sorted([*self._older, *self._recent])
        joined: list[Span] = []
        for span in kept[:: max(1, -(-_hops(kept) // most))]:
            if joined and span.first <= joined[-1].end:
                joined[-1] = Span(joined[-1].first, max(joined[-1].end, span.end))
            else:
                joined.append(span)
        return joined

    def _sample(self, span: Span) -> None:
        if span.hops < self._shortest:
            return
        self._seen += span.hops
        room = _hops(self._older) + span.hops <= self._most_older
        if room or self._draw() < self._most_older / min(self._seen, max(self._memory, self._most_older)):
            self._make_room(span.hops)
            self._older.append(span)

    def _make_room(self, hops: int) -> None:
        while self._older and _hops(self._older) + hops > self._most_older:
            del self._older[int(self._draw() * len(self._older))]

    def _draw(self) -> float:
        self._draws += 1
        return float(np.random.default_rng([self._seed, self._draws]).random())

    def snapshot(self) -> dict[str, Any]:
        """State for a restart."""
        return {
            "recent": np.array(self._recent, dtype=np.int64),
            "older": np.array(self._older, dtype=np.int64),
            "seen": self._seen,
            "draws": self._draws,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a snapshot."""
        self._recent = [Span(*pair) for pair in state["recent"].tolist()]
        self.held = _hops(self._recent)
        self._older = [Span(*pair) for pair in state["older"].tolist()]
        self._seen, self._draws = state["seen"], state["draws"]


def _hops(spans: Iterable[Span]) -> int:
    return sum(span.end - span.first for span in spans)
