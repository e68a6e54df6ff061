"""A machine's settled readings on their way into the store and back: window → blocks; stretches of time → a series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.outcome import Block
from appliance.records import Floats, Window
from appliance.windows import GridSpec

BLOCK_CELLS = 256
"""Cells per stored block: large enough to compress, small enough to ride in a checkpoint until then."""
_APART = 2
"""Missing windows between stretches that did not follow each other: a tenth of the slowest scale is more than any scale
looks over."""

History = Callable[[str, float, float], list[Block]]
"""A machine's stored blocks that begin in [start, end), Unix seconds, oldest first."""
Stretch = tuple[float, float]
"""Of time: [start, end), Unix seconds."""


def without(stretches: Sequence[Stretch], taken: Sequence[Stretch]) -> list[Stretch]:
    """Return what is left of stretches.

    Examples
    --------
    >>> without([(0.0, 10.0), (20.0, 30.0)], [(2.0, 4.0), (8.0, 25.0)])
    [(0.0, 2.0), (4.0, 8.0), (25.0, 30.0)]
    """
    left = list(stretches)
    for first, end in taken:
        left = [
            part
            for start, stop in left
            for part in ((start, min(stop, first)), (max(start, end), stop))
            if part[0] < part[1]
        ]
    return left


class Readings:
    """What a machine has read, gathered into blocks; until a block is full its pieces are kept here."""

    def __init__(self, machine: str, grid: GridSpec) -> None:
        self._machine = machine
        self._grid = grid
        self._pending: list[Block] = []  # one for each window

    def settle(self, window: Window, settled: NDArray[np.float32]) -> list[Block]:
        """Collect settled cells [channel, hop]; give out a block where they are enough or time or channels jump."""
        piece = Block(self._machine, window.start, window.channels, settled)
        blocks = []
        if self._pending:
            last = self._pending[-1]
            if abs(piece.start - self._end(last)) > self._grid.period_secs / 2 or last.channels != piece.channels:
                blocks.append(self._flush())
        self._pending.append(piece)
        if sum(block.values.shape[1] for block in self._pending) >= BLOCK_CELLS:
            blocks.append(self._flush())
        return blocks

    def _flush(self) -> Block:
        first = self._pending[0]
        block = first._replace(values=np.hstack([block.values for block in self._pending]))
        self._pending.clear()
        return block

    def _end(self, block: Block) -> float:
        return block.start + float(block.values.shape[1]) * self._grid.period_secs

    def newest(self, fresh: Sequence[Block]) -> float:
        """Return where the settled cells end, Unix seconds; ``fresh`` are the blocks just given out."""
        return self._end([*fresh, *self._pending][-1])

    def series(
        self,
        stretches: Sequence[Stretch],
        history: History,
        fresh: Sequence[Block],
        *,
        channels: int,
        since: float,
        hidden: Sequence[tuple[int, Stretch]] = (),
    ) -> tuple[Floats, float]:
        """Read stretches again; missing cells lie between them, so that no window and no slow scale joins two.

        Parameters
        ----------
        fresh
            Blocks just given out, which the history does not hold yet.
        since
            Unix seconds; what is older was stored with another grid.
        hidden
            Channels and stretches whose readings are to be missing: their sensor was bad.

        Returns
        -------
        series, share
            [channel, time] in raw units, and the share of what was asked for that is still there.
        """
        period = self._grid.period_secs
        pieces: list[NDArray[np.float32]] = []
        joined = None
        found = 0.0
        for first, end in stretches:
            # Not beyond the end: a replay after a crash finds the future stored already.
            begin = max(since, first - (BLOCK_CELLS + self._grid.hop) * period)
            stored = {block.start: block for block in [*history(self._machine, begin, end), *fresh, *self._pending]}
            for start in sorted(stored):
                skipped, wanted = (max(0, round((time - start) / period)) for time in (first, end))
                cells = stored[start].values[:, skipped:wanted]
                if not cells.shape[1]:
                    continue
                at = start + skipped * period
                if joined is not None and at - joined > period / 2:
                    pieces.append(_missing(channels, _APART * self._grid.length))
                padded = _missing(channels, cells.shape[1])
                padded[: len(cells)] = cells
                for channel, bad in hidden:
                    first_bad, end_bad = (round(min(max(0.0, (time - at) / period), cells.shape[1])) for time in bad)
                    padded[channel, first_bad:end_bad] = np.nan
                pieces.append(padded)
                joined = at + cells.shape[1] * period
                found += cells.shape[1] * period
        series = np.hstack([_missing(channels, 0), *pieces]).astype(np.float64)
        return series, found / max(sum(end - first for first, end in stretches), period)

    def between(self, stretch: Stretch, history: History, fresh: Sequence[Block], *, channels: int) -> Floats:
        """Read a stretch again, every cell in its place: [channel, time] in raw units, NaN for what is not there."""
        period, (first, end) = self._grid.period_secs, stretch
        cells = _missing(channels, round((end - first) / period)).astype(np.float64)
        stored = history(self._machine, first - (BLOCK_CELLS + self._grid.hop) * period, end)
        for block in [*stored, *fresh, *self._pending]:
            at = round((block.start - first) / period)
            skipped, kept = max(0, -at), max(0, min(block.values.shape[1], cells.shape[1] - at))
            if skipped < kept:
                cells[: len(block.values), at + skipped : at + kept] = block.values[:, skipped:kept]
        return cells

    def snapshot(self) -> list[list[Any]]:
        """State for a restart."""
        return [[block.start, list(block.channels), block.values] for block in self._pending]

    def restore(self, state: list[list[Any]]) -> None:
        """Take up a snapshot."""
        self._pending = [Block(self._machine, start, tuple(names), values) for start, names, values in state]


def _missing(channels: int, cells: int) -> NDArray[np.float32]:
    return np.full((channels, cells), np.nan, dtype=np.float32)
