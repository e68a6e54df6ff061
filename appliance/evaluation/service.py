"""The method named ``appliance``: the service itself, run over a trial as by default it would run; between the two.

::

    samples ─ Grid ─ Window ─ Machine.take ─┬─ Score ── Run.scores · thresholds · blame
                                            └─ Alert ── Run.alerts
"""

from __future__ import annotations

import copy
import functools
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from appliance.adapt.support import Span
from appliance.adaptation import Adapted
from appliance.config import DetectionSettings
from appliance.detect.detector import DetectorOptions
from appliance.detect.scales import LONGEST
from appliance.detect.traces import Traces
from appliance.evaluation.defaults import ALERT_RULES, GRID, MIN_COVERAGE
from appliance.evaluation.methods import Unsuited, timed
from appliance.evaluation.metrics import AlertHops
from appliance.evaluation.trials import Trial
from appliance.evaluation.watch import Cells, Run, Watch
from appliance.machine import Judged
from appliance.outcome import Block, HeadRecord, Model, TraceBlock
from appliance.records import Label, Sample
from appliance.refit import RefitRules
from appliance.taught import TaughtMachine
from appliance.windows import Closed, Grid, GridSpec

APPLIANCE = "appliance"


def grid_spec(trial: Trial) -> GridSpec:
    """Return the grid that the service would use by default for a source of this period, length and hop."""
    return GridSpec(
        period_secs=trial.period_secs,
        length=trial.length,
        hop=trial.hop,
        hold_secs=trial.length * trial.period_secs,
        **GRID,
    )


