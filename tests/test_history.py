"""What is learned from: all settled readings of the stretches that are asked for, and nothing that joins two."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.history import BLOCK_CELLS, Readings, Stretch
from appliance.outcome import Block
from appliance.records import Floats, Window
from appliance.windows import GridSpec

GRID = GridSpec(period_secs=2.0, length=16, hop=8, hold_secs=0.0)
HOP_SECS = 16.0


class Store:
    """Readings with the history that they are given back from; cell n holds n, and n + 0.5 in the second channel."""

    def __init__(self) -> None:
        self.readings = Readings("m", GRID)
        self.blocks: list[Block] = []
        self.fresh: list[Block] = []

    def settle(self, hops: int) -> None:
        for hop in range(hops):
            self.blocks += self.fresh
            cells = np.arange(8 * hop, 8 * hop + 8, dtype=np.float32)
            window = Window("m", ("a", "b"), hop * HOP_SECS, hop * HOP_SECS + 32.0, np.empty((2, 16)))
            self.fresh = self.readings.settle(window, np.stack([cells, cells + 0.5]))

    def series(self, *stretches: Stretch, since: float = 0.0) -> tuple[Floats, float]:
        def history(_: str, start: float, end: float) -> list[Block]:
            return [block for block in self.blocks if start <= block.start < end]

        return self.readings.series(stretches, history, self.fresh, channels=2, since=since)


@pytest.mark.parametrize("hops", [1, BLOCK_CELLS // 8 - 1, BLOCK_CELLS // 8, BLOCK_CELLS // 8 + 1, 100])
def test_all_that_was_settled_comes_back_whether_or_not_a_block_was_just_full(hops: int) -> None:
    store = Store()
    store.settle(hops)
    assert store.readings.newest(store.fresh) == hops * HOP_SECS
    series, share = store.series((0.0, hops * HOP_SECS))
    np.testing.assert_array_equal(series, [np.arange(8 * hops), np.arange(8 * hops) + 0.5])
    assert share == 1.0


def test_stretches_are_cut_to_the_cell_and_kept_apart() -> None:
    store = Store()
    store.settle(100)
    series, share = store.series((20.0, 40.0), (1000.0, 1010.0))
    gap = np.isnan(series[0])
    assert series[0][~gap].tolist() == [*range(10, 20), *range(500, 505)]
    assert gap.sum() >= GRID.length
    assert share == 1.0


def test_what_is_gone_or_older_than_the_grid_is_missing_from_the_share() -> None:
    store = Store()
    store.settle(100)
    del store.blocks[0]
    series, share = store.series((0.0, 2.0 * 8 * 100))
    assert series[0, 0] == BLOCK_CELLS
    assert share == pytest.approx(1 - BLOCK_CELLS / 800)
    assert store.series((0.0, 512.0))[1] == 0.0
    assert store.series((512.0, 1024.0), since=513.0)[1] == 0.0


def test_a_restart_keeps_the_pieces_of_an_unfinished_block() -> None:
    store, other = Store(), Store()
    store.settle(5)
    other.readings.restore(store.readings.snapshot())
    np.testing.assert_array_equal(other.series((0.0, 80.0))[0], store.series((0.0, 80.0))[0])
