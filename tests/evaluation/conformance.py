"""What every compared method must do, as one list of checks that takes any method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from appliance.evaluation.methods import Judged, Method, Support, Unsuited
from appliance.evaluation.trials import Trial, Views, views
from appliance.records import Floats

HOP, TRAIN_END = 4, 800
FAULTS = ((1000, 1040), (1120, 1150), (1240, 1300))
FIRST_UNKNOWN = 112
"""The first scored hop after the second fault and some rest: what the supports here call the past ends there."""

Make = Callable[[], Method]


@cache
def trial(channels: int = 3, length: int = 16) -> Trial:
    """A machine whose channels swing together, and let go of each other in faults."""
    rng = np.random.default_rng(7)
    samples = 1400
    load = np.sin(np.arange(samples + channels) / 9.0)
    values = np.stack([load[lag : lag + samples] for lag in range(channels)], axis=1)
    values += 0.2 * rng.normal(size=values.shape)
    labels = np.zeros(samples, dtype=bool)
    for start, end in FAULTS:
        labels[start:end] = True
        values[start:end, 0] += 3.0
    return Trial(
        dataset="synthetic",
        machine="m",
        cluster="m",
        channels=tuple(map(str, range(channels))),
        values=values,
        sessions=((0, samples),),
        train_end=TRAIN_END,
        labels=labels,
        events=FAULTS,
        period_secs=60.0,
        length=length,
        hop=HOP,
    )


def support(of: Trial) -> Support:
    """The first two faults and one false alarm."""
    spans = of.event_hops[:2]
    fault = np.concatenate([np.arange(*span) for span in spans])
    event = np.repeat(np.arange(2), [end - first for first, end in spans])
    return Support(2, fault, event, np.array([5, 6]), FIRST_UNKNOWN)


def suited(method: Method, of: Trial) -> Support:
    return support(of) if method.uses_labels else Support.none()


def judged(make: Make, of: Trial, given: Views | None = None, seed: int = 0) -> Judged:
    method = make()
    return method.judge(given or views(of), suited(method, of), seed)


def arrays(given: Views) -> list[Floats]:
    parts = (given.train, given.test)
    return [array for part in parts for array in (part.values, part.mean, part.present, part.standard)]


def gives_each_hop_a_finite_score(make: Make) -> None:
    given = views(trial())
    warm_up, test, fit_cpu_secs, hop_cpu_secs = judged(make, trial(), given)
    assert test.shape == (len(given.test),), "not one score per hop"
    assert len(given.train) // 4 <= len(warm_up) <= len(given.train), "too few or too many warm-up scores"
    assert warm_up.ndim == 1
    assert np.isfinite(warm_up).all()
    assert np.isfinite(test).all()
    assert all(secs is None or secs >= 0 for secs in (fit_cpu_secs, hop_cpu_secs))


def is_deterministic(make: Make) -> None:
    method = make()
    first, again = (method.judge(views(trial()), suited(method, trial()), 3) for _ in range(2))
    assert np.array_equal(first.test, again.test), "the same question had two answers"
    assert np.array_equal(first.warm_up, again.warm_up), "the same warm-up had two answers"


def leaves_the_windows_alone(make: Make) -> None:
    given = views(trial())
    before = [array.copy() for array in arrays(given)]
    judged(make, trial(), given)
    for array, copied in zip(arrays(given), before, strict=True):
        assert np.array_equal(array, copied), "it wrote into the windows"


def looks_only_back(make: Make) -> None:
    whole = trial()
    values = whole.values.copy()
    border = int(whole.test_ends[FIRST_UNKNOWN])
    values[border:] = values[border:][::-1] * 2.0
    changed = replace(whole, values=values)
    known = FIRST_UNKNOWN + 1
    before, after = judged(make, whole), judged(make, changed)
    np.testing.assert_allclose(after.test[:known], before.test[:known], rtol=1e-6, err_msg="it saw what was to come")
    np.testing.assert_array_equal(after.warm_up, before.warm_up, err_msg="the warm-up depends on the test")


def takes_labels_only_if_it_says_so(make: Make) -> None:
    method, given, known = make(), views(trial()), support(trial())
    fewer = Support(1, known.fault[known.event == 0], known.event[known.event == 0], seen=known.seen)
    with_two, with_one = (method.judge(given, labels, 0).test for labels in (known, fewer))
    assert method.uses_labels != np.array_equal(with_two, with_one), "uses_labels does not say what it does"


def hears_what_it_is_there_for(make: Make) -> None:
    scores, normal = judged(make, trial()).test, ~trial().test_labels
    first, end = trial().event_hops[2]
    assert scores[first:end].max() > np.quantile(scores[normal], 0.9), "a step of many spreads is as normal as anything"


def bears_gaps(make: Make) -> None:
    values = trial().values.copy()
    values[np.random.default_rng(1).random(values.shape) < 0.2] = np.nan
    values[900:1100, 1] = np.nan
    values[:, 2] = np.nan
    scores = judged(make, replace(trial(), values=values))
    assert np.isfinite(scores.test).all()
    assert np.isfinite(scores.warm_up).all()


def bears_one_channel_and_one_sample(make: Make) -> None:
    for small in (trial(channels=1), trial(channels=1, length=1)):
        try:
            scores = judged(make, small)
        except Unsuited:
            assert small.length == 1, "only windows of one sample may be refused"
        else:
            assert np.isfinite(scores.test).all()


def bears_a_machine_at_rest(make: Make) -> None:
    values = trial().values.copy()
    values[:TRAIN_END] = 5.0
    scores = judged(make, replace(trial(), values=values))
    assert np.isfinite(scores.test).all()


CHECKS: tuple[Callable[[Make], None], ...] = (
    gives_each_hop_a_finite_score,
    is_deterministic,
    leaves_the_windows_alone,
    looks_only_back,
    takes_labels_only_if_it_says_so,
    hears_what_it_is_there_for,
    bears_gaps,
    bears_one_channel_and_one_sample,
    bears_a_machine_at_rest,
)
