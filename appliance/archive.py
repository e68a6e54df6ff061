"""What is stored of a machine, as its stages see it: the store → here → labels, fits and heads."""

from __future__ import annotations

from typing import Protocol

from appliance.outcome import Block, HeadRecord, Model, Outcome, TraceBlock

KEPT_HEADS = 5
"""Of each machine: as many changes as can be gone back over."""


class Archive(Protocol):
    """Reads back what came of a machine before."""

    def history(self, machine: str, start: float, end: float) -> list[Block]:
        """Return the blocks of readings that begin in [start, end), Unix seconds, oldest first."""

    def traces(self, machine: str, model: int, start: float, end: float) -> list[TraceBlock]:
        """Return the blocks of one fit's traces whose first window ends in [start, end), oldest first."""

    def model(self, machine: str) -> Model | None:
        """Return the fit in service."""

    def head(self, machine: str, number: int) -> HeadRecord | None:
        """Return one of the last heads."""


class Unstored:
    """The archive together with what waits to be stored."""

    def __init__(self, archive: Archive, outcome: Outcome) -> None:
        self._archive = archive
        self._outcome = outcome

    def history(self, machine: str, start: float, end: float) -> list[Block]:
        """Blocks of readings, the waiting ones last."""
        waiting = [each for each in self._outcome.blocks if each.machine == machine and start <= each.start < end]
        return [*self._archive.history(machine, start, end), *waiting]

    def traces(self, machine: str, model: int, start: float, end: float) -> list[TraceBlock]:
        """Blocks of traces, the waiting ones last."""
        waiting = [
            each
            for each in self._outcome.traces
            if each.machine == machine and each.model == model and start <= each.ends[0] < end
        ]
        return [*self._archive.traces(machine, model, start, end), *waiting]

    def model(self, machine: str) -> Model | None:
        """Return the fit in service."""
        return self._outcome.models.get(machine) or self._archive.model(machine)

    def head(self, machine: str, number: int) -> HeadRecord | None:
        """Return one of the last heads."""
        waiting = [each for each in self._outcome.heads if (each.machine, each.number) == (machine, number)]
        return waiting[-1] if waiting else self._archive.head(machine, number)
