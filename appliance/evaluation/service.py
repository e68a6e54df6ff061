"""The method named ``appliance``: the service itself, run over a trial as by default it would run; between the two.

::

    samples ─ Grid ─ Window ─ Machine.take ─┬─ Score ── Run.scores · thresholds · blame
                                            └─ Alert ── Run.alerts
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.detect.detector import DetectorOptions
from appliance.detect.scales import LONGEST
from appliance.evaluation.defaults import ALERT_RULES, GRID, MIN_COVERAGE, REFIT_RULES
from appliance.evaluation.methods import Unsuited
from appliance.evaluation.metrics import AlertHops
from appliance.evaluation.trials import Trial
from appliance.machine import Machine
from appliance.records import Alert, Block, Floats, Sample, Score
from appliance.windows import Grid, GridSpec

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


def operate(trial: Trial, false_alarms_per_week: float) -> Run:
    """Let a machine of the service learn the trial's warm-up and watch the rest.

    Raises
    ------
    Unsuited
        The service never comes to a score.
    """
    spec, cells = grid_spec(trial), timeline(trial)
    machine = Machine(
        name=trial.machine,
        source=trial.dataset,
        grid=spec,
        warmup_windows=_warm_up_windows(trial, spec, cells),
        min_coverage=MIN_COVERAGE,
        false_alarms_per_week=false_alarms_per_week,
        alerts=ALERT_RULES,
        detector=DetectorOptions(confirm=ALERT_RULES.open_windows, of=ALERT_RULES.of_windows),
        seed=zlib.crc32(trial.machine.encode()),
        refits=REFIT_RULES,
    )
    watch = _Watch(trial, cells)
    blocks: list[Block] = []

    def history(_: str, start: float, end: float) -> list[Block]:
        return [block for block in blocks if start <= block.start < end]

    fit_cpu_secs, windows, watching_since = 0.0, 0, time.process_time()
    for sample in _samples(trial, cells):
        for closed in machine.grid.place(sample).closed:
            before = time.process_time()
            judged = machine.take(closed, history)
            blocks.extend(judged.blocks)
            windows += 1
            watch.note(judged.score, judged.alert)
            if judged.model is not None and judged.model.version == 1:
                watching_since = time.process_time()
                fit_cpu_secs, windows = watching_since - before, 0
    if np.isnan(watch.scores).all():
        raise Unsuited("the service gives no window a score: it needs more, or longer, windows to learn from")
    return Run(
        scores=watch.scores,
        thresholds=watch.thresholds,
        blame=watch.blame,
        alerts=list(watch.alerts.items()),
        fit_cpu_secs=fit_cpu_secs,
        window_cpu_secs=(time.process_time() - watching_since) / max(windows, 1),
    )


class _Watch:
    """Scores and alerts on the hops of a trial; windows that are no hop of it leave no trace."""

    def __init__(self, trial: Trial, cells: Cells) -> None:
        hops = len(trial.test_ends)
        self._period_secs = trial.period_secs
        self._hop_of = {int(cells[end - 1]) + 1: hop for hop, end in enumerate(trial.test_ends)}
        self._column_of = {name: column for column, name in enumerate(trial.channels)}
        self.scores = np.full(hops, np.nan)
        self.thresholds = np.full(hops, np.nan)
        self.blame = np.zeros((hops, len(trial.channels)))
        self.alerts: dict[int, int | None] = {}  # the hop at which it first opened → at which it closed for good

    def note(self, score: Score, alert: Alert | None) -> None:
        hop = self._hop_at(score.end)
        if hop is None:
            return
        if score.score is not None and score.threshold is not None:
            self.scores[hop], self.thresholds[hop] = score.score, score.threshold
            for name, share in score.contributions.items():
                self.blame[hop, self._column_of[name]] = share
        if alert is not None and getattr(alert, "kind", "machine") == "machine":
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
