"""Baselines: each evidence detector of the appliance alone, and the plain mean of them all."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from appliance.detect.evidence import EVIDENCE
from appliance.detect.lens import MOST_PARTS, fitted, held_out
from appliance.detect.tail import TailRank
from appliance.evaluation.methods import Judged, Method, Support, Unsuited, chunked, timed
from appliance.evaluation.trials import Views
from appliance.records import Floats


class SingleEvidence(Method):
    """One evidence detector: -ln p under the machine's own normal, as fitted on the warm-up; it learns nothing later.

    Two of the detectors draw (which references are kept, where trees split), too little for a second seed to matter.
    """

    def __init__(self, detector: str) -> None:
        self.name = f"evidence:{detector}"
        self.detector = detector

    def judge(self, views: Views, support: Support, seed: int) -> Judged:
        """Rank every window's oddity among the held-out warm-up."""
        if not _suits(self.detector, views):
            raise Unsuited(f"{self.detector} needs windows of at least {EVIDENCE[self.detector].least_length} samples")
        ranked = _ranked(views, self.detector, seed)
        return ranked._replace(warm_up=ranked.warm_up.copy(), test=ranked.test.copy())


class EvidenceMean(Method):
    """The plain geometric mean of 1 + evidence over all detectors, less 1: it ranks as the mean of ln(1 + evidence)."""

    name = "evidence_mean"

    def judge(self, views: Views, support: Support, seed: int) -> Judged:
        """Average the detectors that suit the windows."""
        ranked = [_ranked(views, detector, seed) for detector in EVIDENCE if _suits(detector, views)]
        warm_up, test = (
            np.expm1(np.mean([np.log1p(evidence) for evidence in column], axis=0))
            for column in ([each.warm_up for each in ranked], [each.test for each in ranked])
        )
        return Judged(
            warm_up,
            test,
            sum(each.fit_cpu_secs or 0.0 for each in ranked),
            sum(each.hop_cpu_secs or 0.0 for each in ranked),
        )


def _suits(detector: str, views: Views) -> bool:
    length: int = views.train.values.shape[2]
    return length >= EVIDENCE[detector].least_length


_RANKED: WeakKeyDictionary[Views, dict[tuple[str, int], Judged]] = WeakKeyDictionary()
"""By detector and seed, for as long as somebody holds the views: the mean asks for what the single detectors made."""


def _ranked(views: Views, detector: str, seed: int) -> Judged:
    known = _RANKED.setdefault(views, {})
    if (detector, seed) not in known:
        known[detector, seed] = _rank(views, detector, seed)
    return known[detector, seed]


def _rank(views: Views, detector: str, seed: int) -> Judged:
    """Evidence of one detector."""
    warm_up = views.train
    oddity, ranking_secs = timed(lambda: held_out([detector], warm_up, MOST_PARTS, seed))
    ranks = TailRank(oddity)
    whole, fit_secs = timed(lambda: fitted([detector], warm_up, seed)[detector])
    test, secs = timed(lambda: _evidence(ranks, chunked(views.test, lambda some: whole.oddity(some).values)))
    return Judged(_evidence(ranks, oddity[:, 0]), test, ranking_secs + fit_secs, secs / len(test))


def _evidence(ranks: TailRank, oddity: Floats) -> Floats:
    return np.array([ranks.evidence([value])[0] for value in oddity.tolist()])
