"""The columns of a row agree with counts by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from appliance.evaluation.measuring import Alerting, Answer, deployed, grace_hops, measure
from appliance.evaluation.methods import Judged
from appliance.evaluation.truth import WEEK_SECS
from tests.evaluation.conformance import trial

HOPS = len(trial().test_ends)
EVENTS = trial().event_hops
GRACE = grace_hops(trial())


def answer(alerts: list[tuple[int, int | None]], scored: np.ndarray | None = None) -> Answer:
    alerting = Alerting(alerts, np.ones(HOPS, dtype=bool) if scored is None else scored)
    return Answer(trial().test_labels.astype(float), alerting, alerting)


def test_alerts_are_counted_against_the_normal_time_in_which_none_stands() -> None:
    (first, _), (second, end), (third, _) = EVENTS
    closing = end + GRACE - 1
    alerts: list[tuple[int, int | None]] = [
        (1, 3),
        (first + 2, first + 5),
        (closing, closing + 3),
        (closing + 4, closing + 6),
        (third - 1, third + 9),
    ]
    row = measure(trial(), answer(alerts), method="m", k=0, seed=0, tail="whole")
    normal = HOPS - sum(end - first + GRACE for first, end in EVENTS)
    weeks = normal * trial().hop_secs / WEEK_SECS
    exposed = weeks - (2 + 3 + 2) * trial().hop_secs / WEEK_SECS
    assert (row.hops, row.events) == (HOPS, 3)
    assert row.false_alerts == row.false_alerts_day == 3
    assert row.budget_alerts == pytest.approx(exposed)
    assert row.budget_alerts_day == pytest.approx(7 * exposed)
    assert row.false_alerts_per_week == pytest.approx(3 / weeks)
    assert row.recall_budget == pytest.approx(2 / 3)
    delays = 2, end + GRACE - 1 - second
    assert row.delay_s == pytest.approx(np.mean(delays) * trial().hop_secs)
    assert row.vus_pr == pytest.approx(1.0, abs=0.1)
    assert row.auc_pr == pytest.approx(1.0)


def test_the_common_tail_leaves_out_what_belongs_to_labelled_events() -> None:
    (_, used), (second, _), _ = EVENTS
    alerts = [(0, 1), (used + GRACE - 1, None), (used + GRACE, used + GRACE + 3), (second, None)]
    row = measure(trial(), answer(alerts), method="m", k=1, seed=0, tail="common", start=used)
    assert (row.hops, row.events) == (HOPS - used, 2)
    assert row.false_alerts == 1
    assert row.recall_budget == pytest.approx(1 / 2)
    assert row.delay_s == 0.0


def test_an_alert_that_stands_since_before_the_common_tail_leaves_no_time_for_others() -> None:
    (_, used), *_ = EVENTS
    whole, row = (
        measure(trial(), answer([(0, closed)]), method="m", k=1, seed=0, tail="common", start=used)
        for closed in (1, None)
    )
    assert whole.false_alerts == row.false_alerts == 0
    assert row.budget_alerts == 0.0
    assert whole.budget_alerts


def test_an_event_soon_after_a_labelled_one_counts() -> None:
    (_, used), (second, _), _ = EVENTS
    soon = second - 1
    row = measure(trial(), answer([(second, None)]), method="m", k=1, seed=0, tail="common", start=max(used, soon))
    assert row.recall_budget == pytest.approx(1 / 2)


def test_without_events_there_are_still_false_alerts() -> None:
    empty = replace(trial(), events=(), labels=np.zeros_like(trial().labels))
    row = measure(empty, answer([(4, 6)]), method="m", k=0, seed=0, tail="whole")
    assert (row.vus_pr, row.auc_pr, row.recall_budget, row.delay_s) == (None, None, None, None)
    assert row.false_alerts == 1


def test_hops_without_a_score_are_not_watched() -> None:
    (first, end), *_ = EVENTS
    scored = np.ones(HOPS, dtype=bool)
    scored[: end + GRACE] = False
    row = measure(trial(), answer([(end + GRACE + 1, end + GRACE + 1)], scored), method="m", k=0, seed=0, tail="whole")
    everything = measure(trial(), answer([]), method="m", k=0, seed=0, tail="whole")
    assert row.recall_budget == 0.0
    assert row.budget_alerts is not None
    assert everything.budget_alerts is not None
    assert row.budget_alerts == pytest.approx(everything.budget_alerts - first * trial().hop_secs / WEEK_SECS)


def test_any_methods_scores_get_the_services_threshold_and_alert_rules() -> None:
    rng = np.random.default_rng(0)
    test = rng.exponential(size=HOPS) * 0.1
    for hop in (5, 6, 40, EVENTS[1][0], EVENTS[1][0] + 1):  # 40 alone is no alert
        test[hop] = 1e6
    judged = Judged(rng.exponential(size=2000), test)
    found = deployed(trial(), judged)
    assert [opened for opened, _ in found.week.alerts] == [6, EVENTS[1][0] + 1]
    row = measure(trial(), found, method="m", k=0, seed=0, tail="whole")
    assert row.false_alerts == 1
    assert row.recall_budget == pytest.approx(1 / 3)
    assert row.delay_s == trial().hop_secs
