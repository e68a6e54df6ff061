from __future__ import annotations

import numpy as np
import pytest

from appliance.detect.head import Blend, Head, Likeness, Linear, oddities
from appliance.detect.tail import TailRank
from appliance.detect.traces import Traces


def traces(strangeness: list[float] | None = None, n: int = 2000) -> Traces:
    rng = np.random.default_rng(3)
    strange = rng.exponential(0.3, n) if strangeness is None else np.array(strangeness)
    return Traces(strange, rng.normal(size=(len(strange), 6)), 2)


@pytest.fixture(scope="module")
def head() -> Head:
    """Blends the prior alone: its labels say nothing new."""
    normal = traces()
    likeness = Likeness(np.full((1, 4), 3.0))
    ranks = TailRank(normal.loudness)
    tails = TailRank(oddities(ranks, (), likeness, normal))
    return Head(ranks, (), likeness, tails, Blend(certain=1e9), None)


def test_a_head_whose_labels_say_nothing_new_leaves_what_is_strange_as_strange_as_it_was(head: Head) -> None:
    strange = [0.3, 1.0, 3.0, 12.0, 60.0]
    np.testing.assert_allclose(head.rescore(traces(strange)), strange, rtol=1e-6)


def test_a_window_without_a_score_stays_without(head: Head) -> None:
    assert np.isnan(head.rescore(traces([np.nan, 1.0]))).tolist() == [True, False]


def test_a_window_is_judged_as_it_is_kept() -> None:
    """Where normal windows are alike to the last digit, ranks turn on rounding."""
    rng = np.random.default_rng(5)
    full = Traces(rng.exponential(0.3, 500), 3.5 + 1e-4 * rng.normal(size=(500, 6)), 2)
    kept = full.kept()
    likeness, ranks = Likeness(np.full((1, 4), 3.0)), TailRank(kept.loudness)
    parts = (Linear(np.zeros(2), np.ones(2)),)
    head = Head(ranks, parts, likeness, TailRank(oddities(ranks, parts, likeness, kept)), Blend((0.9,)), None)
    assert np.ptp(head.rescore(full) - head.rescore(kept)) > 0.1
    live = [head.strangeness(strange, traits, 2) for strange, traits in zip(full.strangeness, full.traits, strict=True)]
    np.testing.assert_allclose(live, head.rescore(kept), rtol=1e-6)


def test_ranks_lead_back_to_what_was_ranked() -> None:
    oddity = np.random.default_rng(0).gamma(2.0, size=(500, 3))
    tails = TailRank(oddity)
    energies = tails.energies(oddity)
    for detector in range(3):
        seen = np.maximum(oddity[:, detector], oddity[:, detector].min())
        np.testing.assert_allclose(tails.oddity(detector, energies[:, detector]), seen, rtol=1e-9)


def test_some_ranks_are_those_of_all() -> None:
    oddity = np.random.default_rng(0).gamma(2.0, size=(500, 3))
    tails = TailRank(oddity)
    assert tails.only([2, 0]).energies(oddity[:, [2, 0]]).tobytes() == tails.energies(oddity)[:, [2, 0]].tobytes()


def test_a_window_alone_is_ranked_as_among_others() -> None:
    oddity = np.random.default_rng(0).gamma(2.0, size=(500, 3))
    tails = TailRank(oddity)
    odd = np.vstack([oddity[:50], 3 * oddity[:50], np.zeros((1, 3))])
    alone = np.concatenate([tails.energies(row[None]) for row in odd])
    np.testing.assert_allclose(alone, tails.energies(odd), rtol=1e-12)
