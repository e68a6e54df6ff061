from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.records import Floats, Sample, Window
from appliance.store import packing
from appliance.windows import Closed, Fill, Grid, GridSpec, fill_gaps

START = 1_767_571_200.0
RAW = GridSpec(period_secs=1.0, length=16, hop=8, fill="none")
FILLS: tuple[Fill, ...] = ("hold", "linear", "none")


def sample(cell: float, period: float = 1.0, **values: float) -> Sample:
    return Sample("m", START + cell * period, values or {"a": float(cell)})


def placed(grid: Grid, samples: list[Sample]) -> list[Closed]:
    return [closed for entry in samples for closed in grid.place(entry).closed]


def contents(window: Window) -> tuple[Any, ...]:
    return window.start, window.channels, window.values.tobytes(), window.incomplete


specs = st.builds(
    lambda length, hop, lateness, fill, hold, aggregate, period: GridSpec(
        period_secs=period,
        length=length,
        hop=min(hop, length),
        lateness_secs=lateness * period,
        fill=fill,
        hold_secs=hold * period,
        aggregate=aggregate,
    ),
    length=st.integers(2, 12),
    hop=st.integers(1, 12),
    lateness=st.integers(0, 6),
    fill=st.sampled_from(FILLS),
    hold=st.integers(0, 30),
    aggregate=st.sampled_from(["last", "mean"]),
    period=st.sampled_from([0.1, 1.0, 60.0]),
)
gaps = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 60)), min_size=1, max_size=40)


@st.composite
def streams(draw: st.DrawFn, period: float) -> list[Sample]:
    """Samples in the order of their times, no two at one time, each with some of three channels."""
    cell, samples = 0.0, []
    for gap in draw(gaps):
        cell += gap
        values = draw(st.dictionaries(st.sampled_from("abc"), st.floats(-9, 9, width=32), min_size=1))
        samples.append(Sample("m", START + (cell + draw(st.floats(0, 0.9))) * period, values))
    return list({entry.time: entry for entry in sorted(samples, key=lambda entry: entry.time)}.values())


@settings(deadline=None, max_examples=50)
@given(st.data(), specs)
def test_any_order_within_lateness_gives_the_same_windows(data: st.DataObject, spec: GridSpec) -> None:
    samples = data.draw(streams(spec.period_secs))
    if spec.aggregate == "mean":  # sums in another order differ in the last bit
        samples = [Sample(s.machine, s.time, {k: float(round(v)) for k, v in s.values.items()}) for s in samples]
        spec = replace(spec, aggregate="last")
    delays = [data.draw(st.floats(0, spec.lateness_secs * 0.99)) for _ in samples]
    shuffled = [entry for _, entry in sorted(zip(delays, samples, strict=True), key=lambda p: p[1].time + p[0])]
    end = sample(500 * spec.period_secs + samples[-1].time - START, a=0.0)  # past every window
    straight, other = Grid("m", spec), Grid("m", spec)
    first = [closed.window for closed in placed(straight, [*samples, end])]
    second = [closed.window for closed in placed(other, [*shuffled, end])]
    begin = max(first[0].start, second[0].start)  # the first sample to come decides where windows begin
    columns = {name: second[-1].channels.index(name) for name in second[-1].channels}
    cells = {spec.cell(entry.time) for entry in samples}

    def compared(window: Window) -> bool:  # whether a window without any reading is stepped over depends on the order
        start = spec.cell(window.start)
        return window.start >= begin and not cells.isdisjoint(range(start, start + spec.length))

    expected, found = list(filter(compared, first)), list(filter(compared, second))
    assert [window.start for window in found] == [window.start for window in expected]
    for ours, theirs in zip(expected, found, strict=True):
        for row, name in enumerate(ours.channels):
            if np.isnan(ours.values[row]).all() and columns[name] >= len(theirs.values):
                continue  # a channel that had not come yet
            np.testing.assert_array_equal(ours.values[row], theirs.values[columns[name]])


