"""Put samples on a machine's regular grid by event time and close windows: a pure function of the order of samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.records import Floats, Sample, Window

Fill = Literal["hold", "linear", "none"]
Aggregate = Literal["last", "mean"]
OUTAGE = "outage"
"""Why a window is incomplete that reaches into a silence of the whole machine longer than a window: what was held over
it, or the half that is left, would look like a fault."""
EDGE_CELLS = 1e-3
"""A time this little before a cell's left edge lies on it: today's Unix seconds as a double are only 0.2 µs fine, and
at 10 Hz every other exact tenth of a second would otherwise fall into the cell before."""


@dataclass(frozen=True, slots=True)
class GridSpec:
    """How one source's samples become windows.

    Cell ``i`` covers event time ``[i, i + 1) * period_secs`` since the Unix epoch, so the same data gives the same
    windows whenever the service was started. Windows are ``length`` cells long and start at multiples of ``hop`` cells.
    """

    period_secs: float
    length: int
    hop: int
    lateness_secs: float = 0.0
    """How long after the newest sample an older one is still placed; windows close that much later."""
    fill: Fill = "hold"
    hold_secs: float = 0.0
    """Longest gap that is filled; a longer one stays missing."""
    aggregate: Aggregate = "last"
    """Which reading stands for a cell that got several."""
    max_channels: int = 512

    def cell(self, time: float) -> int:
        """Return the cell of a time in Unix seconds."""
        return math.floor(time / self.period_secs + EDGE_CELLS)

    @property
    def lateness_cells(self) -> int:
        """Lateness in whole cells, rounded up."""
        return math.ceil(self.lateness_secs / self.period_secs - EDGE_CELLS)

    @property
    def hold_cells(self) -> int:
        """Longest filled gap in whole cells."""
        return math.floor(self.hold_secs / self.period_secs + EDGE_CELLS)


class Closed(NamedTuple):
    """A window that no later sample can change, and the cells that no later window will show."""

    window: Window
    settled: NDArray[np.float32]
    """[channel, hop] as received, NaN where nothing came, from the window's start on: the machine's history."""


class Placement(NamedTuple):
    """What became of one sample's readings."""

    placed: int
    late: int
    refused: int
    """Readings of channels beyond ``max_channels``."""
    closed: list[Closed]


def fill_gaps(values: Floats, fill: Fill, limit: int, carry: Floats | None = None) -> Floats:
    """Fill missing cells along time, none further than ``limit`` cells from a reading.

    Parameters
    ----------
    values
        [time, channel] with NaN where missing; returned itself where nothing is to be done.
    fill
        ``hold`` repeats the last reading, ``linear`` joins the readings on both sides, ``none`` leaves gaps.
    limit
        Longest gap that is filled, in cells.
    carry
        [2, channel]: the last reading before ``values`` and its age in cells at the first one.

    Examples
    --------
    >>> fill_gaps(np.array([[1.0], [np.nan], [np.nan], [4.0]]), "hold", 1).ravel()
    array([ 1.,  1., nan,  4.])
    >>> fill_gaps(np.array([[1.0], [np.nan], [np.nan], [4.0]]), "linear", 2).ravel()
    array([1., 2., 3., 4.])
    """
    missing = np.isnan(values)
    if fill == "none" or limit == 0 or not missing.any():
        return values
    cells = np.arange(len(values))[:, None]
    before = np.maximum.accumulate(np.where(missing, -1, cells), axis=0)
    age = cells - before
    held = np.take_along_axis(values, np.maximum(before, 0), axis=0)
    if carry is not None:
        age = np.where(before < 0, cells + carry[1], age)
        held = np.where(before < 0, carry[0], held)
    if fill == "hold":
        return np.where(missing & (age <= limit), held, values)
    after = np.minimum.accumulate(np.where(missing, len(values), cells)[::-1], axis=0)[::-1]
    following = np.take_along_axis(values, np.minimum(after, len(values) - 1), axis=0)
    gap = age + after - cells
    inside = missing & (after < len(values)) & (gap - 1 <= limit)
    with np.errstate(invalid="ignore"):
        return np.where(inside, held + (following - held) * age / gap, values)


