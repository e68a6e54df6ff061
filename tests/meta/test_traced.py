"""What the service sees of recordings and of their struck copies, and that it looks only once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from appliance.evaluation.datasets import Skipped
from appliance.meta import traced as module
from appliance.meta.machines import permitted
from appliance.meta.synthesis import FAMILIES
from appliance.meta.traced import LEAST_STRIKES, TracedMachine, struck_copy, traced_machines
from tests.meta.grounds import EVENTS, WARM_UP, trial


def test_a_copy_is_struck_where_it_is_calm_and_nowhere_else() -> None:
    one = trial("three", 2, 1)
    copy, families = struck_copy(one)
    kept = len(copy.values)
    assert LEAST_STRIKES <= len(families) == len(copy.events)
    assert set(families) <= set(FAMILIES)
    assert not (copy.labels & one.labels[:kept]).any()
    assert not copy.labels[:WARM_UP].any()
    np.testing.assert_array_equal(copy.values[~copy.labels], one.values[:kept][~copy.labels])
    assert all((copy.values[a:b] != one.values[a:b]).any() for a, b in copy.events)


def test_what_strikes_follows_from_the_machine_s_name() -> None:
    (first, families), (again, same) = (struck_copy(trial("three", 2, 1)) for _ in range(2))
    assert families == same
    np.testing.assert_array_equal(first.values, again.values)
    assert struck_copy(trial("ten", 2, 1))[0].events != first.events


def test_families_come_from_both_halves_and_recur() -> None:
    _, families = struck_copy(trial("three", 2, 1))
    names = list(FAMILIES)
    halves = [{name for name in families if (names.index(name) < len(names) // 2) == first} for first in (True, False)]
    assert all(1 <= len(half) <= 2 for half in halves)
    assert max(families.count(name) for name in families) >= 3


def test_a_machine_is_traced_with_its_own_events_and_with_made_up_ones(traced: list[TracedMachine]) -> None:
    assert {machine.name for machine in traced} == {"three", "ten"}
    for machine in traced:
        assert machine.own is not None
        assert machine.struck is not None
        assert len(machine.own.events) == len(EVENTS)
        assert len(machine.struck.events) == len(machine.struck.families) >= LEAST_STRIKES
        seen = machine.own.test.strangeness
        inside = np.zeros(len(seen), dtype=bool)
        for span in machine.own.events:
            inside[span.first : span.end] = True
        assert np.nanmean(seen[inside]) > np.nanmean(seen[~inside]) + 0.3
        hidden = machine.struck.unknown
        assert hidden.any()
        assert not any(hidden[span.first : span.end].all() for span in machine.struck.events)


def test_a_machine_with_other_detectors_than_most_is_left_out(
    traced: list[TracedMachine], left_out: list[Skipped]
) -> None:
    usual = traced[0].detectors
    assert [(each.machine, f"most machines have {usual}" in each.reason) for each in left_out] == [("short", True)]


def test_what_was_traced_is_not_traced_again(
    recorded: Path, traced: list[TracedMachine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "operate", refuse)
    again = list(traced_machines(permitted(recorded / "data", None, 9, 0), recorded / "cache"))
    for one, other in zip(traced, again, strict=True):
        assert one.own is not None
        assert other.own is not None
        np.testing.assert_array_equal(one.own.test.traits, other.own.test.traits)