def timeline(trial: Trial) -> Cells:
    """[T] grid cell of each sample.

    Sessions start at multiples of the hop, so that windows start where the trial cuts them, and lie further apart than
    the slowest scale looks back, so that none of them reaches over a border.
    """
    cells = np.empty(len(trial.values), dtype=np.intp)
    start = 0
    for first, end in trial.sessions:
        cells[first:end] = start + np.arange(end - first)
        start = -(-(start + end - first + (LONGEST + 1) * trial.length) // trial.hop) * trial.hop
    return cells


class Lesson(NamedTuple):
    """What the operator says of a trial at some time."""

    after: int
    """Said when this many hops have been judged."""
    labels: Callable[[list[AlertHops]], list[Span]]
    """From the alerts raised until then: spans of hops and what they were, in the order in which they are said."""


class Operated(NamedTuple):
    """What came of a trial under one budget."""

    run: Run
    """Without a label."""
    taught: list[Run]
    """For each lesson what followed on it; before it, the same as without."""


def operate(trial: Trial, *budgets: float, lessons: Sequence[Lesson] = ()) -> list[Operated]:
    """Let a machine of the service learn the trial's warm-up and watch the rest, once under each budget.

    What is learned does not depend on the budget, so one machine learns and the others take up its snapshot. So does a
    machine that is taught: it takes up what the untaught one was when the lesson came.

    Parameters
    ----------
    budgets
        False alarms per week.
    lessons
        Each apart from the others.

    Raises
    ------
    Unsuited
        The service never comes to a score.
    """
    spec, cells = grid_spec(trial), timeline(trial)
    warm_up_windows = _warm_up_windows(trial, spec, cells)

    def new(budget: float) -> TaughtMachine:
        return TaughtMachine(
            name=trial.machine,
            source=trial.dataset,
            grid=spec,
            warmup_windows=warm_up_windows,
            min_coverage=MIN_COVERAGE,
            false_alarms_per_week=budget,
            alerts=ALERT_RULES,
            detector=DetectorOptions(confirm=ALERT_RULES.open_windows, of=ALERT_RULES.of_windows),
            seed=zlib.crc32(trial.machine.encode()),
            refits=RefitRules(DetectionSettings().refit_secs),
        )

    learned, fit_cpu_secs = _learned(new(budgets[0]), _samples(trial, cells))
    if learned is None or learned.kept.fit is None:
        raise Unsuited("the service gives no window a score: it needs more, or longer, windows to learn from")
    warm_up = Traces.restore(learned.kept.fit.state["warm_up"])
    operated = []
    for budget in budgets:
        machine, moments = learned.taken_up(new(budget)), sorted({lesson.after for lesson in lessons})
        watch = Watch(trial, cells, warm_up)
        (forks, windows), secs = timed(functools.partial(_watch, machine, watch, learned, trial, moments))
        if np.isnan(watch.scores).all():
            raise Unsuited("the service gives no window a score: after its warm-up none holds enough")
        run = watch.run(fit_cpu_secs, secs / max(windows, 1))
        taught = []
        for lesson in lessons:
            moment, watched = forks[lesson.after]
            machine, watched = moment.taken_up(new(budget)), copy.deepcopy(watched)
            kept = moment.kept.copy()
            lesson_secs = _teach(machine, lesson, watched, kept)
            _watch(machine, watched, moment._replace(kept=kept), trial, ())
            taught.append(watched.run(lesson_secs, run.window_cpu_secs))
        operated.append(Operated(run, taught))
    return operated


@dataclass
class _Kept:
    """What a machine's store would hold: an `Archive` in memory."""

    blocks: list[Block] = field(default_factory=list)
    seen: list[TraceBlock] = field(default_factory=list)
    heads: list[HeadRecord] = field(default_factory=list)
    fit: Model | None = None

    def copy(self) -> _Kept:
        return _Kept(list(self.blocks), list(self.seen), list(self.heads), self.fit)

    def keep(self, judged: Judged) -> None:
        self.blocks += judged.blocks
        self.seen += judged.traces
        self.learn(judged.adapted)
        self.fit = judged.model or self.fit

    def learn(self, adapted: Adapted | None) -> None:
        self.heads += [] if adapted is None or adapted.record is None else [adapted.record]

    def history(self, machine: str, start: float, end: float) -> list[Block]:
        return [block for block in self.blocks if start <= block.start < end]

    def traces(self, machine: str, model: int, start: float, end: float) -> list[TraceBlock]:
        return [block for block in self.seen if block.model == model and start <= block.ends[0] < end]

    def model(self, machine: str) -> Model | None:
        return self.fit

    def head(self, machine: str, number: int) -> HeadRecord | None:
        return next((head for head in reversed(self.heads) if head.number == number), None)


class _Moment(NamedTuple):
    """A machine at some time, to be taken up by another."""

    state: dict[str, Any]
    kept: _Kept
    samples: int
    """That it has seen."""
    waiting: list[Closed]
    """Windows that the last of these closed, not yet judged."""

    def taken_up(self, machine: TaughtMachine) -> TaughtMachine:
        machine.restore(copy.deepcopy(self.state), copy.deepcopy(self.kept.fit))
        return machine


def _learned(machine: TaughtMachine, samples: Iterator[Sample]) -> tuple[_Moment | None, float]:
    """Let a machine learn its warm-up; return it then, and the CPU seconds of the fit."""
    kept = _Kept()
    for number, sample in enumerate(samples, start=1):
        waiting = list(machine.grid.place(sample).closed)
        while waiting:
            judged, secs = timed(functools.partial(machine.take, waiting.pop(0), kept.history))
            kept.keep(judged)
            if judged.model is not None:
                return _Moment(machine.snapshot(), kept, number, waiting), secs
    return None, 0.0


def _watch(
    machine: TaughtMachine, watch: Watch, since: _Moment, trial: Trial, moments: Sequence[int]
) -> tuple[dict[int, tuple[_Moment, Watch]], int]:
    """Judge what is still to come; return what was when so many hops were judged, and how many windows that were."""
    kept, waiting, seen, windows = since.kept.copy(), list(since.waiting), since.samples, 0
    forks = {}
    left = list(moments)
    samples = _samples(trial, timeline(trial), after=seen)
    while True:
        while waiting:
            judged = machine.take(waiting.pop(0), kept.history)
            kept.keep(judged)
            watch.note(judged)
            windows += 1
            while left and watch.hops >= left[0]:
                moment = _Moment(copy.deepcopy(machine.snapshot()), kept.copy(), seen, list(waiting))
                forks[left.pop(0)] = moment, copy.deepcopy(watch)
        sample = next(samples, None)
        if sample is None:
            break
        seen += 1
        waiting = list(machine.grid.place(sample).closed)
    for late in left:  # nothing was judged after it
        forks[late] = _Moment(machine.snapshot(), kept, seen, []), copy.deepcopy(watch)
    return forks, windows


def _teach(machine: TaughtMachine, lesson: Lesson, watch: Watch, kept: _Kept) -> float:
    """Say what is to be said, one label after the other; return the CPU seconds in which the last was learned."""
    secs = 0.0
    newest = machine.grid.newest_time
    assert newest is not None
    for number, span in enumerate(lesson.labels(list(watch.alerts.items()))):
        start, end = watch.time_of(span.first, span.end)
        label = Label(str(number), machine.name, span.verdict, start, min(end, newest), newest)
        said_at = newest + 3600.0 * number  # nobody says a hundred things in an hour
        heeded, secs = timed(functools.partial(machine.label, label, said_at, kept))
        kept.learn(heeded.adapted)
        watch.told(heeded.alerts)
    return secs


def _samples(trial: Trial, cells: Cells, after: int = 0) -> Iterator[Sample]:
    """Yield the readings in order of time, and at last the news that time goes on, which closes the last window.

    Parameters
    ----------
    after
        So many samples are left out.
    """
    held = np.flatnonzero(~np.isnan(trial.values).all(axis=1))
    rest = held[after:]
    for cell, row in zip(cells[rest].tolist(), trial.values[rest].tolist(), strict=True):
        readings = {name: value for name, value in zip(trial.channels, row, strict=True) if value == value}  # noqa: PLR0124 - not NaN
        yield Sample(trial.machine, cell * trial.period_secs, readings)
    if after <= len(held):
        yield Sample(trial.machine, (int(cells[-1]) + trial.length + 1) * trial.period_secs, {})


def _warm_up_windows(trial: Trial, spec: GridSpec, cells: Cells) -> int:
    """Count the windows with enough data that end within the trial's normal part."""
    grid, last = Grid(trial.machine, spec), int(cells[trial.train_end - 1]) + 1
    count = 0
    for sample in _samples(trial, cells):
        for window, _ in grid.place(sample).closed:
            if round(window.end / trial.period_secs) > last:
                return count
            count += float(np.mean(~np.isnan(window.values))) >= MIN_COVERAGE
    return count
