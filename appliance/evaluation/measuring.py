"""Scores and alerts of one method on one machine → a `Row`: service or baseline → here → results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np

from appliance.detect.calibrate import block_windows
from appliance.evaluation.defaults import ALERT_RULES
from appliance.evaluation.methods import Judged
from appliance.evaluation.metrics import (
    AlertHops,
    Bools,
    Deployed,
    Operation,
    alerts_of,
    auc_pr,
    operation,
    vus_pr,
)
from appliance.evaluation.results import Row, Tail
from appliance.evaluation.trials import Trial
from appliance.evaluation.truth import WEEK_SECS
from appliance.records import Floats

DAYS_PER_WEEK = 7
PER_WEEK = {"week": 1.0, "day": float(DAYS_PER_WEEK)}
"""Budget → false alerts a week."""


class Alerting(NamedTuple):
    """What a method raised under one budget."""

    alerts: list[AlertHops]
    scored: Bools
    """[hops] whether there was a score, so that an alert could have opened."""


@dataclass(frozen=True)
class Answer:
    """What one method made of the scored hops of a trial."""

    ranking: Floats
    """[hops] finite, higher is stranger."""
    week: Alerting
    day: Alerting
    learn_ms: float | None = None
    """CPU milliseconds to learn the warm-up, or what labels add to it."""
    score_us: float | None = None
    """CPU microseconds per hop."""


def grace_hops(trial: Trial) -> int:
    """Hops after an event's last at which an alert may still be about it: a window, and the M of the alert rule."""
    return -(-trial.length // trial.hop) + ALERT_RULES.of_windows


def deployed(trial: Trial, judged: Judged) -> Answer:
    """Give a method's scores the service's own threshold and alert rules."""
    block = block_windows(trial.length, trial.hop)
    calibrated = Deployed(judged.warm_up, block, ALERT_RULES.open_windows, ALERT_RULES.of_windows)
    scores = calibrated.scores(judged.test)
    hops_per_week = WEEK_SECS / trial.hop_secs
    week, day = (
        alerts_of(scores, calibrated.threshold(per_week / hops_per_week).score, ALERT_RULES, trial.hop_secs)
        for per_week in (PER_WEEK["week"], PER_WEEK["day"])
    )
    everywhere = np.ones(len(scores), dtype=bool)
    return Answer(
        ranking=judged.test,
        week=Alerting(week, everywhere),
        day=Alerting(day, everywhere),
        learn_ms=None if judged.fit_cpu_secs is None else 1e3 * judged.fit_cpu_secs,
        score_us=None if judged.hop_cpu_secs is None else 1e6 * judged.hop_cpu_secs,
    )


def measure(trial: Trial, answer: Answer, *, method: str, k: int, seed: int, tail: Tail, start: int = 0) -> Row:
    """Measure a method on the hops of a trial from ``start`` on."""
    ranking, labels = answer.ranking[start:], trial.test_labels[start:]
    events = [span for span in trial.event_hops if span[0] >= start]
    week, day = (_worth(trial, alerting, events, start) for alerting in (answer.week, answer.day))
    weeks_watched = week.normal_hops * trial.hop_secs / WEEK_SECS
    return Row(
        dataset=trial.dataset,
        machine=trial.machine,
        cluster=trial.cluster,
        method=method,
        k=k,
        seed=seed,
        draw=0,
        tail=tail,
        hops=len(ranking),
        events=len(events),
        vus_pr=_known(vus_pr(ranking, labels, max(1, trial.length // trial.hop))),
        auc_pr=_known(auc_pr(ranking, labels)),
        recall_budget=_recall(week),
        delay_s=_delay_secs(week, trial),
        false_alerts=week.false_alerts,
        budget_alerts=PER_WEEK["week"] * week.exposed_hops * trial.hop_secs / WEEK_SECS,
        false_alerts_per_week=week.false_alerts / weeks_watched if weeks_watched else None,
        recall_day=_recall(day),
        delay_day_s=_delay_secs(day, trial),
        false_alerts_day=day.false_alerts,
        budget_alerts_day=PER_WEEK["day"] * day.exposed_hops * trial.hop_secs / WEEK_SECS,
        adapt_ms=answer.learn_ms if k else None,
        fit_ms=None if k else answer.learn_ms,
        score_us=answer.score_us,
    )


def _worth(trial: Trial, alerting: Alerting, events: Sequence[tuple[int, int]], start: int) -> Operation:
    """Match alerts with the events from ``start`` on.

    What opens within the grace after the last event before ``start`` is about that one, unless another has begun.
    """
    grace = grace_hops(trial)
    begin = min([start + grace, *(first for first, _ in events)]) if start else 0
    scored = alerting.scored.copy()
    scored[:begin] = False
    earlier = [alert for alert in alerting.alerts if alert[0] < begin]
    return operation(alerting.alerts[len(earlier) :], events, scored, grace, earlier)


def _known(figure: float) -> float | None:
    return None if math.isnan(figure) else figure


def _recall(found: Operation) -> float | None:
    return found.caught / found.events if found.events else None


def _delay_secs(found: Operation, trial: Trial) -> float | None:
    return median(found.delays) * trial.hop_secs if found.delays else None
