"""What every adapter promises, on made-up traces with one direction in which the faults of this machine lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.adapt.adapters import ADAPTERS, DEFAULT
from appliance.adapt.adapters.base import Adapter
from appliance.adapt.adapters.descending import METHODS
from appliance.adapt.adapters.ridge import discriminant
from appliance.adapt.prior import KNOTS, Prior
from appliance.adapt.support import Span, Support
from appliance.detect.head import Head
from appliance.detect.traces import Traces
from tests.adapt.descents import Untrained

DETECTORS, FEATURES = 6, 12
WARM_UP, PAST = 600, 400
EVENTS = [(100, 108), (200, 212)]
ROUTINE = (300, 310)
STRADDLE = 3
NOTHING = (0.0,) * len(KNOTS)
SPANS = [Span(*event, "fault") for event in EVENTS]

EVERY: dict[str, Adapter] = {
    **{name: make() for name, make in ADAPTERS.items()},
    **{method: Untrained(method) for method in METHODS},
}
adapters = pytest.mark.parametrize("adapter", EVERY.values(), ids=list(EVERY))


def traces(count: int, seed: int, *, detectors: int = DETECTORS, features: int = FEATURES) -> Traces:
    rng = np.random.default_rng(seed)
    loudness = np.log1p(rng.exponential(size=(count, detectors)))
    return Traces(loudness.mean(axis=1), np.hstack([loudness, rng.normal(size=(count, features))]), detectors)


def with_spans(seen: Traces, spans: list[tuple[int, int]], detector: int, feature: int, loud: float) -> Traces:
    """In the spans one detector is loud and two neighbouring features are far from usual."""
    traits, strangeness = seen.traits.copy(), seen.strangeness.copy()
    for first, end in spans:
        traits[first:end, detector] += loud
        traits[first:end, seen.detectors + feature : seen.detectors + feature + 2] += 25.0
        strangeness[first:end] += loud / seen.detectors
    return Traces(strangeness, traits, seen.detectors)


def past() -> Traces:
    return with_spans(with_spans(traces(PAST, 2), EVENTS, 0, 0, 1.5), [ROUTINE], 3, 6, 6.0)


def support(spans: list[Span], seen: Traces | None = None) -> Support:
    return Support.of(traces(WARM_UP, 1), past() if seen is None else seen, spans, straddle=STRADDLE)


def future() -> Traces:
    """Two more events of the same kind, and the routine once more."""
    return with_spans(with_spans(traces(PAST, 3), EVENTS, 0, 0, 1.5), [ROUTINE], 3, 6, 6.0)


def inside(spans: list[tuple[int, int]]) -> NDArray[np.bool_]:
    mask = np.zeros(PAST, dtype=bool)
    for first, end in spans:
        mask[first:end] = True
    return mask


def higher_than(normal: NDArray[np.float64], strangeness: NDArray[np.float64]) -> float:
    """Share of normal windows that lie below, in the mean over windows."""
    return float(np.mean([(normal < value).mean() for value in strangeness]))


@adapters
def test_without_labels_it_is_the_prior_to_the_last_bit(adapter: Adapter) -> None:
    head = adapter.adapt(Prior(), support([]))
    seen = future()
    assert head.rescore(seen).tobytes() == seen.strangeness.tobytes()
    assert head.strangeness(0.1 + 0.2, seen.traits[0], DETECTORS) == 0.1 + 0.2


@adapters
def test_labelled_events_make_later_ones_of_the_kind_stand_out_more(adapter: Adapter) -> None:
    head, seen = adapter.adapt(Prior(), support(SPANS)), future()
    normal = ~inside([*EVENTS, ROUTINE])
    before = higher_than(seen.strangeness[normal], seen.strangeness[inside(EVENTS)])
    adapted = head.rescore(seen)
    assert higher_than(adapted[normal], adapted[inside(EVENTS)]) > before + 0.02


@adapters
def test_a_labelled_false_alarm_is_forgiven_when_it_comes_again(adapter: Adapter) -> None:
    labels = [*SPANS, Span(*ROUTINE, "false_alarm")]
    with_it, without = (adapter.adapt(Prior(), support(spans)).rescore(future()) for spans in (labels, SPANS))
    routine, normal = inside([ROUTINE]), ~inside([*EVENTS, ROUTINE])
    assert higher_than(without[normal], without[routine]) - higher_than(with_it[normal], with_it[routine]) > 0.02


@adapters
def test_the_same_labels_give_the_same_head_whatever_their_order(adapter: Adapter) -> None:
    labels = [*SPANS, Span(*ROUTINE, "false_alarm")]
    once, again, reversed_ = (
        adapter.adapt(Prior(), support(spans)).rescore(future()).tobytes() for spans in (labels, labels, labels[::-1])
    )
    assert once == again == reversed_


@adapters
def test_an_event_labelled_twice_changes_nothing(adapter: Adapter) -> None:
    once, twice = (adapter.adapt(Prior(), support(spans)).rescore(future()) for spans in (SPANS, [*SPANS, SPANS[0]]))
    assert once.tobytes() == twice.tobytes()


@adapters
@pytest.mark.parametrize(
    "spans", [[Span(*EVENTS[0], "fault")], [Span(*ROUTINE, "false_alarm")]], ids=["one fault", "one false alarm"]
)
def test_one_label_of_either_kind_is_enough(adapter: Adapter, spans: list[Span]) -> None:
    adapted = adapter.adapt(Prior(), support(spans)).rescore(future())
    assert np.isfinite(adapted).all()


@adapters
def test_nothing_that_it_is_given_is_changed(adapter: Adapter) -> None:
    given, prior = support([*SPANS, Span(*ROUTINE, "false_alarm")]), Prior()
    arrays = [given.warm_up.strangeness, given.warm_up.traits, given.past.strangeness, given.past.traits]
    before = [array.tobytes() for array in (*arrays, *given.events, given.normal)]
    adapter.adapt(prior, given).rescore(given.past)
    assert [array.tobytes() for array in (*arrays, *given.events, given.normal)] == before
    assert prior == Prior()


@adapters
def test_windows_without_a_score_teach_nothing_and_stay_without(adapter: Adapter) -> None:
    seen = past()
    silent = Traces(seen.strangeness.copy(), seen.traits.copy(), DETECTORS)
    silent.strangeness[[102, 250]] = np.nan
    silent.traits[[102, 250]] = 0.0
    head = adapter.adapt(Prior(), support(SPANS, silent))
    adapted = head.rescore(silent)
    assert np.flatnonzero(np.isnan(adapted)).tolist() == [102, 250]
    wild = Traces(silent.strangeness, silent.traits.copy(), DETECTORS)
    wild.traits[[102, 250]] = 1e3
    same = adapter.adapt(Prior(), support(SPANS, wild)).rescore(future())
    assert same.tobytes() == head.rescore(future()).tobytes()


@adapters
def test_restored_it_judges_bit_for_bit_the_same(adapter: Adapter) -> None:
    head = adapter.adapt(Prior(), support([*SPANS, Span(*ROUTINE, "false_alarm")]))
    again = Head.restore(head.snapshot())
    assert again.rescore(future()).tobytes() == head.rescore(future()).tobytes()


@adapters
def test_one_window_is_judged_as_among_many(adapter: Adapter) -> None:
    head, seen = adapter.adapt(Prior(), support([*SPANS, Span(*ROUTINE, "false_alarm")])), future()
    alone = [
        head.strangeness(float(strangeness), traits, DETECTORS)
        for strangeness, traits in zip(seen.strangeness, seen.traits, strict=True)
    ]
    np.testing.assert_allclose(alone, head.rescore(seen.kept()), rtol=1e-5, atol=1e-6)


@adapters
@pytest.mark.parametrize(("detectors", "features"), [(1, 4), (26, 400)], ids=["one channel", "100 channels"])
def test_any_number_of_detectors_and_channels(adapter: Adapter, detectors: int, features: int) -> None:
    warm_up, seen = (traces(300, seed, detectors=detectors, features=features) for seed in (1, 2))
    head = adapter.adapt(Prior(), Support.of(warm_up, seen, [Span(10, 20, "fault")], straddle=STRADDLE))
    assert np.isfinite(head.rescore(seen)).all()


@adapters
def test_constant_windows_and_an_event_that_shows_nothing(adapter: Adapter) -> None:
    flat = Traces(np.full(200, 0.5), np.zeros((200, DETECTORS + FEATURES)), DETECTORS)
    head = adapter.adapt(Prior(), Support.of(flat, flat, [Span(10, 20, "fault")], straddle=STRADDLE))
    assert np.isfinite(head.rescore(future())).all()
    assert np.ptp(head.rescore(flat)) == 0.0


@pytest.mark.parametrize(
    "adapter", [EVERY[name] for name in EVERY if name != "leo"]
)  # untrained, it guesses a direction
def test_labels_at_random_bring_no_gain(adapter: Adapter) -> None:
    """The gain must come from what was labelled, not from having labels."""
    seen, normal = future(), ~inside([*EVENTS, ROUTINE])

    def gain(spans: list[Span]) -> float:
        adapted = adapter.adapt(Prior(), support(spans)).rescore(seen)
        before = higher_than(seen.strangeness[normal], seen.strangeness[inside(EVENTS)])
        return higher_than(adapted[normal], adapted[inside(EVENTS)]) - before

    rng = np.random.default_rng(0)
    at_random = [
        gain([Span(first, first + 10, "fault") for first in rng.integers(0, 90, size=2).tolist()]) for _ in range(10)
    ]
    assert np.mean(at_random) < gain(SPANS) / 2


def test_the_default_is_one_of_them() -> None:
    assert DEFAULT in ADAPTERS


def test_of_labels_that_contradict_each_other_the_later_holds() -> None:
    spans = [Span(100, 108, "fault"), Span(100, 108, "false_alarm")]
    assert support(spans).events == ()
    assert support(spans).false_alarm.tolist() == list(range(100, 108))
    (event,) = support(spans[::-1]).events
    assert event.tolist() == list(range(100, 108))
    assert not len(support(spans[::-1]).false_alarm)


def test_what_straddles_an_event_is_neither_fault_nor_normal() -> None:
    given = support([Span(100, 108, "fault")])
    assert set(range(PAST)) - set(given.normal.tolist()) == set(range(99, 108 + STRADDLE))


def test_labels_outside_of_what_is_known_teach_nothing() -> None:
    given = support([Span(-20, -5, "fault"), Span(PAST + 5, PAST + 9, "fault"), Span(PAST - 2, PAST + 9, "fault")])
    assert [event.tolist() for event in given.events] == [[PAST - 2, PAST - 1]]


def test_labels_count_the_less_the_better_the_prior_knew() -> None:
    prior = Prior()
    assert prior.trust(1.0) > 0.99
    assert prior.trust(4.0) < 0.01
    knew = replace(prior, surprise=-5.0, ordinary=-5.0)
    head, seen = ADAPTERS[DEFAULT]().adapt(knew, support(SPANS)), future()
    order = np.argsort(head.rescore(seen), kind="stable")
    # Ranks among normal windows do not tell those apart that lie below all of the tail's levels.
    assert np.all(np.diff(seen.strangeness[order]) > -0.05)


def test_what_no_detector_hears_is_found_again_by_what_it_looked_like() -> None:
    """Likeness alone: the events are as loud as anything else."""
    seen, ahead = (with_spans(traces(PAST, seed), EVENTS, 0, 0, 0.0) for seed in (2, 3))
    head = ADAPTERS["ridge"]().adapt(Prior(), support(SPANS, seen))
    without = ADAPTERS["ridge"]().adapt(replace(Prior(), boost=NOTHING, look=NOTHING), support(SPANS, seen))
    events = inside(EVENTS)
    stands, stood = (higher_than(each.rescore(ahead)[~events], each.rescore(ahead)[events]) for each in (head, without))
    assert stood < 0.7
    assert stands > 0.95


def looking_like(feature: int, first: int, seen: Traces) -> Traces:
    """An event that no detector hears, in two neighbouring features."""
    return with_spans(seen, [(first, first + 10)], 0, feature, 0.0)


def test_of_faults_that_no_detector_hears_the_third_is_looked_for_if_the_first_two_look_alike() -> None:
    warm_up, quiet = (traces(count, seed, features=40) for count, seed in ((WARM_UP, 1), (PAST, 2)))
    spans = [Span(100, 110, "fault"), Span(200, 210, "fault")]
    ahead, third = looking_like(0, 300, traces(PAST, 3, features=40)), inside([(300, 310)])
    prior = replace(Prior(), boost=NOTHING)

    def standing(feature: int) -> float:
        seen = looking_like(feature, 200, looking_like(0, 100, quiet))
        head = ADAPTERS["ridge"]().adapt(prior, Support.of(warm_up, seen, spans, straddle=STRADDLE))
        judged = head.rescore(ahead)
        assert Head.restore(head.snapshot()).rescore(ahead).tobytes() == judged.tobytes()
        return higher_than(judged[~third], judged[third])

    assert standing(0) > 0.99
    assert standing(20) < 0.7


def test_what_detectors_hear_is_not_looked_for() -> None:
    prior = Prior()
    assert prior.blindness(0.6) > 0.99
    assert prior.blindness(1.5) == 0.0
    assert prior.recurrence(0.7) < 0.01
    assert prior.recurrence(2.0) > 0.99
    head = ADAPTERS["ridge"]().adapt(prior, support(SPANS, with_spans(past(), EVENTS, 1, 0, 9.0)))
    assert [type(part).__name__ for part in head.parts] == ["Linear", "Linear", "Linear"]


@adapters
def test_one_event_that_fills_all_there_is_to_see_teaches_nothing_and_a_second_one_does(adapter: Adapter) -> None:
    """It differs from the warm-up in whatever else has changed since."""
    seen = past()
    first = [Span(0, PAST // 2, "fault")]
    whole = Support.of(traces(WARM_UP, 1), seen[slice(0, PAST // 2)], first, straddle=STRADDLE)
    head = adapter.adapt(Prior(), whole)
    assert (head.parts, head.blend.shares, head.blend.boost) == ((), (), 0.0)
    assert adapter.adapt(Prior(), support([*first, Span(*EVENTS[1], "fault")])).parts


def test_the_ridge_shrinks_directions_in_which_normal_windows_hardly_vary() -> None:
    """Of two detectors that always speak together the difference is rare, and one event says little about it."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(500, 1))
    normal = np.hstack([common, common]) + 0.1 * rng.normal(size=(500, 2))
    apart = [np.array([[0.4, -0.4]])]
    bold, shy = discriminant(normal, apart, 0.01), discriminant(normal, apart, 1e4)
    centre, spread = normal.mean(axis=0), normal.std(axis=0) + 0.1
    scaled = (normal - centre) / spread
    inverse = np.linalg.inv(scaled.T @ scaled / 500 + 0.01 * np.eye(2))
    np.testing.assert_allclose(bold, inverse @ ((apart[0][0] - centre) / spread) / spread)
    np.testing.assert_allclose(shy * 1e4, (apart[0][0] - centre) / spread**2, rtol=1e-2)
    assert np.abs(bold).max() > 10 * np.abs(shy * 1e4).max()
