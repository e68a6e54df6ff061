"""A prior is chosen where it is not measured, and what it is worth is measured where it was not chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from appliance.adapt.prior import Prior
from appliance.errors import ResultsError
from appliance.evaluation.held_out_prior import GRID, Gains, chosen, chosen_on_all, gains, held_out_priors
from appliance.evaluation.metrics import vus_pr
from tests.evaluation.conformance import trial
from tests.evaluation.test_adapted import EVENTS, HOPS, support, traced

SHIPPED = GRID.index(Prior())


def machine(dataset: str, name: str, best: int, by: float = 0.1, others: float = 0.0) -> Gains:
    values = [others] * len(GRID)
    values[best] = by
    return Gains(dataset, name, name, "MIT", {1: values, 2: values})


def test_the_shipped_prior_is_in_the_grid_and_stays_where_none_is_better() -> None:
    assert GRID.count(Prior()) == 1
    assert chosen([[machine("a", "1", SHIPPED, by=0.0)]]) == SHIPPED
    assert chosen([[machine("a", "1", 5)], [machine("b", "1", 5)]]) == 5


def test_every_dataset_counts_the_same_and_no_machine_for_more_than_it_may() -> None:
    one, many = [machine("a", "1", 3, by=0.2)], [machine("b", str(i), 4, by=0.15) for i in range(9)]
    assert chosen([one, many]) == 3
    lucky = [machine("a", "1", 3, by=0.9)]
    assert chosen([lucky, [machine("b", "1", 4, by=0.31)], [machine("c", "1", 4, by=0.1)]]) == 4


def test_no_gain_in_the_mean_makes_up_for_harm_to_more_than_one_machine_in_ten() -> None:
    machines = [machine("a", str(i), 7, by=-0.03 if i < 3 else 0.2) for i in range(20)]
    assert chosen([machines]) == SHIPPED
    assert chosen([machines[1:]]) == SHIPPED
    assert chosen([machines[2:]]) == 7  # one is harmed, and one may be


def test_all_datasets_together_choose_what_is_handed_on() -> None:
    machines = [machine("a", "1", 3), machine("b", "1", 3), machine("b", "2", 4)]
    assert chosen_on_all(machines) == GRID[3]
    assert Prior.of(GRID[3].tensors()) == GRID[3]


def test_what_is_tested_has_no_say() -> None:
    found = held_out_priors([machine("a", "1", 3), machine("a", "2", 3), machine("b", "1", 4), machine("b", "2", 4)])
    on_a, on_b = found
    assert (on_a.tested_on, on_a.chosen_on) == ("a", "b")
    assert on_a.gain[1].value == 0.0
    assert on_a.best[1] == on_b.best[2] == pytest.approx(0.1)
    assert on_a.harmed == {1: 0.0, 2: 0.0}


def test_groups_of_servers_choose_for_each_other() -> None:
    servers = [machine("smd", f"machine-{group}-{i}", 10 + group) for group in (1, 2) for i in (1, 2)]
    found = {each.tested_on: each for each in held_out_priors(servers)}
    assert set(found) == {"smd group 1", "smd group 2"}
    assert found["smd group 1"].gain[1].value == 0.0


def test_one_dataset_alone_has_nothing_to_choose_on() -> None:
    with pytest.raises(ResultsError, match="at least two"):
        held_out_priors([machine("a", "1", 3)])


def test_gains_of_the_shipped_prior_are_those_of_its_head() -> None:
    """The grid is measured without building each head: it must come to the same."""
    from appliance.adapt.adapters.ridge import Ridge
    from appliance.evaluation.adapted import known_at

    seen, known, start = traced(), support(2), EVENTS[1][1]
    labels = np.zeros(HOPS, dtype=bool)
    for first, end in EVENTS:
        labels[first:end] = True
    of = replace(trial())  # a copy: it is shared
    object.__setattr__(of, "test_labels", labels)
    found = gains(of, seen, {2: known}, start)
    head = Ridge().adapt(Prior(), known_at(of, seen, known))
    buffer = max(1, of.length // of.hop)
    ranked, before = head.blended(seen.test)[start:], seen.test.strangeness[start:]
    gained = vus_pr(ranked, labels[start:], buffer) - vus_pr(before, labels[start:], buffer)
    assert found.by_k[2][SHIPPED] == pytest.approx(gained, abs=1e-9)
    assert len(set(found.by_k[2])) > 10