@settings(deadline=None, max_examples=50)
@given(st.data(), specs)
def test_a_placed_reading_is_in_every_window_over_its_cell_that_had_not_closed(
    data: st.DataObject, spec: GridSpec
) -> None:
    spec = replace(spec, fill="none", aggregate="last")
    samples = data.draw(st.permutations(data.draw(streams(spec.period_secs))))
    samples = [Sample("m", s.time, {"a": float(number)}) for number, s in enumerate(samples)]
    grid = Grid("m", spec)
    newest: dict[int, tuple[float, float]] = {}
    seen: dict[int, Window] = {}
    reached = -1
    for entry in [*samples, sample(1e5, a=-1.0)]:
        cell = spec.cell(entry.time)
        placement = grid.place(entry)
        for closed in placement.closed:
            start = spec.cell(closed.window.start)
            assert start not in seen
            seen[start] = closed.window
            expected = [newest.get(at, (0.0, math.nan))[1] for at in range(start, start + spec.length)]
            np.testing.assert_array_equal(closed.window.values[0], expected)
            np.testing.assert_array_equal(closed.settled[0], np.array(expected[: spec.hop], dtype=np.float32))
        assert placement.placed + placement.late + placement.refused == 1
        if placement.placed and entry.time >= newest.get(cell, (-math.inf, 0.0))[0]:
            newest[cell] = (entry.time, entry.values["a"])
        if placement.late:
            assert cell + spec.lateness_cells < reached
        reached = max(reached, cell)


@settings(deadline=None, max_examples=50)
@given(st.data(), specs)
def test_windows_lie_on_the_grid_come_once_and_none_is_missing_while_data_flows(
    data: st.DataObject, spec: GridSpec
) -> None:
    samples = data.draw(streams(spec.period_secs))
    found = [closed.window for closed in placed(Grid("m", spec), samples)]
    starts = [spec.cell(window.start) for window in found]
    assert all(start % spec.hop == 0 for start in starts)
    assert all(math.isclose(w.end - w.start, spec.length * spec.period_secs, abs_tol=1e-6) for w in found)
    assert all(later > earlier for earlier, later in pairwise(starts))
    cells = [spec.cell(entry.time) for entry in samples]
    reach = spec.length + spec.lateness_cells
    if all(later - earlier <= reach for earlier, later in pairwise(cells)):
        begin = (cells[0] - spec.lateness_cells) // spec.hop * spec.hop
        assert starts == list(range(begin, cells[-1] - reach + 1, spec.hop))


def naive_fill(cells: dict[int, float], at: int, end: int, spec: GridSpec) -> float:
    """One cell of a channel, filled by looking at all readings before a window's end."""
    if at in cells:
        return cells[at]
    before = max((cell for cell in cells if cell < at), default=None)
    after = min((cell for cell in cells if at < cell < end), default=None)
    if spec.fill == "hold" and before is not None and at - before <= spec.hold_cells:
        return cells[before]
    if spec.fill == "linear" and before is not None and after is not None and after - before - 1 <= spec.hold_cells:
        return cells[before] + (cells[after] - cells[before]) * (at - before) / (after - before)
    return math.nan


@settings(deadline=None, max_examples=50)
@given(st.data(), specs)
def test_gaps_are_filled_as_a_naive_reader_of_all_cells_would(data: st.DataObject, spec: GridSpec) -> None:
    spec = replace(spec, aggregate="last", lateness_secs=0.0)
    samples = data.draw(streams(spec.period_secs))
    read: dict[str, dict[int, float]] = {name: {} for name in "abc"}
    begin = spec.cell(samples[0].time) // spec.hop * spec.hop
    grid = Grid("m", spec)
    for entry in samples:
        for closed in grid.place(entry).closed:
            start = spec.cell(closed.window.start)
            for name, row in zip(closed.window.channels, closed.window.values, strict=True):
                known = {cell: value for cell, value in read[name].items() if begin <= cell}
                expected = [
                    naive_fill(known, at, start + spec.length, spec) for at in range(start, start + spec.length)
                ]
                np.testing.assert_allclose(row, expected, atol=1e-9)
        for name, value in entry.values.items():
            read[name][spec.cell(entry.time)] = value


@pytest.mark.parametrize("fill", FILLS)
def test_filling_touches_no_reading(fill: Fill) -> None:
    values: Floats = np.array([[math.nan, 1.0], [2.0, math.nan], [math.nan, math.nan], [5.0, 4.0]])
    filled = fill_gaps(values, fill, 4)
    np.testing.assert_array_equal(filled[~np.isnan(values)], values[~np.isnan(values)])
    assert np.isnan(filled[0, 0])  # nothing came before


def test_of_several_readings_in_a_cell_the_newest_or_the_mean_stands() -> None:
    readings = [sample(0.5, a=1.0), sample(0.2, a=5.0), sample(0.7, b=2.0), sample(0.6, a=3.0), sample(16.0)]
    (last,) = placed(Grid("m", RAW), readings)
    assert last.window.values[:, 0].tolist() == [3.0, 2.0]
    (mean,) = placed(Grid("m", replace(RAW, aggregate="mean")), readings)
    assert mean.window.values[:, 0].tolist() == [3.0, 2.0]
    (mean,) = placed(Grid("m", replace(RAW, aggregate="mean")), [*readings[:2], sample(16.0)])
    assert mean.window.values[0, 0] == 3.0