class Grid:
    """One machine's open cells.

    Memory is bounded by the spec: about ``2 * (length + lateness)`` cells of every channel.
    """

    def __init__(self, machine: str, spec: GridSpec) -> None:
        self.machine = machine
        self.spec = spec
        self.channels: tuple[str, ...] = ()
        self._rows: dict[str, int] = {}
        self._columns_of: dict[tuple[str, ...], NDArray[np.intp] | slice] = {}
        self._width = 2 * (spec.length + spec.lateness_cells + spec.hop)
        self._values = np.empty((self._width, 0))
        self._times = np.empty((self._width, 0))
        self._counts = np.empty((self._width, 0))
        self._newest_in = np.full(self._width, -np.inf)  # newest time in each cell: the quick way to see order
        self._carry = np.empty((2, 0))
        self._base = 0  # grid index of the first buffered cell
        self._start = 0  # grid index where the next window starts
        self._newest: int | None = None
        self._incomplete: dict[int, str] = {}

    @property
    def newest_time(self) -> float | None:
        """Left edge of the newest cell that has data, Unix seconds."""
        return None if self._newest is None else self._newest * self.spec.period_secs

    def place(self, sample: Sample) -> Placement:
        """Put a sample in its cell after closing every window that it shows to be over."""
        spec = self.spec
        cell = spec.cell(sample.time)
        if self._newest is None:
            self._newest = cell
            self._start = self._base = (cell - spec.lateness_cells) // spec.hop * spec.hop
        closed = self._advance(cell)
        if cell < self._start:
            return Placement(0, len(sample.values), 0, closed)
        self._make_room(cell)
        columns = self._columns(tuple(sample.values))
        values = list(sample.values.values())
        refused = 0
        if columns is None:
            known = {name: value for name, value in sample.values.items() if name in self._rows}
            refused = len(values) - len(known)
            columns, values = np.array([self._rows[name] for name in known], dtype=np.intp), list(known.values())
        self._put(cell - self._base, columns, np.asarray(values), sample.time)
        return Placement(len(values), 0, refused, closed)

    def mark_incomplete(self, time: float, why: str) -> None:
        """Note that data around a time is known to be missing; every window over it says so."""
        self._incomplete[self.spec.cell(time)] = why

    def _put(self, row: int, columns: NDArray[np.intp] | slice, values: Floats, time: float) -> None:
        if self.spec.aggregate == "mean":
            counts = self._counts[row, columns] + 1
            before = np.where(counts == 1, 0.0, self._values[row, columns])
            self._values[row, columns] = before + (values - before) / counts
            self._counts[row, columns] = counts
        elif time >= self._newest_in[row]:
            self._values[row, columns] = values
            self._times[row, columns] = time
            self._newest_in[row] = time
        else:  # out of order within the cell: the newest reading stays, whichever came first
            newer = time >= self._times[row, columns]
            self._values[row, columns] = np.where(newer, values, self._values[row, columns])
            self._times[row, columns] = np.where(newer, time, self._times[row, columns])

    def _columns(self, names: tuple[str, ...]) -> NDArray[np.intp] | slice | None:
        found = self._columns_of.get(names)
        if found is None:
            for name in names:
                if name not in self._rows and len(self._rows) < self.spec.max_channels:
                    self._add_channel(name)
            if not all(name in self._rows for name in names):
                return None
            if len(self._columns_of) > 4 * self.spec.max_channels:  # a source that never sends the same set twice
                self._columns_of.clear()
            found = np.array([self._rows[name] for name in names], dtype=np.intp)
            if found.size and np.array_equal(found, np.arange(found[0], found[0] + found.size)):
                found = slice(int(found[0]), int(found[0]) + found.size)  # a slice is assigned three times faster
            self._columns_of[names] = found
        return found

    def _add_channel(self, name: str) -> None:
        self._rows[name] = len(self._rows)
        self.channels = tuple(self._rows)
        blank = np.full((self._width, 1), np.nan)
        self._values = np.hstack([self._values, blank])
        self._times = np.hstack([self._times, np.full((self._width, 1), -np.inf)])
        self._counts = np.hstack([self._counts, np.zeros((self._width, 1))])
        self._carry = np.hstack([self._carry, [[np.nan], [np.inf]]])

    def _advance(self, cell: int) -> list[Closed]:
        spec = self.spec
        assert self._newest is not None
        closed: list[Closed] = []
        if cell <= self._newest:
            return closed
        if cell - self._newest > max(spec.length, spec.hold_cells):
            self._incomplete.setdefault(self._newest + 1, OUTAGE)
            self._incomplete.setdefault(cell - 1, OUTAGE)
        reach = spec.length + spec.lateness_cells
        while cell >= self._start + reach:
            if self._newest < self._start:  # nothing left but the gap before this sample: step over it
                start = (cell - reach) // spec.hop * spec.hop + spec.hop
                self._carry[1] += start - self._start
                self._start = start
                self._incomplete = {at: why for at, why in self._incomplete.items() if at >= self._start}
                break
            closed.append(self._close())
        self._newest = cell
        return closed

    def _close(self) -> Closed:
        spec, row = self.spec, self._start - self._base
        self._make_room(self._start + spec.length - 1)
        row = self._start - self._base
        cells = self._values[row : row + spec.length]
        filled = fill_gaps(cells, spec.fill, spec.hold_cells, self._carry)
        why = None
        if self._incomplete:
            why = next((w for at, w in self._incomplete.items() if self._start <= at < self._start + spec.length), None)
            self._incomplete = {at: w for at, w in self._incomplete.items() if at >= self._start + spec.hop}
        window = Window(
            machine=self.machine,
            channels=self.channels,
            start=self._start * spec.period_secs,
            end=(self._start + spec.length) * spec.period_secs,
            values=filled.T.copy(),  # the buffer moves on before anybody looks at the window
            incomplete=why,
            received=None if filled is cells else cells.T.copy(),
        )
        settled = cells[: spec.hop]
        self._remember(settled)
        self._start += spec.hop
        return Closed(window, settled.T.astype(np.float32))

    def _remember(self, settled: Floats) -> None:
        """Keep the last reading of each channel and its age, for gaps that reach back over a window's start."""
        present = ~np.isnan(settled)
        ages = np.where(present, np.arange(len(settled), 0, -1)[:, None], np.inf)
        youngest = ages.argmin(axis=0) if len(settled) else 0
        columns = np.arange(settled.shape[1])
        seen = present.any(axis=0)
        self._carry[0] = np.where(seen, settled[youngest, columns], self._carry[0])
        self._carry[1] = np.where(seen, ages[youngest, columns], self._carry[1] + len(settled))

    def _make_room(self, cell: int) -> None:
        """Shift the buffer so that ``cell`` fits: cells before the next window's start are dropped."""
        if cell - self._base < self._width:
            return
        shift = self._start - self._base
        for array, blank in (
            (self._values, np.nan),
            (self._times, -np.inf),
            (self._counts, 0.0),
            (self._newest_in, -np.inf),
        ):
            array[: self._width - shift] = array[shift:].copy() if shift < self._width else blank
            array[max(self._width - shift, 0) :] = blank
        self._base = self._start

    def snapshot(self) -> dict[str, Any]:
        """All that a restart needs to go on as if nothing had happened."""
        newest = self._base if self._newest is None else self._newest
        kept = slice(min(self._start, newest + 1) - self._base, newest + 1 - self._base)  # the rest is blank
        return {
            "channels": list(self.channels),
            "start": self._start,
            "newest": self._newest,
            "values": self._values[kept].copy(),
            "times": self._times[kept].copy(),
            "counts": self._counts[kept].copy() if self.spec.aggregate == "mean" else None,
            "newest_in": self._newest_in[kept].copy(),
            "carry": self._carry.copy(),
            "incomplete": [[at, why] for at, why in self._incomplete.items()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a snapshot made by a grid of the same spec."""
        for name in state["channels"]:
            self._add_channel(name)
        self._base = self._start = state["start"]
        self._newest = state["newest"]
        kept = len(state["values"])
        self._values[:kept] = state["values"]
        self._times[:kept] = state["times"]
        self._newest_in[:kept] = state["newest_in"]
        if state["counts"] is not None:
            self._counts[:kept] = state["counts"]
        self._carry[:] = state["carry"]
        self._incomplete = dict(state["incomplete"])
