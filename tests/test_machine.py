from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from appliance.detect.detector import DetectorOptions
from appliance.detect.scales import unit_of
from appliance.history import BLOCK_CELLS
from appliance.incidents import AlertRules
from appliance.machine import Judged, Machine
from appliance.outcome import Block
from appliance.records import Sample
from tests.small_plant import BEGIN, GRID, WARMUP_WINDOWS


class Life:
    """A machine with its history in memory; every reading is given as a row of channels."""

    def __init__(self, **changes: Any) -> None:
        options: dict[str, Any] = {
            "name": "m", "source": "s", "grid": GRID, "warmup_windows": WARMUP_WINDOWS, "min_coverage": 0.5,
            "false_alarms_per_week": 1.0, "alerts": AlertRules(), "detector": DetectorOptions(), "seed": 1,
        }  # fmt: skip
        self.machine = Machine(**options | changes)
        self.blocks: list[Block] = []
        self.judged: list[Judged] = []

    def history(self, _: str, start: float, end: float) -> list[Block]:
        return [block for block in self.blocks if start <= block.start < end]

    def give(self, cell: int, **values: float) -> None:
        for closed in self.machine.grid.place(Sample("m", BEGIN + cell, values)).closed:
            judged = self.machine.take(closed, self.history)
            self.blocks += judged.blocks
            self.judged.append(judged)

    def give_normal(self, cells: range, *, extra: tuple[str, ...] = ()) -> None:
        for cell in cells:
            noise = np.random.default_rng(cell).normal(size=2 + len(extra))
            values = dict(zip(("a", "b", *extra), noise.tolist(), strict=True))
            self.give(cell, **values)

    @property
    def models(self) -> list[int]:
        return [judged.model.version for judged in self.judged if judged.model is not None]


def test_only_windows_with_enough_data_count_as_learned() -> None:
    life = Life(grid=replace(GRID, hold_secs=0.0))
    life.give_normal(range(0, 400, 8))
    assert {judged.score.blank for judged in life.judged} == {"no_data"}
    assert life.machine.status(BEGIN)["learned_hours"] == 0.0
    life.give_normal(range(400, 700))
    assert life.judged[-1].score.blank == "learning"
    assert life.machine.status(BEGIN)["learned_hours"] > 0.0


def test_channels_that_come_too_late_delay_the_fit_instead_of_ending_the_service() -> None:
    life = Life(warmup_windows=100)
    many = tuple(f"late{n}" for n in range(8))
    life.give_normal(range(790))
    life.give_normal(range(790, 830), extra=many)
    assert life.models == []
    assert life.machine.status(BEGIN)["trust"] == "learning"
    life.give_normal(range(830, 1800), extra=many)
    assert life.models == [1]
    assert life.judged[-1].score.score is not None


def test_a_channel_that_comes_after_the_fit_is_reported_and_not_judged() -> None:
    life = Life(warmup_windows=100)
    life.give_normal(range(840))
    assert life.models == [1]
    for cell in range(840, 880):
        noise = np.random.default_rng(cell).normal(size=2)
        life.give(cell, a=noise[0], b=noise[1], c=1e9)
    last = life.judged[-1].score
    assert last.score is not None
    assert not last.alarm
    assert set(last.contributions) == {"a", "b"}
    assert set(last.signals) == {"a", "b", "c"}
    assert life.machine.status(BEGIN)["new_channels"] == ["c"]


def test_a_channel_that_vanishes_is_reported() -> None:
    life = Life()
    life.give_normal(range(30))
    for cell in range(30, 80):
        life.give(cell, a=1.0)
    assert life.machine.status(BEGIN)["silent_channels"] == ["b"]


def test_history_comes_in_blocks_that_join_into_what_was_received() -> None:
    life = Life()
    life.give_normal(range(2 * BLOCK_CELLS + 100))
    first, second = life.blocks
    assert (first.start, second.start) == (BEGIN, BEGIN + BLOCK_CELLS)
    assert first.values.shape == (2, BLOCK_CELLS)
    expected = [np.random.default_rng(cell).normal(size=2)[0] for cell in range(BLOCK_CELLS)]
    np.testing.assert_array_equal(first.values[0], np.array(expected, dtype=np.float32))


@pytest.mark.parametrize("period", [0.1, 1.0])
def test_a_block_ends_where_time_jumps(period: float) -> None:
    """By as little as one hop, which at 10 Hz is less than a second."""
    life = Life(grid=replace(GRID, period_secs=period, hold_secs=0.0))
    for cell in [*range(40), *range(62, 120)]:
        for closed in life.machine.grid.place(Sample("m", BEGIN + cell * period, {"a": float(cell)})).closed:
            life.blocks += life.machine.take(closed, life.history).blocks
    (block,) = life.blocks
    assert block.values.shape[1] == 40
    np.testing.assert_array_equal(block.values[0], np.arange(40, dtype=np.float32))


def test_a_snapshot_of_another_grid_is_not_taken() -> None:
    life = Life(warmup_windows=100)
    life.give_normal(range(840))
    state = life.machine.snapshot()
    (model,) = [judged.model for judged in life.judged if judged.model is not None]
    assert not Life(grid=replace(GRID, hop=4)).machine.restore(state, model)
    assert Life().machine.restore(state, model)


def test_the_past_of_the_slow_scales_keeps_step_with_the_clock_over_a_silence() -> None:
    life = Life()
    life.give_normal(range(80))
    silent_hops = 6
    begin = 80 + silent_hops * GRID.hop
    life.give_normal(range(begin, begin + 64))
    past = life.machine.snapshot()["past"]["cells"]
    units_a_hop = GRID.hop // unit_of(GRID.hop)
    missing = np.isnan(past[0]).sum() / units_a_hop
    assert missing == pytest.approx(silent_hops, abs=GRID.length / GRID.hop)
    ends = life.judged[-1].score.start + GRID.hop  # of what has been settled
    assert past.shape[1] / units_a_hop == (ends - life.judged[0].score.start) / GRID.hop


def test_an_alert_raises_the_threshold_once_and_normal_operation_lowers_it() -> None:
    life = Life(warmup_windows=100, false_alarms_per_week=7 * 24.0)

    def correction() -> float:
        found: float = life.machine.snapshot()["detector"]["calibrator"]["correction"]
        return found

    life.give_normal(range(1000))
    before = correction()
    assert -0.1 < before < 0.0
    for cell in range(1000, 1100):
        noise = np.random.default_rng(cell).normal(size=2)
        life.give(cell, a=8 * noise[0], b=8 * noise[1])
    assert len({judged.alert.id for judged in life.judged if judged.alert is not None}) == 1
    during = correction()
    assert during == pytest.approx(before + 0.5, abs=0.01)
    life.give_normal(range(1100, 1400))
    assert correction() < during - 0.01


def test_the_status_says_how_long_the_threshold_stays_extrapolated() -> None:
    life = Life(warmup_windows=100, false_alarms_per_week=7 * 24 * 2.0)  # one in half an hour: 1800 cells
    assert life.machine.status(BEGIN)["needs_hours"] is None
    life.give_normal(range(1000))
    needs = life.machine.status(BEGIN)["needs_hours"]
    assert life.machine.status(BEGIN)["extrapolated"]
    assert 0.1 < needs < 0.4
    life.give_normal(range(1000, 2600))
    assert life.machine.status(BEGIN)["needs_hours"] == 0.0
