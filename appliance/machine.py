"""One machine's life: it is learned for a while, then every window is scored; between grid and incidents."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.adapt.adapters import ADAPTERS, DEFAULT
from appliance.adapt.adapters.base import Adapter
from appliance.adapt.prior import Prior
from appliance.adapt.promote import Budget
from appliance.adaptation import Adaptation, Adapted
from appliance.detect.calibrate import Threshold
from appliance.detect.detector import Detector, DetectorOptions
from appliance.detect.scales import Past
from appliance.history import History, Readings, without
from appliance.incidents import AlertRules, IncidentTracker
from appliance.labels import Labels
from appliance.learned import Learned
from appliance.outcome import Block, HeadRecord, Model, TraceBlock
from appliance.records import Alert, Blank, Floats, Score, Trace, Trust, Window
from appliance.refit import RefitRules, Refits
from appliance.retrace import retrace
from appliance.screening import Screened, StateSource
from appliance.sensor_incidents import SensorIncidents
from appliance.signals import signals
from appliance.windows import OUTAGE, Closed, Grid, GridSpec

_LEAST_SHARE = 0.5
"""Of what is to be learned again that the history must still hold; else the old model stays."""
WEEK_SECS = 7 * 24 * 3600.0
GONE = {"offline", OUTAGE}
"""Why a window is incomplete that says nothing of its machine."""


class Judged(NamedTuple):
    """What came of one window."""

    score: Score
    alert: Alert | None
    """The machine's own, where it changed."""
    sensor_alerts: list[Alert]
    blocks: list[Block]
    model: Model | None
    trace: Trace | None
    """What the detector saw, of a window that has a score."""
    traces: list[TraceBlock]
    """What is to be kept of that."""
    adapted: Adapted | None
    """What a new fit has learned from what was said before it."""


