from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.adapt.promote import Budget, Rehearsal, Showing, gives_way, in_words, stretches, take_back, veto
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
    rehearsed = stretches(heard >= THRESHOLD, quiet, ends, RULES)
    assert [each.first * HOP for each in rehearsed if not each.again] == list(opened.values())
    assert all(heard[each.last] >= THRESHOLD for each in rehearsed)


def past(strangeness: Floats, *spans: Span) -> tuple[Support, Calibrator]:
    """A warm-up of small strangeness, and a past."""
    rng = np.random.default_rng(0)
    warm_up = Traces(rng.exponential(0.1, 2000), np.zeros((2000, 3)), 2)
    seen = Traces(strangeness, np.zeros((len(strangeness), 3)), 2)
    return Support.of(warm_up, seen, spans, straddle=2), Calibrator(warm_up.strangeness, 8, 2, 3)


def showing(support: Support, calibrator: Calibrator) -> Showing:
    ends: Floats = np.arange(float(len(support.past))) * 604.8
    return Rehearsal(Head.prior(), support, ends, rules=AlertRules(), budget=BUDGET).show(calibrator)


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


def strict(strangeness: Floats, *spans: Span) -> tuple[Rehearsal, Calibrator]:
    """A rehearsal, and a calibration whose threshold alerts have raised as far as it goes."""
    support, calibrator = past(strangeness, *spans)
    calibrator.give_back(-10.0)
    ends: Floats = np.arange(float(len(support.past))) * 604.8
    return Rehearsal(Head.prior(), support, ends, rules=AlertRules(), budget=BUDGET), calibrator


def between(calibrator: Calibrator) -> float:
    """Return a strangeness below the threshold that is above it once that gives way a little."""
    lower = calibrator.lowered()
    assert lower is not None
    limits = [each.threshold(BUDGET.per_window).score for each in (calibrator, lower)]
    return with_score(calibrator, sum(limits) / 2)


def with_score(calibrator: Calibrator, score: float) -> float:
    """Return the least strangeness that has it."""
    levels: list[float] = np.linspace(0.0, 9.0, 9001).tolist()
    return next(level for level in levels if calibrator.score(level)[0] >= score)


def test_a_threshold_gives_way_before_a_caught_fault_is_lost() -> None:
    strangeness = np.full(1000, 0.05)
    strangeness[100:110] = between(strict(strangeness)[1])
    rehearsal, calibrator = strict(strangeness, Span(100, 110, "fault"))
    assert not any(rehearsal.show(calibrator).caught)
    lower, after = gives_way(rehearsal, calibrator, shown(True), BUDGET)
    assert after == rehearsal.show(lower)
    assert (after.caught, lower.correction) == ((True,), calibrator.correction - 0.25)
    assert gives_way(rehearsal, calibrator, shown(False), BUDGET)[0] is calibrator, "there is nothing to lose"


def test_a_threshold_does_not_give_way_to_more_alerts_than_are_allowed() -> None:
    strangeness = np.full(1000, 0.05)
    strangeness[100:110] = level = between(strict(strangeness)[1])
    for first in range(200, 1000, 100):
        strangeness[first : first + 4] = level
    rehearsal, calibrator = strict(strangeness, Span(100, 110, "fault"))
    kept, after = gives_way(rehearsal, calibrator, shown(True), BUDGET)
    assert kept is calibrator
    assert veto(shown(True), after, BUDGET) == "it would lose 1 labelled fault caught now"


def test_a_threshold_does_not_give_way_beyond_its_bound() -> None:
    strangeness = np.full(1000, 0.05)
    rehearsal, calibrator = strict(strangeness, Span(100, 110, "fault"))
    assert gives_way(rehearsal, calibrator, shown(True), BUDGET)[0] is calibrator


GIVEN = 2.0


def low_after_giving_back(strangeness: Floats) -> tuple[Rehearsal, Calibrator]:
    """As right alerts leave it that had raised the threshold by that."""
    rehearsal, calibrator = strict(strangeness)
    assert calibrator.give_back(GIVEN) == GIVEN
    return rehearsal, calibrator


def test_nothing_is_taken_back_where_the_past_bears_a_low_threshold() -> None:
    rehearsal, low = low_after_giving_back(np.full(1000, 0.05))
    assert take_back(rehearsal, low, GIVEN, BUDGET) == (low, rehearsal.show(low))


