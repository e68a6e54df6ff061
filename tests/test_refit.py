"""Months of a machine's life: what is learned again and when, what never is, and that a restart changes none of it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from appliance.detect.detector import DetectorOptions
from appliance.incidents import AlertRules
from appliance.machine import Judged, Machine
from appliance.outcome import Block
from appliance.records import Alert, Floats, Sample, Score
from appliance.refit import RefitRules, Refits
from appliance.simulate.faults import Fault
from appliance.simulate.signals import first_order, wander
from appliance.simulate.simulator import simulate_machine
from appliance.store import packing
from appliance.windows import GridSpec

BEGIN = 1_767_571_200.0
HOUR, DAY = 3600.0, 86_400.0


class Life:
    """A machine with its history in memory, given a series [channel, time] from midnight on."""

    def __init__(self, *, period_secs: float, warmup_hours: float, name: str = "m", every_days: float = 7.0) -> None:
        self.grid = GridSpec(period_secs=period_secs, length=16, hop=8, hold_secs=16 * period_secs)
        self.options: dict[str, Any] = {
            "name": name, "source": "s", "grid": self.grid, "min_coverage": 0.5, "false_alarms_per_week": 1.0,
            "warmup_windows": int(warmup_hours * HOUR / (8 * period_secs)), "alerts": AlertRules(),
            "detector": DetectorOptions(), "seed": zlib.crc32(name.encode()), "refits": RefitRules(every_days * DAY),
        }  # fmt: skip
        self.machine = Machine(**self.options)
        self.blocks: list[Block] = []
        self.judged: list[Judged] = []

    def history(self, _: str, start: float, end: float) -> list[Block]:
        return [block for block in self.blocks if start <= block.start < end]

    def give(self, series: Floats, cells: range, names: Sequence[str] = "abcde") -> None:
        for cell in cells:
            row = zip(names, series[:, cell].tolist(), strict=True)
            sample = Sample("m", BEGIN + cell * self.grid.period_secs, {name: x for name, x in row if x == x})  # noqa: PLR0124
            for closed in self.machine.grid.place(sample).closed:
                self.judged.append(self.machine.take(closed, self.history))
                self.blocks += self.judged[-1].blocks

    def refits(self) -> list[float]:
        """Days at which it was fitted after the first time."""
        fits = [each for each in self.judged if each.model is not None]
        return [(each.score.end - BEGIN) / DAY for each in fits[1:]]

    def scores(self, first: float, end: float) -> list[float]:
        """Score of each window between two days that has one."""
        scores = [each.score for each in self.judged if first <= (each.score.start - BEGIN) / DAY < end]
        return [score.score for score in scores if score.score is not None]

    def alarms(self, first: float, end: float) -> list[bool]:
        """Whether each window between two days is above the threshold."""
        scores = [each.score for each in self.judged if first <= (each.score.start - BEGIN) / DAY < end]
        return [score.alarm for score in scores if score.score is not None]

    def alerts(self) -> list[Alert]:
        """All that were opened, as they stand."""
        return list({each.alert.id: each.alert for each in self.judged if each.alert is not None}.values())

    def restarted(self, at: int) -> Life:
        """A life that goes on from what is stored; the cell ``at`` would come next."""
        state = packing.unpack(packing.pack(self.machine.snapshot()))
        models = [each.model for each in self.judged if each.model is not None]
        other = Life.__new__(Life)
        other.grid, other.options, other.judged = self.grid, self.options, []
        other.machine, other.blocks = Machine(**self.options), list(self.blocks)
        assert other.machine.restore(state, models[-1] if models else None)
        return other


def follow(load: Floats, period_secs: float, seed: int = 0) -> Floats:
    """[channel, time] of a machine under a load, the temperature slowly."""
    rng = np.random.default_rng(seed)
    load = first_order(load, 300.0, period_secs) + 0.02 * wander(rng, len(load), 1800.0, period_secs)
    temp = first_order(load, 3600.0, period_secs)
    clean = np.stack([1450 * load**0.3, 60 * load, 200 * load, 30 + 40 * temp, 4 * load**2])
    noise = np.array([5.0, 0.5, 2.0, 0.3, 0.05])[:, None]
    return np.round(clean + noise * rng.normal(size=clean.shape), 3)


def steady(days: float, period_secs: float) -> Floats:
    return follow(np.full(round(days * DAY / period_secs), 0.8), period_secs)


# ------------------------------------------------------------------------------------------- a fault that lasts


PUMP_SECS = 300.0


def pump(kind: str, channel: str | None, severity: float) -> Life:
    """A pump that learns for five days and has a step fault from the eighth to the last of its 38."""
    fault = Fault(kind, 8 * DAY, 30 * DAY, severity, "step", channel)
    recorded = simulate_machine("pump", "pump-1", hours=38 * 24, period_secs=PUMP_SECS, seed=3, faults=[fault])
    life = Life(period_secs=PUMP_SECS, warmup_hours=5 * 24.0)
    life.give(recorded.values.T, range(len(recorded.values)), recorded.channels)
    return life


@pytest.mark.parametrize(
    ("kind", "channel", "severity"), [("imbalance", None, 0.5), ("drift", "motor_temp_c", 1.0)], ids=["machine", "one"]
)
def test_a_lasting_fault_still_alarms_after_a_month(kind: str, channel: str | None, severity: float) -> None:
    life = pump(kind, channel, severity)
    assert np.mean(life.alarms(37, 38)) > 0.9
    assert life.machine.incidents.is_open
    assert len(life.alerts()) == 1  # nor did it close in between, though it has raised its own threshold
    assert [day for day in life.refits() if day > 8] == []  # though four turns of the schedule went by


def test_a_fault_that_shows_with_the_load_does_not_become_normal_in_its_pauses() -> None:
    """Ten kelvins that are strange for half of the day only: not more alerts than the budget allows, but no silence.

    Three alerts in as many days, at one a week, are followed by a pause, but by none of two weeks.
    """
    life = pump("drift", "motor_temp_c", 0.4)
    first, last = (float(np.median(life.scores(*days))) for days in ((8, 13), (33, 38)))
    assert last > 0.9 * first > 2 * float(np.median(life.scores(6, 8)))
    opened = [(alert.opened_at - BEGIN) / DAY for alert in life.alerts()]
    assert opened[0] < 9
    assert max(np.diff([*opened, 38.0])) < 14
    assert 4 <= len(opened) <= 9
    assert [day for day in life.refits() if day > 8] == []


# ------------------------------------------------------------------------------------------------- a duty cycle

REGIME = 60.0
WARMUP_HOURS = 12.0


def duty(days: int, low: Sequence[tuple[float, float]]) -> Floats:
    """A machine at full load but for some hours since the beginning; the warm-up knows nothing of that."""
    hours = np.arange(round(days * DAY / REGIME)) * REGIME / HOUR
    load = np.full(len(hours), 0.9)
    for first, end in low:
        load[(hours >= first) & (hours < end) & (hours >= WARMUP_HOURS)] = 0.55
    return follow(load, REGIME)


def daily(days: int) -> list[tuple[float, float]]:
    return [(24.0 * day + 16, 24.0 * day + 24) for day in range(days)]


def irregular(days: int, seed: int) -> list[tuple[float, float]]:
    begins = [24.0 * day + float(np.random.default_rng([seed, day]).uniform(0, 15)) for day in range(days)]
    return [(begin, begin + 8) for begin in begins]


@pytest.fixture(scope="module")
def cycled() -> Life:
    life = Life(period_secs=REGIME, warmup_hours=WARMUP_HOURS)
    life.give(duty(5, daily(5)), range(round(5 * DAY / REGIME)))
    return life


def test_a_daily_duty_cycle_alerts_on_two_days_and_is_quiet_after(cycled: Life) -> None:
    opened = [(alert.since - BEGIN) / DAY for alert in cycled.alerts()]
    assert opened == [pytest.approx(16 / 24, abs=0.03), pytest.approx(40 / 24, abs=0.03)]
    assert not any(cycled.alarms(2.2, 5))
    assert cycled.refits()[0] == pytest.approx(2.1, abs=0.1)  # as soon as the second alert has ended


def test_a_fault_in_either_regime_alerts_after_the_cycle_was_learned() -> None:
    series = duty(4, daily(4))
    life = Life(period_secs=REGIME, warmup_hours=WARMUP_HOURS)
    first, second = round(3.2 * DAY / REGIME), round(3.8 * DAY / REGIME)
    life.give(series, range(first))
    for begin in (first, second):
        other = life.restarted(begin)
        faulty = series.copy()
        faulty[4, begin : begin + 120] += 4.0
        other.give(faulty, range(first, begin + 120))
        assert [alert.opened_at > BEGIN + begin * REGIME for alert in other.alerts()] == [True]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_same_at_irregular_times_is_not_learned(seed: int) -> None:
    life = Life(period_secs=REGIME, warmup_hours=WARMUP_HOURS)
    life.give(duty(5, irregular(5, seed)), range(round(5 * DAY / REGIME)))
    assert life.refits() == []
    low = irregular(5, seed)[3]
    assert np.mean(life.alarms(low[0] / 24 + 0.05, low[1] / 24)) > 0.9


def test_the_same_every_day_from_the_third_day_on_is_not_learned() -> None:
    """It may be a fault that shows in one of two shifts."""
    life = Life(period_secs=REGIME, warmup_hours=WARMUP_HOURS)
    life.give(duty(7, daily(7)[3:]), range(round(7 * DAY / REGIME)))
    assert "routine" not in {life.machine.status(BEGIN)["refit_reason"]}
    assert np.mean(life.alarms(6.7, 7)) > 0.9


def test_a_restart_before_and_after_a_refit_gives_the_same_outcome(cycled: Life) -> None:
    series = duty(5, daily(5))
    for cut in (round(day * DAY / REGIME) + 5 for day in (0.3, 1.0, 1.9, 2.09, 2.6)):
        life = Life(period_secs=REGIME, warmup_hours=WARMUP_HOURS)
        life.give(series, range(cut))
        resumed = life.restarted(cut)
        resumed.give(series, range(cut, cut + 400))
        expected = cycled.judged[len(life.judged) :][: len(resumed.judged)]
        assert [asdict(each.score) for each in resumed.judged] == [asdict(each.score) for each in expected]
        assert [each.alert for each in resumed.judged] == [each.alert for each in expected]


# ---------------------------------------------------------------------------------------------------- schedule


def test_a_machine_is_fitted_again_every_so_often_at_a_time_of_its_own() -> None:
    series = steady(16, 300.0)[:, : round(13.2 * DAY / 300.0)]
    refits = {}
    for name in ("m", "n"):
        life = Life(period_secs=300.0, warmup_hours=96.0, name=name, every_days=3.0)
        life.give(series, range(series.shape[1]))
        refits[name] = life.refits()
        assert life.machine.status(BEGIN)["refit_reason"] == "schedule"
        assert life.machine.status(BEGIN)["refitted_at"] == pytest.approx(BEGIN + refits[name][-1] * DAY)
    assert refits["n"][-1] - refits["n"][-2] == pytest.approx(3.0, abs=0.1)
    assert abs(refits["m"][-1] - refits["n"][-1]) > 0.1


def test_where_the_history_is_lost_what_was_learned_stays() -> None:
    series = steady(16, 300.0)[:, : round(11 * DAY / 300.0)]
    life = Life(period_secs=300.0, warmup_hours=96.0, every_days=3.0)
    kept = round(8 * DAY / 300.0)
    life.give(series, range(kept))
    assert life.refits() == []
    life.blocks.clear()
    life.give(series, range(kept, series.shape[1]))
    assert life.refits() == []
    assert life.machine.status(BEGIN)["refitted_at"] is None
    assert life.machine.status(BEGIN)["learned_hours"] == 96.0
    assert life.judged[-1].score.model == 1
    assert life.judged[-1].score.score is not None


def test_without_a_schedule_nothing_is_fitted_again() -> None:
    series = duty(4, daily(4))
    life = Life(period_secs=REGIME, warmup_hours=WARMUP_HOURS, every_days=0.0)
    life.give(series, range(series.shape[1]))
    assert life.refits() == []
    assert any(life.alarms(3, 4))
    assert life.machine.status(BEGIN)["refitted_at"] is None


def test_a_channel_that_came_later_is_learned_and_one_that_went_is_no_hindrance() -> None:
    series = steady(13, 300.0)
    series[4, : round(5 * DAY / 300.0)] = np.nan
    series[0, round(5 * DAY / 300.0) :] = np.nan
    life = Life(period_secs=300.0, warmup_hours=96.0, every_days=3.0)
    life.give(series, range(series.shape[1]))
    assert life.refits()
    assert life.machine.status(BEGIN)["new_channels"] == []
    assert set(life.judged[-1].score.contributions) == set("abcde")


# ------------------------------------------------------------------------------------------------------- drift

HOP_SECS = 480.0


def watched(levels: Floats) -> list[tuple[int, str]]:
    """Windows after which a refit was due, and why, for a machine whose scores are on average at these levels.

    A level of 1 is the threshold; from there on the machine's alert is open.
    """
    grid = GridSpec(period_secs=60.0, length=16, hop=8)
    refits = Refits(RefitRules(365 * DAY), grid=grid, warmup_windows=180, seed=1)
    noise = np.random.default_rng(4).uniform(-0.15, 0.15, len(levels))
    due = []
    refits.first_fitted(BEGIN)
    for number, (level, around) in enumerate(zip(levels.tolist(), noise.tolist(), strict=True)):
        start = BEGIN + number * HOP_SECS
        score = Score(
            machine="m", source="s", start=start, end=start + 960.0, score=3 * (level + around), threshold=3.0,
            alarm=level >= 1, trust="prior", blank=None, extrapolated=False, coverage=1.0, model=1,
            evidence={}, contributions={}, signals={},
        )  # fmt: skip
        reason = refits.take(score, None, overspent=False, suspected=level >= 1, sound=True, running=True)
        if reason is not None:
            due.append((number, str(reason)))
            refits.refitted(score.end, reason)
    return due


def test_a_change_that_stays_where_it_is_without_an_alert_is_benign_and_learned() -> None:
    levels = np.repeat([0.2, 0.4], 720)
    ((window, reason),) = watched(levels)
    assert reason == "drift"
    assert 720 + 180 <= window < 720 + 360  # noticed, and a day without another


def test_without_a_change_there_is_no_refit_before_its_time() -> None:
    assert watched(np.full(1440, 0.2)) == []


@pytest.mark.parametrize("days", [3, 7])
def test_a_change_that_goes_on_until_it_alerts_is_not_learned_on_its_way(days: int) -> None:
    levels = np.concatenate([np.full(720, 0.2), np.linspace(0.2, 1.0, 180 * days), np.full(720, 1.0)])
    assert watched(levels) == []


def test_a_change_that_alerts_is_not_learned_though_it_goes_back_after() -> None:
    levels = np.concatenate([np.full(720, 0.2), np.full(60, 0.45), np.full(20, 1.0), np.full(170, 0.2)])
    assert watched(levels) == []