class Machine:
    """A grid, the screening and the detector once there is one, and the incidents."""

    def __init__(
        self,
        *,
        name: str,
        source: str,
        grid: GridSpec,
        warmup_windows: int,
        min_coverage: float,
        false_alarms_per_week: float,
        alerts: AlertRules,
        detector: DetectorOptions,
        seed: int,
        state: StateSource | None = None,
        refits: RefitRules | None = None,
        prior: Prior | None = None,
        adapter: Adapter | None = None,
    ) -> None:
        self.name = name
        self.source = source
        self.grid = Grid(name, grid)
        self.incidents = IncidentTracker(alerts)
        self.sensor_incidents = SensorIncidents(alerts)
        self._spec = grid
        self._warmup_windows = warmup_windows
        self._min_coverage = min_coverage
        self._budget = false_alarms_per_week
        self._windows_per_week = WEEK_SECS / (grid.hop * grid.period_secs)
        self._options = detector
        self._seed = seed
        self._state = state or StateSource()
        self._new_refits = partial(Refits, refits or RefitRules(), grid=grid, warmup_windows=warmup_windows, seed=seed)
        self._refits = self._new_refits()
        self._learned: Learned | None = None
        self._version = 0
        self._warm = 0  # windows with enough data so far
        self._began: float | None = None  # start of the first window: what is stored from before had another grid
        self._past = Past(grid.length, grid.hop)
        self._next_start: float | None = None  # of the window after the last one, if nothing is left out between
        self._readings = Readings(name, grid)
        self._labels = Labels()
        per_week = Budget(false_alarms_per_week, self._windows_per_week)
        self._adaptation = Adaptation(name, grid, alerts, per_week, prior or Prior(), adapter or ADAPTERS[DEFAULT]())
        self._last: Score | None = None
        self._screened: Screened | None = None  # what the last window passed

    def take(self, closed: Closed, history: History) -> Judged:
        """Judge a window by what was known before it, then learn from it if nothing is suspected."""
        window = closed.window
        if self._began is None:
            self._began = window.start
        self._note_silence(window.start)
        blocks = self._readings.settle(window, closed.settled)
        known = None if self._learned is None else len(self._learned.channels)
        coverage = float(np.mean(~np.isnan(window.values[:known])))
        bad = self._labels.bad_at(window.start, window.end)
        self._screened = screened = self._screen(window, bad)
        score, trace = self._score(window, coverage, screened)
        was_open = self.incidents.is_open
        alert = self.incidents.update(score)
        spent = 0.0
        opened = alert is not None and alert.opened_at == score.end  # and not again, within its cooldown
        learned = self._learned
        if learned is not None and score.score is not None and not was_open:
            spent = learned.detector.spend(opened, self._windows_per_week, self._budget)
        sensor_alerts = [] if screened is None else self.sensor_incidents.update(score, screened.latest, bad)
        self._labels.note(sensor_alerts)
        self._labels.note([] if alert is None else [alert], spent=spent if opened else 0.0)
        reason = self._refits.take(
            score,
            alert,
            suspected=self.incidents.is_open,
            overspent=learned is not None and learned.detector.overspent,
            sound=window.incomplete is None and not (screened and screened.spoilt),
            running=screened is None or screened.operating == "running",
        )
        traces = [] if trace is None else self._adaptation.note(self._version, window.end, trace)
        model = None
        if learned is not None:
            if reason is not None:
                model = self._fit(history, blocks)
                self._refits.refitted(window.end, None if model is None else reason)
        elif coverage >= self._min_coverage and score.blank != "maintenance":
            self._warm += 1
            if self._warm >= self._warmup_windows:
                if self._refits.begun:
                    self._refits.refitted(window.end, "lost")
                else:
                    self._refits.first_fitted(window.end, "new_normal" if self._version else None)
                model = self._fit(history, blocks)
        adapted = None
        if model is not None:
            again, adapted = self._teach(model, history, blocks, window.end)
            traces += again
        self._remember(closed.settled, score, screened)
        self._last = score
        return Judged(score, alert, sensor_alerts, blocks, model, trace, traces, adapted)

    def _note_silence(self, start: float) -> None:
        """Keep the past in step with the clock where windows were stepped over."""
        hop_secs = self._spec.hop * self._spec.period_secs
        if self._next_start is not None:
            self._past.skip(round((start - self._next_start) / hop_secs))
        self._next_start = start + hop_secs

    def _remember(self, settled: NDArray[np.float32], score: Score, screened: Screened | None) -> None:
        """Take settled cells [channel, hop] into the past; what was not judged must not be judged later either."""
        if score.blank is not None:
            self._past.forget()
        if score.blank in {"stopped", "starting", "maintenance"}:
            settled = np.full_like(settled, np.nan)
        elif screened is not None:
            masked = np.logical_and.reduce(np.isnan(screened.values), axis=1)
            if masked.any():
                settled = settled.copy()
                settled[: len(masked)][masked] = np.nan
        self._past.extend(settled)

    def _screen(self, window: Window, bad: set[str]) -> Screened | None:
        """Look at sensors and operating state; None where nothing is known of them."""
        if self._learned is None or window.incomplete in GONE:
            return None
        return self._learned.screening.take(window, bad)

    def _score(self, window: Window, coverage: float, screened: Screened | None) -> tuple[Score, Trace | None]:
        blank: Blank | None = None
        if coverage < self._min_coverage or window.incomplete in GONE:
            blank = "no_data"
        elif self._labels.maintained(window.start, window.end):
            blank = "maintenance"
        elif self._learned is None:
            blank = "learning"
        elif screened is None or not np.isfinite(screened.values).any():
            blank = "no_data"
        elif screened.operating != "running" and not screened.familiar:
            blank = screened.operating
        value = threshold = trace = None
        alarm = extrapolated = False
        evidence: dict[str, float] = {}
        contributions: dict[str, float] = {}
        if blank is None:
            assert self._learned is not None
            assert screened is not None
            values, detector = screened.values, self._learned.detector
            verdict = detector.score(values, self._past)
            limit = self._limit(detector)
            value, threshold = verdict.score, limit.score
            alarm, extrapolated = value >= threshold, limit.extrapolated
            evidence = verdict.evidence
            trace = Trace(verdict.unlabelled, verdict.traits)
            contributions = dict(zip(self._learned.channels, verdict.contributions.tolist(), strict=True))
            calm = self._refits.calm and not detector.overspent
            if calm and not alarm and not self.incidents.is_open and window.incomplete is None:
                detector.learn(values, verdict)
        score = Score(
            machine=self.name,
            source=self.source,
            start=window.start,
            end=window.end,
            score=value,
            threshold=threshold,
            alarm=alarm,
            trust=self._trust,
            blank=blank,
            extrapolated=extrapolated,
            coverage=coverage,
            model=self._version,
            evidence=evidence,
            contributions=contributions,
            signals=signals(window),
            sensor_faults={} if screened is None else screened.sensor_faults,
            head=0 if self._learned is None else self._adaptation.in_service,
        )
        return score, trace

    @property
    def _trust(self) -> Trust:
        if self._learned is None:
            return "learning"
        return f"adapted({self._adaptation.labels})" if self._adaptation.labels else "prior"

    def _limit(self, detector: Detector) -> Threshold:
        return detector.threshold(self._windows_per_week, self._budget)

    def _fit(self, history: History, fresh: Sequence[Block]) -> Model | None:
        """Fit anew; None, and nothing changed, where too little is known: late channels, lost history."""
        try:
            series = self._series(history, fresh)
            learned, warm_up = Learned.of(
                self.grid.channels, series, grid=self._spec, seed=self._seed, options=self._options, state=self._state
            )
        except ValueError:
            if self._learned is None:
                self._warm = 0
            return None
        self._labels.settle()
        self._take_up(learned)
        self._version += 1
        return learned.model(self._version, warm_up)

    def _teach(
        self, model: Model, history: History, fresh: Sequence[Block], end: float
    ) -> tuple[list[TraceBlock], Adapted | None]:
        """Have a new fit look at what was labelled before it, and make a head of that."""
        assert self._learned is not None
        assert self._began is not None
        detector, channels = self._learned.detector, len(self._learned.channels)
        read = partial(self._readings.between, history=history, fresh=fresh, channels=channels)
        labelled = self._labels.teaching(self._began, end)
        return self._adaptation.begin_again(
            detector, model, self._labels, retrace(detector, self._spec, labelled, read, until=end)
        )

    def _series(self, history: History, fresh: Sequence[Block]) -> Floats:
        """[channel, time] of what is learned from: the warm-up, later what the reservoir holds."""
        assert self._began is not None
        channels, hop_secs = len(self.grid.channels), self._spec.hop * self._spec.period_secs
        spans = self._refits.spans(channels) if self._version else []
        stretches = [(span.first * hop_secs, span.end * hop_secs) for span in spans]
        stretches = stretches or [(self._began, self._readings.newest(fresh))]
        stretches = without(stretches, self._labels.not_learned())
        rows = {name: row for row, name in enumerate(self.grid.channels)}
        hidden = [(rows[name], bad) for name, every in self._labels.bad_sensors().items() for bad in every]
        series, share = self._readings.series(
            stretches, history, fresh, channels=channels, since=self._began, hidden=hidden
        )
        if self._learned is not None and share < _LEAST_SHARE:
            raise ValueError("more than half of what was to be learned again is no longer in the history")
        return series

    def _take_up(self, learned: Learned) -> None:
        self._learned = learned
        self._past.forget()
        self.incidents.usual = self.sensor_incidents.usual = learned.ranges

    def status(self, at: float) -> dict[str, Any]:
        """Describe the machine to people and scripts; ``at`` is when its newest message arrived."""
        last, spec, learned = self._last, self._spec, self._learned
        hours = spec.hop * spec.period_secs / 3600
        return {
            "machine": self.name,
            "source": self.source,
            "received_at": at,
            "newest": self.grid.newest_time,
            "trust": self._trust,
            "head": self._adaptation.in_service,
            "learned": self._adaptation.words,
            "refitted_at": self._refits.refitted_at,
            "refit_reason": self._refits.reason,
            "learned_hours": round(min(self._warm, self._warmup_windows) * hours, 2),
            "warmup_hours": round(self._warmup_windows * hours, 2),
            "channels": list(self.grid.channels),
            "new_channels": list(self.grid.channels[len(learned.channels) :]) if learned else [],
            "silent_channels": [] if last is None else [c for c in self.grid.channels if c not in last.signals],
            "operating": None if self._screened is None else self._screened.operating,
            "sensor_faults": {} if last is None else last.sensor_faults,
            "bad_sensors": sorted(self._labels.bad_at(self.grid.newest_time or 0.0, math.inf)),
            "score": None if last is None else last.score,
            "threshold": None if last is None else last.threshold,
            "extrapolated": None if last is None else last.extrapolated,
            "needs_hours": None if learned is None else round(self._limit(learned.detector).needs_windows * hours, 2),
            "blank": None if last is None else last.blank,
            "alert": self.incidents.current.id if self.incidents.is_open and self.incidents.current else None,
        }

    def snapshot(self) -> dict[str, Any]:
        """All that moves; the fitted model is stored apart, because it is large and rarely changes."""
        return {
            "source": self.source,
            "spec": asdict(self._spec),
            "grid": self.grid.snapshot(),
            "incidents": self.incidents.snapshot(),
            "sensor_incidents": self.sensor_incidents.snapshot(),
            "warm": self._warm,
            "began": self._began,
            "version": self._version,
            "refits": self._refits.snapshot(),
            "past": self._past.snapshot(),
            "next_start": self._next_start,
            "pending": self._readings.snapshot(),
            "labels": self._labels.snapshot(),
            "adaptation": self._adaptation.snapshot(),
            **({"detector": None, "screening": None} if self._learned is None else self._learned.live()),
        }

    def restore(self, state: dict[str, Any], model: Model | None, head: HeadRecord | None = None) -> bool:
        """Take up a snapshot; False, and nothing taken, where the grid was changed.

        A model that is missing or of another version is fitted anew from the stored history, at the next window.
        """
        if state["spec"] != asdict(self._spec):
            return False
        if state["detector"] is not None and model is not None and model.version == state["version"]:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._take_up(Learned.restore(model, state, head))
        self.grid.restore(state["grid"])
        self.incidents.restore(state["incidents"])
        self.sensor_incidents.restore(state["sensor_incidents"])
        self._warm = state["warm"]
        self._began = state["began"]
        self._version = state["version"]
        if isinstance(state.get("past"), dict):  # an older version kept less
            self._past.restore(state["past"])
        self._next_start = state.get("next_start")
        if "refits" in state:
            self._refits.restore(state["refits"])
        self._readings.restore(state["pending"])
        if "labels" in state:
            self._labels.restore(state["labels"])
        if "adaptation" in state:
            self._adaptation.restore(state["adaptation"])
        return True
