from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import average_precision_score

from appliance.evaluation.metrics import Bools, Deployed, Operation, alerts_of, auc_pr, operation, vus_pr
from appliance.evaluation.trials import Span
from appliance.evaluation.truth import Event, compare
from appliance.incidents import AlertRules
from appliance.records import Alert, Floats


def random_case(seed: int) -> tuple[Floats, Bools]:
    """Scores with ties and events of any kind: adjacent, at the ends, of one hop, overlapping in their flanks."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(12, 500))
    labels = np.zeros(n, dtype=bool)
    for start in rng.integers(-5, n, rng.integers(1, 9)):
        labels[max(start, 0) : max(start, 0) + int(rng.integers(1, 12))] = True
    labels[int(rng.integers(n))] = False
    scores = rng.normal(size=n) + labels * rng.uniform(0, 3)
    return (np.round(scores, int(rng.integers(0, 4))) if seed % 2 else scores), labels


def published_volume(scores: Floats, labels: Bools, max_buffer: int) -> float:
    """VUS-PR as its definition reads, threshold by threshold and hop by hop."""
    n = len(scores)
    edges = [i for i in range(n + 1) if (i < n and labels[i]) != (i > 0 and labels[i - 1])]
    events = [(edges[i], edges[i + 1] - 1) for i in range(0, len(edges), 2)]
    areas = []
    for buffer in range(max_buffer + 1):
        half = buffer // 2
        soft = labels.astype(float)
        for first, last in events:
            for i in range(n):
                distance = first - i if i < first else i - last
                if 0 < distance <= half:
                    soft[i] += math.sqrt(1 - distance / buffer)
        soft = np.minimum(soft, 1)
        ranges = [[max(events[0][0] - half, 0), events[0][1] + half]]
        for first, last in events[1:]:
            if first - half > ranges[-1][1]:
                ranges.append([first - half, last + half])
            else:
                ranges[-1][1] = last + half
        area = recall_before = 0.0
        for rank in np.linspace(0, n - 1, 250).astype(int):
            alarm = scores >= np.sort(scores)[::-1][rank]
            hits = float((soft * alarm).sum())
            positive = (labels.sum() + np.where(labels, 1.0, soft * alarm).sum()) / 2
            found = sum(bool(alarm[first : last + 1].any()) for first, last in ranges)
            recall = min(hits / positive, 1) * found / len(ranges)
            area += (recall - recall_before) * hits / alarm.sum()
            recall_before = recall
        areas.append(area)
    return sum(areas) / len(areas)


@pytest.mark.parametrize("seed", range(40))
def test_the_area_is_scikit_learns_average_precision(seed: int) -> None:
    scores, labels = random_case(seed)
    assert math.isclose(auc_pr(scores, labels), average_precision_score(labels, scores), abs_tol=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_the_volume_is_the_published_one(seed: int) -> None:
    scores, labels = random_case(seed)
    max_buffer = seed % 12
    assert math.isclose(vus_pr(scores, labels, max_buffer), published_volume(scores, labels, max_buffer), abs_tol=1e-12)


@pytest.mark.parametrize("measure", [auc_pr, lambda scores, labels: vus_pr(scores, labels, 4)])
def test_a_figure_needs_both_kinds_of_hops(measure: Callable[[Floats, Bools], float]) -> None:
    scores = np.arange(9.0)
    assert math.isnan(measure(scores, np.zeros(9, dtype=bool)))
    assert math.isnan(measure(scores, np.ones(9, dtype=bool)))
    assert measure(scores, scores > 6) == 1.0


def test_the_volume_forgives_an_alarm_beside_the_event() -> None:
    labels = np.zeros(200, dtype=bool)
    labels[100:110] = True
    late, far = np.roll(labels, 4).astype(float), np.roll(labels, 40).astype(float)
    assert vus_pr(late, labels, 16) > auc_pr(late, labels)
    assert vus_pr(late, labels, 16) > vus_pr(far, labels, 16)


def test_the_volume_takes_less_than_a_second() -> None:
    rng = np.random.default_rng(0)
    labels = (np.arange(40_000) % 400) < 40
    scores = rng.normal(size=labels.size) + labels
    started = time.process_time()
    vus_pr(scores, labels, 25)
    assert time.process_time() - started < 1.0


RULES = AlertRules(open_windows=2, of_windows=3, close_windows=2, close_ratio=0.8, cooldown_secs=50.0)


@pytest.mark.parametrize(
    ("scores", "alerts"),
    [
        ([0, 5, 0, 0, 0, 0], []),
        ([0, 5, 0, 5, 0, 0, 0], [(3, 5)]),
        ([5, 5, 0, 0, 5, 5], [(1, None)]),
        ([5, 5, 0, 0, 5, 5, 0, 0], [(1, 7)]),
        ([5, 5, 0, 0, *[0] * 6, 5, 5, 0], [(1, 3), (11, None)]),
        ([5, math.nan, 5, math.nan, 0, 3.5, 0, 0], [(2, 7)]),
    ],
)
def test_alerts_follow_the_rules_of_the_service(scores: list[float], alerts: list[tuple[int, int | None]]) -> None:
    assert alerts_of(np.array(scores, dtype=float), 4.0, RULES, hop_secs=10.0) == alerts


def test_each_hop_may_have_its_own_threshold() -> None:
    assert alerts_of(np.full(6, 5.0), np.array([6.0, 6, 6, 4, 4, 4]), RULES, 10.0) == [(4, None)]


def as_compared(alerts: list[tuple[int, int | None]], spans: list[Span], scored: Bools, grace: int) -> Operation:
    """The same question, put to `compare` with hops for seconds."""
    watched = np.flatnonzero(scored)[[0, -1]]
    found = compare(
        [Event("m", "event", first, end - 1) for first, end in spans],
        [Alert("", "m", "open", opened, opened, opened, closed, 0.0, 0.0, {}, {}, "") for opened, closed in alerts],
        {"m": (watched[0], watched[1] + 1)},
        grace,
    )
    delays = tuple(int(match.delay_secs) for match in found.matches if match.delay_secs is not None)
    rightly = [any(match.event.start <= hop <= match.event.end + grace for match in found.matches) for hop in range(60)]
    normal = [hop for hop in range(60) if scored[hop] and not rightly[hop]]
    exposed = sum(not any(opened < hop <= (closed or 60) for opened, closed in alerts) for hop in normal)
    return Operation(
        len(found.matches), found.caught, found.overshadowed, delays, len(found.false_alerts), len(normal), exposed
    )


hop_numbers = st.integers(0, 59)


@settings(deadline=None)
@given(
    st.lists(st.tuples(hop_numbers, st.none() | st.integers(1, 30)), max_size=6),
    st.lists(st.tuples(hop_numbers, st.integers(1, 15)), max_size=5),
    st.sets(hop_numbers, min_size=1),
    st.integers(0, 5),
)
def test_operation_agrees_with_the_comparison_of_the_service(
    alerts: list[tuple[int, int | None]], spans: list[tuple[int, int]], scored: set[int], grace: int
) -> None:
    stood = [(opened, None if hops is None else opened + hops) for opened, hops in alerts]
    events = sorted((first, min(first + hops, 60)) for first, hops in spans)
    mask = np.isin(np.arange(60), list(scored))
    assert operation(stood, events, mask, grace) == as_compared(stood, events, mask, grace)


def test_nothing_is_watched_without_a_score() -> None:
    assert operation([], [(3, 5)], np.zeros(9, dtype=bool), 1) == Operation(0, 0, 0, (), 0, 0, 0)


def overlapping(hops: int, rng: np.random.Generator) -> Floats:
    """Evidence of windows of which eight share a sample."""
    noise = np.convolve(rng.normal(size=hops + 7), np.full(8, 8**-0.5), "valid")
    return np.asarray(-norm.logsf(noise))


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-3, -40.0), (1e4, 7.0)])
def test_the_deployed_threshold_spends_its_budget_within_a_factor_on_any_scale(scale: float, offset: float) -> None:
    rng = np.random.default_rng(2)
    warm_up, later = (offset + scale * overlapping(hops, rng) for hops in (8_000, 40_000))
    deployed = Deployed(warm_up, block=16, confirm=2, of=3)
    threshold = deployed.threshold(1 / 1000).score
    alerts = alerts_of(deployed.scores(later), threshold, AlertRules(cooldown_secs=0.0), 60.0)
    assert 40 / 2.5 <= len(alerts) <= 40 * 2.5


def test_a_constant_warm_up_can_be_deployed() -> None:
    deployed = Deployed(np.full(100, 3.0), block=16, confirm=2, of=3)
    low, high = deployed.scores(np.array([3.0, 4.0]))
    assert low < deployed.threshold(1e-4).score < high < math.inf