def test_as_much_is_taken_back_as_lets_alerts_close() -> None:
    """The latest normal windows are odder than those before, as where a machine has changed."""
    strangeness = np.full(1000, 0.05)
    low = low_after_giving_back(strangeness)[1]
    strangeness[-300:] = with_score(low, 0.9 * low.threshold(BUDGET.per_window).score)
    rehearsal, low = low_after_giving_back(strangeness)
    assert not rehearsal.show(low).settles
    kept, shown = take_back(rehearsal, low, GIVEN, BUDGET)
    assert shown.settles
    assert low.correction < kept.correction < low.correction + GIVEN
    assert take_back(rehearsal, low, 0.25, BUDGET)[0].correction == low.correction + 0.25, "no more than was given"


def test_as_much_is_taken_back_as_keeps_the_budget() -> None:
    strangeness = np.full(1000, 0.05)
    low = low_after_giving_back(strangeness)[1]
    for first in range(100, 1000, 100):
        strangeness[first : first + 4] = with_score(low, low.threshold(BUDGET.per_window).score + 1.0)
    rehearsal, low = low_after_giving_back(strangeness)
    kept, shown = take_back(rehearsal, low, GIVEN, BUDGET)
    assert shown.alerts <= 3 < rehearsal.show(low).alerts
    assert low.correction < kept.correction <= low.correction + GIVEN


def test_a_threshold_does_not_give_way_to_where_no_alert_would_close() -> None:
    strangeness = np.full(1000, 0.05)
    strangeness[100:110] = level = between(strict(strangeness)[1])
    strangeness[-300:] = 0.95 * level
    rehearsal, calibrator = strict(strangeness, Span(100, 110, "fault"))
    assert gives_way(rehearsal, calibrator, shown(True), BUDGET)[0] is calibrator


def shown(*caught: bool, alerts: int = 2, beaten: float = 0.0) -> Showing:
    return Showing(caught, (beaten,) * len(caught), alerts, 4.0)


def test_only_clear_harm_is_vetoed() -> None:
    before = shown(True, False)
    assert veto(before, shown(True, False), BUDGET) is None
    assert veto(before, shown(True, True, alerts=5), BUDGET) is None  # one more than the budget has is chance
    assert veto(before, shown(True, False, alerts=6), BUDGET) == (
        "it would raise 1.5 alerts a week, more than now and than the budget allows"
    )
    assert veto(shown(True, False, alerts=9), shown(True, False, alerts=9), BUDGET) is None
    assert veto(before, shown(False, True, alerts=0), BUDGET) == "it would lose 1 labelled fault caught now"


def test_a_fault_that_stands_out_more_is_not_lost_to_a_higher_threshold() -> None:
    caught = shown(True, True, beaten=0.02)
    assert veto(caught, shown(False, False, beaten=0.001), BUDGET) is None
    assert veto(caught, shown(False, False, beaten=0.02), BUDGET) == "it would lose 2 labelled faults caught now"


def test_how_far_a_fault_stands_out_is_counted_as_it_would_alert() -> None:
    strangeness = np.full(1000, 0.05)
    strangeness[100:104] = [9.0, 3.0, 2.0, 0.05]  # two windows make an alert: it is as strange as its second
    strangeness[400:410] = 2.5
    strangeness[500:520] = 3.5
    (beaten,) = showing(*past(strangeness, Span(100, 104, "fault"))).beaten
    normal = 2000 + 1000 - 4 - 2 - 1  # less the event, what straddles it, and the window before
    assert beaten == pytest.approx(20 / normal)


@pytest.mark.parametrize(("since", "caught"), [(10, False), (95, True), (104, True)])
def test_an_alert_that_has_stood_for_long_is_not_about_a_fault(since: int, caught: bool) -> None:
    strangeness = np.full(1000, 0.05)
    strangeness[since:110] = 9.0
    assert showing(*past(strangeness, Span(100, 110, "fault"))).caught == (caught,)


def test_a_fault_for_which_the_same_alert_opens_again_is_caught() -> None:
    strangeness = np.full(1000, 0.05)
    without = showing(*past(strangeness, Span(100, 110, "fault")))
    strangeness[90:94] = strangeness[98:110] = 9.0
    shown = showing(*past(strangeness, Span(100, 110, "fault")))
    assert (shown.caught, shown.alerts) == ((True,), without.alerts + 1)


def test_without_a_fault_only_alerts_are_told() -> None:
    before, after = Showing((), (), 3, 0.1), Showing((), (), 0, 0.1)
    assert in_words(before, after) == "0.0 alerts a week over 16.8 hours (before: 30.0)"
