"""The method ``appliance`` is the service: the same scores and alerts as the pipeline gives for the same readings."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from appliance import assembly
from appliance.adapt.support import Span
from appliance.config import Settings, SourceSettings
from appliance.detect.scales import LONGEST
from appliance.evaluation.defaults import ALERT_RULES, MIN_COVERAGE
from appliance.evaluation.methods import Unsuited
from appliance.evaluation.service import (
    Lesson,
    _warm_up_windows,
    grid_spec,
    operate,
    timeline,
)
from appliance.evaluation.trials import Trial
from appliance.evaluation.watch import Run
from appliance.ingest.codecs import build_codec
from appliance.ingest.codecs.json import JsonOptions
from appliance.ingest.topics import Route, TopicPattern
from appliance.outcome import Outcome
from appliance.pipeline import Rules, Source
from appliance.records import Message
from tests.small_plant import BEGIN, Plant, readings

FAULTS = ((1340, 1400), (1700, 1740))
SAMPLES, TRAIN_END = 1900, 1202
PER_WEEK = 1000.0
"""At one window in eight seconds a budget of one a week would take faults that nobody could miss."""


@pytest.fixture(scope="module")
def two_shifts() -> Trial:
    """Two sessions of which the second begins within the warm-up, with a gap of one channel and two faults."""
    bodies = [json.loads(message.payload) for message in readings(range(SAMPLES), machine="m")]
    values = np.array([[body["a"], body["b"]] for body in bodies])
    values[500:530, 1] = np.nan
    labels = np.zeros(SAMPLES, dtype=bool)
    for start, end in FAULTS:
        values[start:end, 0] += 6.0
        labels[start:end] = True
    return Trial(
        dataset="plant",
        machine="m",
        cluster="m",
        channels=("a", "b"),
        values=values,
        sessions=((0, 605), (605, SAMPLES)),
        train_end=TRAIN_END,
        labels=labels,
        events=FAULTS,
        period_secs=1.0,
        length=16,
        hop=8,
    )


@pytest.fixture(scope="module")
def run(two_shifts: Trial) -> Run:
    return operate(two_shifts, PER_WEEK)[0].run


def through_the_pipeline(trial: Trial, spoken: dict[int, Message] | None = None) -> Outcome:
    spec, cells = grid_spec(trial), timeline(trial)
    source = Source(
        Route("plant", TopicPattern("plant/{machine}")),
        build_codec({"type": "json"}),
        spec,
        _warm_up_windows(trial, spec, cells),
    )
    messages = []
    much_later = int(cells[-1]) + trial.length + 1
    for cell, row in zip([*cells.tolist(), much_later], [*trial.values, trial.values[-1]], strict=True):
        readings = {name: value for name, value in zip("ab", row.tolist(), strict=True) if not math.isnan(value)}
        body = {"time": BEGIN + cell, **readings}
        messages.append(Message(b"plant/m", json.dumps(body).encode(), BEGIN + cell))
        messages += [message for at, message in (spoken or {}).items() if at == cell]
    return Plant(source, rules=Rules(false_alarms_per_week=PER_WEEK)).send(messages)


def test_scores_and_alerts_are_the_pipelines_own_bit_for_bit(two_shifts: Trial, run: Run) -> None:
    outcome = through_the_pipeline(two_shifts)
    cells = timeline(two_shifts)
    known = {round(score.end - BEGIN): score for score in outcome.scores}
    theirs = [known[int(cells[end - 1]) + 1] for end in two_shifts.test_ends]
    assert run.scores.tolist() == [score.score for score in theirs]
    assert run.thresholds.tolist() == [score.threshold for score in theirs]
    assert run.blame.tolist() == [[score.contributions[name] for name in "ab"] for score in theirs]
    at = {end: hop for hop, end in enumerate(round(score.end - BEGIN) for score in theirs)}
    opened = sorted({at[round(alert.opened_at - BEGIN)] for alert in outcome.alerts})
    assert sorted(hop for hop, _ in run.alerts) == opened
    assert opened, "the faults raise an alert"


def test_what_follows_on_a_label_is_the_pipelines_own_bit_for_bit(two_shifts: Trial, run: Run) -> None:
    cells = timeline(two_shifts)
    (first, end), _ = two_shifts.event_hops
    said_of = Span(first, end, "fault")
    operated = operate(two_shifts, PER_WEEK, lessons=[Lesson(end, lambda alerts: [said_of])])[0]
    (taught,) = operated.taught
    start, stop = (float(cells[two_shifts.test_ends[hop] - 1]) + 1 for hop in (first, end - 1))
    said = {"verdict": "fault", "from": BEGIN + start - two_shifts.hop, "to": BEGIN + stop}
    closing = next(int(cell) for cell in cells if cell >= stop)  # whose reading shows that the window is over
    label = Message(b"appliance/machines/m/label", json.dumps(said).encode(), BEGIN + closing + 0.5)
    outcome = through_the_pipeline(two_shifts, {closing: label})
    assert [each.verdict for each in outcome.labels] == ["fault"]
    assert len(outcome.heads) == 1
    known = {round(score.end - BEGIN): score for score in outcome.scores}
    theirs = [known[int(cells[each - 1]) + 1] for each in two_shifts.test_ends]
    assert taught.scores.tolist() == [score.score for score in theirs]
    assert taught.thresholds.tolist() == [score.threshold for score in theirs]
    assert taught.scores[:end].tolist() == run.scores[:end].tolist()
    assert taught.scores[end:].tolist() != run.scores[end:].tolist()
    assert operated.run.scores.tolist() == run.scores.tolist()


def test_an_alert_that_a_label_closes_is_closed_from_then_on(two_shifts: Trial, run: Run) -> None:
    first, closes = run.alerts[-1]
    assert closes is not None
    at = closes - 1  # it would open again while the fault lasts
    lesson = Lesson(at, lambda alerts: [Span(opened, at, "false_alarm") for opened, end in alerts if end is None])
    (operated,) = operate(two_shifts, PER_WEEK, lessons=[lesson])
    assert dict(operated.taught[0].alerts)[first] == at - 1 < closes


def test_a_lesson_that_says_nothing_leaves_everything_as_it_is(two_shifts: Trial) -> None:
    """Also after a silence, whose end closes several windows at once."""
    values = two_shifts.values.copy()
    values[1450:1490] = np.nan
    silent = replace(two_shifts, values=values)
    into_it = int(np.searchsorted(silent.test_ends, 1450, "right"))
    lessons = [Lesson(hop, lambda alerts: []) for hop in (5, into_it, into_it + 1, into_it + 2, len(silent.test_ends))]
    (operated,) = operate(silent, PER_WEEK, lessons=lessons)
    assert len(operated.taught) == len(lessons)
    for taught in operated.taught:
        np.testing.assert_array_equal(taught.scores, operated.run.scores)
        assert taught.alerts == operated.run.alerts


def test_no_scale_looks_back_over_the_border_of_a_session(two_shifts: Trial) -> None:
    cells = timeline(two_shifts)
    ends = [int(cells[end - 1]) for _, end in two_shifts.sessions[:-1]]
    starts = [int(cells[start]) for start, _ in two_shifts.sessions[1:]]
    assert starts
    for end, start in zip(ends, starts, strict=True):
        assert start - end > LONGEST * two_shifts.length


def test_every_hop_has_a_score_although_sessions_break(two_shifts: Trial, run: Run) -> None:
    assert np.isfinite(run.scores).all()
    inside = two_shifts.test_labels
    assert np.median(run.scores[inside]) > np.quantile(run.scores[~inside], 0.95)
    assert run.fit_cpu_secs > 0
    assert run.window_cpu_secs > 0


def test_the_detector_learns_all_that_is_declared_normal_and_no_more(two_shifts: Trial) -> None:
    outcome = through_the_pipeline(two_shifts)
    cells = timeline(two_shifts)
    first = next(score for score in outcome.scores if score.trust == "prior")
    last_taught = max(end for end in two_shifts.ends if end <= TRAIN_END)
    assert round(first.end - BEGIN) == int(cells[last_taught - 1]) + 1 + two_shifts.hop


def test_a_gap_of_all_channels_has_no_score(two_shifts: Trial) -> None:
    values = two_shifts.values.copy()
    values[1500:1600] = np.nan
    scores = operate(replace(two_shifts, values=values), 1.0)[0].run.scores
    blank = np.isnan(scores)
    assert blank[two_shifts.test_ends == two_shifts.test_ends[two_shifts.test_ends > 1560][0]].all()
    assert 5 < blank.sum() < 25


def test_a_larger_budget_has_a_lower_threshold(two_shifts: Trial, run: Run) -> None:
    again, larger = (each.run for each in operate(two_shifts, PER_WEEK, 7 * PER_WEEK))
    assert (larger.thresholds <= run.thresholds).all()
    assert (again.scores.tolist(), again.alerts) == (run.scores.tolist(), run.alerts)
    alone = operate(two_shifts, 7 * PER_WEEK)[0].run
    assert (larger.scores.tolist(), larger.alerts) == (alone.scores.tolist(), alone.alerts)


def test_a_machine_that_teaches_too_little_is_unsuited(two_shifts: Trial) -> None:
    values = two_shifts.values.copy()
    values[:, :] = np.nan
    values[::200] = 1.0
    with pytest.raises(Unsuited, match="no window a score"):
        operate(replace(two_shifts, values=values), 1.0)


def test_what_it_takes_for_defaults_are_the_services(two_shifts: Trial) -> None:
    rules = assembly.rules(Settings.model_construct())
    assert rules.alerts == ALERT_RULES
    assert rules.min_coverage == MIN_COVERAGE
    settings = SourceSettings(
        name="s", topic="t/{machine}", format=JsonOptions(type="json"), period_secs=1.0, length=16, hop=8
    )
    assert assembly.source(settings).grid == grid_spec(two_shifts)
