"""The appliance's own ways to learn from labels as the protocol asks them, and the ablations that must not work."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.adapt.support import Span
from appliance.detect.traces import Traces
from appliance.evaluation.adapted import ADAPTED, Traced, flipped, shuffled, spans_of
from appliance.evaluation.methods import Support
from tests.evaluation.conformance import trial

HOPS = 300
EVENTS = [(60, 66), (120, 126), (200, 206), (250, 256)]


def traced() -> Traced:
    rng = np.random.default_rng(0)

    def made(count: int, events: list[tuple[int, int]]) -> Traces:
        loudness, features = np.log1p(rng.exponential(size=(count, 5))), rng.normal(size=(count, 8))
        for first, end in events:
            loudness[first:end, 2] += 1.5
            features[first:end, 3] += 9.0
        return Traces(loudness.mean(axis=1), np.hstack([loudness, features]), 5)

    return Traced(made(400, []), made(HOPS, EVENTS))


def support(k: int) -> Support:
    hops = [np.arange(*event) for event in EVENTS[:k]]
    owner = np.concatenate([np.full(len(each), event) for event, each in enumerate(hops)])
    return Support(k, np.concatenate(hops), owner, np.array([5, 6, 7, 20]), EVENTS[k - 1][1])


def gain(name: str, seed: int = 0) -> float:
    """By how much the later events' mean rank among normal hops rises with two labels."""
    seen, normal = traced(), np.ones(HOPS, dtype=bool)
    for first, end in EVENTS:
        normal[first:end] = False

    def standing(scores: np.ndarray) -> float:
        return float(np.mean([(scores[normal] < value).mean() for e in EVENTS[2:] for value in scores[slice(*e)]]))

    judged = ADAPTED[name].judge(trial(), seen, support(2), seed)
    return standing(judged.test) - standing(seen.test.strangeness)


@pytest.mark.parametrize(
    "name", ["adapt:ridge", "adapt:prototype", "adapt:ridge:evidence_only", "adapt:ridge:gate_off", "blend"]
)
def test_labels_help_where_faults_recur(name: str) -> None:
    assert gain(name) > 0.02


def test_labels_moved_to_anywhere_do_not() -> None:
    method = ADAPTED["adapt:ridge:shuffled"]
    assert np.mean([gain(method.name, seed) for seed in range(method.seeds)]) < gain("adapt:ridge") / 2


def test_without_labels_the_ranking_is_the_service_s_own() -> None:
    seen = traced()
    judged = ADAPTED["adapt:ridge"].judge(trial(), seen, Support.none(), 0)
    assert judged.test.tobytes() == seen.test.strangeness.tobytes()
    assert judged.warm_up.tobytes() == seen.warm_up.strangeness.tobytes()


def test_what_lies_ahead_does_not_change_what_was_learned() -> None:
    seen = traced()
    changed = Traced(seen.warm_up, Traces(seen.test.strangeness.copy(), seen.test.traits.copy(), 5))
    changed.test.traits[EVENTS[1][1] :] *= 3.0
    first, second = (ADAPTED["adapt:ridge"].judge(trial(), each, support(2), 0) for each in (seen, changed))
    assert first.test[: EVENTS[1][1]].tobytes() == second.test[: EVENTS[1][1]].tobytes()
    assert first.warm_up.tobytes() == second.warm_up.tobytes()


def test_false_alarms_come_as_they_were_raised_and_events_after_them() -> None:
    assert spans_of(support(1)) == [Span(5, 8, "false_alarm"), Span(20, 21, "false_alarm"), Span(60, 66, "fault")]


def test_mislabelling_draws_anew_with_each_seed_and_keeps_to_the_past() -> None:
    spans, known = spans_of(support(2)), support(2)
    moved = [tuple(shuffled(spans, known, np.random.default_rng(seed))) for seed in range(5)]
    assert len(set(moved)) == 5
    assert all(0 <= span.first < span.end <= known.seen for each in moved for span in each)
    turned = [flipped(spans, known, np.random.default_rng(seed)) for seed in range(200)]
    share = np.mean([[a != b for a, b in zip(each, spans, strict=True)] for each in turned])
    assert share == pytest.approx(0.3, abs=0.05)
