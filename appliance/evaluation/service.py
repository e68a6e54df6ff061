"""The method named ``appliance``: the service itself, run over a trial as by default it would run; between the two.

::

    samples ─ Grid ─ Window ─ Machine.take ─┬─ Score ── Run.scores · thresholds · blame
                                            └─ Alert ── Run.alerts
"""

from __future__ import annotations

import copy
import functools
import itertools
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.config import DetectionSettings
from appliance.detect.detector import DetectorOptions
from appliance.detect.scales import LONGEST
from appliance.detect.traces import Traces
from appliance.evaluation.defaults import ALERT_RULES, GRID, MIN_COVERAGE
from appliance.evaluation.methods import Unsuited, timed
from appliance.evaluation.metrics import AlertHops
from appliance.evaluation.trials import Trial
from appliance.history import History
from appliance.machine import Judged, Machine
from appliance.records import Block, Floats, Model, Sample
from appliance.refit import RefitRules
from appliance.windows import Closed, Grid, GridSpec

APPLIANCE = "appliance"

Cells = NDArray[np.intp]


@dataclass(frozen=True)
class Run:
    """What the service made of the scored hops of a trial."""

    scores: Floats
    """[hops] -log10 of the calibrated tail probability; NaN where the service gave none."""
    thresholds: Floats
    """[hops] NaN as above."""
    blame: Floats
    """[hops, channel] share of the blame, 0 where there is no score."""
    alerts: list[AlertHops]
    """Alerts about the machine, in the order in which they opened."""
    traces: Traces
    """[hops] what the detector saw; NaN and 0 where there is no score."""
    warm_up: Traces
    """The same of the warm-up, each window judged by what was fitted without it."""
    fit_cpu_secs: float
    """In which the detector was fitted on the warm-up."""
    window_cpu_secs: float
    """For each window after that, from placing its samples to the alert."""


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


def operate(trial: Trial, *budgets: float) -> list[Run]:
    """Let a machine of the service learn the trial's warm-up and watch the rest, once under each budget.

    What is learned does not depend on the budget, so one machine learns and the others take up its snapshot.

    Parameters
    ----------
    budgets
        False alarms per week.

    Raises
    ------
    Unsuited
        The service never comes to a score.
    """
    spec, cells = grid_spec(trial), timeline(trial)
    warm_up_windows = _warm_up_windows(trial, spec, cells)

    def new(budget: float) -> Machine:
        return Machine(
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

    learned = _learned(new(budgets[0]), _samples(trial, cells))
    if learned is None:
        raise Unsuited("the service gives no window a score: it needs more, or longer, windows to learn from")
    runs = []
    for budget in budgets:
        taught = new(budget)
        taught.restore(copy.deepcopy(learned.state), copy.deepcopy(learned.model))
        warm_up = Traces.restore(learned.model.state["warm_up"])
        watch = _Watch(trial, cells, warm_up)
        rest = itertools.islice(_samples(trial, cells), learned.samples, None)
        windows, secs = timed(functools.partial(_watch, taught, watch, list(learned.blocks), learned.waiting, rest))
        if np.isnan(watch.scores).all():
            raise Unsuited("the service gives no window a score: after its warm-up none holds enough")
        alerts = list(watch.alerts.items())
        runs.append(
            Run(
                watch.scores,
                watch.thresholds,
                watch.blame,
                alerts,
                watch.traces,
                warm_up,
                learned.cpu_secs,
                secs / max(windows, 1),
            )
        )
    return runs


class _Learned(NamedTuple):
    """A machine at the end of its warm-up."""

    state: dict[str, Any]
    model: Model
    samples: int
    """That it has seen."""
    waiting: list[Closed]
    """Windows that the last of these closed, not yet judged."""
    blocks: list[Block]
    """What was stored of it."""
    cpu_secs: float
    """In which the model was fitted."""


def _learned(machine: Machine, samples: Iterator[Sample]) -> _Learned | None:
    blocks: list[Block] = []
    for number, sample in enumerate(samples, start=1):
        waiting = list(machine.grid.place(sample).closed)
        while waiting:
            judged, secs = timed(functools.partial(machine.take, waiting.pop(0), _history(blocks)))
            blocks.extend(judged.blocks)
            if judged.model is not None:
                return _Learned(machine.snapshot(), judged.model, number, waiting, blocks, secs)
    return None


def _history(blocks: list[Block]) -> History:
    return lambda _, start, end: [block for block in blocks if start <= block.start < end]


def _watch(
    machine: Machine, watch: _Watch, blocks: list[Block], waiting: Iterable[Closed], samples: Iterable[Sample]
) -> int:
    """Judge what is still to come; return how many windows that were."""
    closed = itertools.chain(waiting, (each for sample in samples for each in machine.grid.place(sample).closed))
    windows = 0
    for windows, each in enumerate(closed, start=1):  # noqa: B007 - counts
        judged = machine.take(each, _history(blocks))
        blocks.extend(judged.blocks)
        watch.note(judged)
    return windows


class _Watch:
    """Scores and alerts on the hops of a trial; windows that are no hop of it leave no trace."""

    def __init__(self, trial: Trial, cells: Cells, warm_up: Traces) -> None:
        hops = len(trial.test_ends)
        self._period_secs = trial.period_secs
        self._hop_of = {int(cells[end - 1]) + 1: hop for hop, end in enumerate(trial.test_ends)}
        self._column_of = {name: column for column, name in enumerate(trial.channels)}
        self.scores = np.full(hops, np.nan)
        self.thresholds = np.full(hops, np.nan)
        self.blame = np.zeros((hops, len(trial.channels)))
        self.traces = Traces(np.full(hops, np.nan), np.zeros((hops, warm_up.traits.shape[1])), warm_up.detectors)
        self.alerts: dict[int, int | None] = {}  # the hop at which it first opened → at which it closed for good

    def note(self, judged: Judged) -> None:
        score, alert = judged.score, judged.alert
        hop = self._hop_at(score.end)
        if hop is None:
            return
        if score.score is not None and score.threshold is not None:
            self.scores[hop], self.thresholds[hop] = score.score, score.threshold
            for name, share in score.contributions.items():
                self.blame[hop, self._column_of[name]] = share
        trace = judged.trace
        if trace is not None and len(trace.traits) == self.traces.traits.shape[1]:  # a refit may know more channels
            self.traces.strangeness[hop], self.traces.traits[hop] = trace
        if alert is not None:
            opened = self._hop_at(alert.opened_at)
            if opened is not None:
                self.alerts[opened] = hop if alert.state == "closed" else None

    def _hop_at(self, end: float) -> int | None:
        return self._hop_of.get(round(end / self._period_secs))


def _samples(trial: Trial, cells: Cells) -> Iterator[Sample]:
    """Yield the readings in order of time, and at last the news that time goes on, which closes the last window."""
    for cell, row in zip(cells.tolist(), trial.values.tolist(), strict=True):
        readings = {name: value for name, value in zip(trial.channels, row, strict=True) if value == value}  # noqa: PLR0124 - not NaN
        if readings:
            yield Sample(trial.machine, cell * trial.period_secs, readings)
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
