from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.adapt.promote import Budget, Showing, alerts, in_words, show, veto
from appliance.adapt.support import Span, Support
from appliance.detect.calibrate import Calibrator
from appliance.detect.head import Head
from appliance.detect.traces import Traces
from appliance.incidents import AlertRules, IncidentTracker
from appliance.records import Floats
from tests.test_incidents import HOP, LENGTH, THRESHOLD, score

RULES = AlertRules(cooldown_secs=5 * HOP)
BUDGET = Budget(1.0, 1000.0)


@given(st.lists(st.sampled_from([0.0, 2.5, 3.0, 3.2]), max_size=60))
def test_a_rehearsal_raises_the_alerts_that_the_service_would(values: list[float]) -> None:
    tracker = IncidentTracker(RULES)
    told = [tracker.update(score(number, value)) for number, value in enumerate(values)]
    opened = {alert.id: alert.since for alert in told if alert is not None and alert.state == "open"}
    heard = np.array(values)
    ends: Floats = np.arange(float(len(values))) * HOP + LENGTH
    quiet = heard < RULES.close_ratio * THRESHOLD
    rehearsed = alerts(heard >= THRESHOLD, quiet, ends, RULES)
    assert [first * HOP for first, _ in rehearsed] == list(opened.values())
    assert all(heard[last] >= THRESHOLD for _, last in rehearsed)


def past(strangeness: Floats, *spans: Span) -> tuple[Support, Calibrator]:
    """A warm-up of small strangeness, and a past."""
    rng = np.random.default_rng(0)
    warm_up = Traces(rng.exponential(0.1, 2000), np.zeros((2000, 3)), 2)
    seen = Traces(strangeness, np.zeros((len(strangeness), 3)), 2)
    return Support.of(warm_up, seen, spans, straddle=2), Calibrator(warm_up.strangeness, 8, 2, 3)


def showing(support: Support, calibrator: Calibrator) -> Showing:
    ends: Floats = np.arange(float(len(support.past))) * 604.8
    return show(Head.prior(), calibrator, support, ends, rules=AlertRules(), budget=BUDGET)


def test_a_head_is_shown_by_the_faults_it_catches_and_the_other_alerts_it_raises() -> None:
    strangeness = np.random.default_rng(1).exponential(0.1, 1000)
    strangeness[100:110] = 9.0  # a labelled fault
    strangeness[400:410] = 9.0  # nobody knows
    faults = Span(100, 110, "fault"), Span(700, 710, "fault")
    shown = showing(*past(strangeness, *faults))
    assert shown.caught == (True, False)
    strangeness[400:410] = 0.0
    assert shown.alerts == showing(*past(strangeness, *faults)).alerts + 1
    assert shown.weeks == pytest.approx(2.95, abs=0.05)


def test_windows_without_a_score_are_no_evidence() -> None:
    strangeness = np.full(1000, np.nan)
    strangeness[500:] = 0.05
    shown = showing(*past(strangeness, Span(100, 110, "fault")))
    assert (shown.caught, shown.weeks) == ((), 2.5)


def test_only_clear_harm_is_vetoed() -> None:
    before = Showing((True, False), 2, 4.0)
    assert veto(before, Showing((True, False), 2, 4.0), BUDGET) is None
    assert veto(before, Showing((True, True), 5, 4.0), BUDGET) is None  # one more than the budget has is chance
    assert veto(before, Showing((True, False), 6, 4.0), BUDGET) == (
        "it would raise 1.5 alerts a week, more than now and than the budget allows"
    )
    assert veto(Showing((True, False), 9, 4.0), Showing((True, False), 9, 4.0), BUDGET) is None
    assert veto(before, Showing((False, True), 0, 4.0), BUDGET) == "it would lose 1 labelled fault caught now"


def test_without_a_fault_only_alerts_are_told() -> None:
    assert in_words(Showing((), 3, 0.1), Showing((), 0, 0.1)) == "0.0 alerts a week over 16.8 hours (before: 30.0)"
