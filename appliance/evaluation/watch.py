"""What the service said while it ran → here → scores, thresholds, blame and alerts on the hops of a trial."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.detect.traces import Traces
from appliance.evaluation.metrics import AlertHops
from appliance.evaluation.trials import Trial
from appliance.machine import Judged
from appliance.records import Alert, Floats

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
    """In which the detector was fitted on the warm-up, or the last label learned from."""
    window_cpu_secs: float
    """For each window after that, from placing its samples to the alert."""


class Watch:
    """Scores and alerts on the hops of a trial; windows that are no hop of it leave no trace."""

    def __init__(self, trial: Trial, cells: Cells, warm_up: Traces) -> None:
        hops = len(trial.test_ends)
        self.hops = 0
        """Judged."""
        self._warm_up = warm_up
        self._ends = cells[trial.test_ends - 1] + 1
        self._hop = trial.hop
        self._period_secs = trial.period_secs
        self._hop_of = {int(cells[end - 1]) + 1: hop for hop, end in enumerate(trial.test_ends)}
        self._column_of = {name: column for column, name in enumerate(trial.channels)}
        self.scores = np.full(hops, np.nan)
        self.thresholds = np.full(hops, np.nan)
        self.blame = np.zeros((hops, len(trial.channels)))
        self.traces = Traces(np.full(hops, np.nan), np.zeros((hops, warm_up.traits.shape[1])), warm_up.detectors)
        self.alerts: dict[int, int | None] = {}  # the hop at which it first opened → at which it closed for good

    def note(self, judged: Judged) -> None:
        """Keep what was said of a window."""
        score, alert = judged.score, judged.alert
        hop = self._hop_at(score.end)
        if hop is None:
            return
        self.hops = hop + 1
        if score.score is not None and score.threshold is not None:
            self.scores[hop], self.thresholds[hop] = score.score, score.threshold
            for name, share in score.contributions.items():
                self.blame[hop, self._column_of[name]] = share
        trace = judged.trace
        if trace is not None and len(trace.traits) == self.traces.traits.shape[1]:  # a refit may know more channels
            self.traces.strangeness[hop], self.traces.traits[hop] = trace
        self.told([] if alert is None else [alert])

    def told(self, alerts: Iterable[Alert]) -> None:
        """Keep what became of alerts, by a window or by what was said of them."""
        for alert in alerts:
            opened = self._hop_at(alert.opened_at)
            if opened is not None:
                self.alerts[opened] = self.hops - 1 if alert.state == "closed" else None

    def run(self, fit_cpu_secs: float, window_cpu_secs: float) -> Run:
        """Return all of it, and what it took."""
        alerts = list(self.alerts.items())
        return Run(
            self.scores,
            self.thresholds,
            self.blame,
            alerts,
            self.traces,
            self._warm_up,
            fit_cpu_secs,
            window_cpu_secs,
        )

    def time_of(self, first: int, end: int) -> tuple[float, float]:
        """Return the time that hops [first, end) bring: Unix seconds."""
        return (self._ends[first] - self._hop) * self._period_secs, self._ends[end - 1] * self._period_secs

    def _hop_at(self, end: float) -> int | None:
        return self._hop_of.get(round(end / self._period_secs))