def test_times_on_a_fine_grid_fall_into_cells_of_their_own() -> None:
    """0.1 s is no double: exact tenths must not fall into the cell before and leave theirs empty."""
    grid = Grid("m", replace(RAW, period_secs=0.1))
    tenths = [Sample("m", round(START + cell / 10, 1), {"a": float(cell)}) for cell in range(200)]
    for closed in placed(grid, tenths):
        assert np.diff(closed.window.values[0]).tolist() == [1.0] * 15


def test_channels_may_appear_and_vanish() -> None:
    grid = Grid("m", RAW)
    both = [sample(cell, a=1.0, b=2.0) for cell in range(20)]
    closed = placed(grid, [sample(-8, a=0.0), *both, *(sample(cell, b=3.0, c=4.0) for cell in range(20, 50))])
    assert [entry.window.channels for entry in closed][:2] == [("a", "b"), ("a", "b")]
    last = closed[-1].window
    assert last.channels == ("a", "b", "c")
    assert np.isnan(last.values[0]).all()
    assert not np.isnan(last.values[1:]).any()


def test_channels_beyond_the_limit_are_refused_and_the_known_ones_placed() -> None:
    grid = Grid("m", replace(RAW, max_channels=2))
    placement = grid.place(sample(0, a=1.0, b=2.0, c=3.0))
    assert (placement.placed, placement.refused) == (2, 1)
    assert grid.place(sample(1, d=1.0)).refused == 1
    assert grid.channels == ("a", "b")


def test_a_late_reading_is_counted_and_closes_nothing() -> None:
    grid = Grid("m", RAW)
    placed(grid, [sample(0), sample(30)])
    assert grid.place(sample(3, a=1.0, b=1.0)) == (0, 2, 0, [])


def test_a_jump_of_years_closes_only_windows_with_readings() -> None:
    grid = Grid("m", RAW)
    placed(grid, [sample(0)])
    closed = grid.place(sample(20 * 365 * 86_400)).closed
    assert [entry.window.start - START for entry in closed] == [0.0]
    assert grid.place(sample(0)).late == 1
    (after,) = grid.place(sample(20 * 365 * 86_400 + 12)).closed
    assert np.count_nonzero(~np.isnan(after.window.values)) == 1


def test_memory_is_bounded_by_the_spec_whatever_comes() -> None:
    grid = Grid("m", replace(RAW, max_channels=8))
    for step in range(2000):
        grid.place(sample(step * (1 + step % 40), **{f"c{step}": 1.0, "a": 2.0}))
        grid.mark_incomplete(START + step, "offline")
    grid.place(sample(1e6))
    grid.place(sample(1e6 + 30))
    held = [value for value in vars(grid).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in held) < 8 * 8 * 4 * 2 * (16 + 8) * 2
    assert len(grid._columns_of) <= 4 * 8 + 1
    assert len(grid._incomplete) < 100


def test_windows_over_known_gaps_say_so() -> None:
    grid = Grid("m", RAW)
    grid.place(sample(0))
    grid.mark_incomplete(START + 9, "offline")
    closed = placed(grid, [sample(cell) for cell in range(1, 50)])
    assert [entry.window.incomplete for entry in closed] == ["offline", "offline", None, None, None]


@settings(deadline=None, max_examples=50)
@given(st.data(), specs)
def test_a_restart_at_any_point_changes_nothing(data: st.DataObject, spec: GridSpec) -> None:
    samples = data.draw(streams(spec.period_secs))
    cut = data.draw(st.integers(0, len(samples)))
    undisturbed, stopped = Grid("m", spec), Grid("m", spec)
    for grid in (undisturbed, stopped):
        placed(grid, samples[:cut])
        grid.mark_incomplete(samples[cut // 2].time, "sequence_gap")
    state = stopped.snapshot()
    kept = packing.pack(state)
    placed(stopped, [sample(1e6)])  # what comes after a snapshot must not reach it
    assert packing.pack(state) == kept
    resumed = Grid("m", spec)
    resumed.restore(packing.unpack(kept))
    rest = [*samples[cut:], sample(1e7)]
    expected = [contents(closed.window) for closed in placed(undisturbed, rest)]
    assert [contents(closed.window) for closed in placed(resumed, rest)] == expected
