"""One machine through the protocol: every method, seed and number of labels; from the cache where nothing has changed.

::

    Trial ─┬─ service.operate ─ Run ──┬─ measure ─┬─ Finding ─ Cache
           └─ views ─ Method.judge ───┘           └─ Measured
                        ▲ Support, for methods that take labels
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from appliance.adapt.support import Span
from appliance.evaluation.adapted import ADAPTED, Adapted, Traced, spans_of
from appliance.evaluation.baselines import METHODS
from appliance.evaluation.cache import (
    Cache,
    Finding,
    digest_of,
    method_digest,
    source_digest,
    trial_digest,
    views_digest,
)
from appliance.evaluation.datasets import Entry, Skipped, load
from appliance.evaluation.descended import DESCENDED, chosen
from appliance.evaluation.explaining import Blamed, Scene, blamed, scenes
from appliance.evaluation.held_out_prior import Gains, gains
from appliance.evaluation.measuring import PER_WEEK, Alerting, Answer, deployed, grace_hops, measure
from appliance.evaluation.methods import Method, MissingExtra, Support, Unsuited
from appliance.evaluation.metrics import AlertHops
from appliance.evaluation.results import Row
from appliance.evaluation.service import APPLIANCE, Lesson, operate
from appliance.evaluation.support import common_tail, support_of
from appliance.evaluation.trials import Trial, Views, views
from appliance.evaluation.watch import Run

PROTOCOL = tuple(f"appliance.evaluation.{name}" for name in ("runner", "measuring", "support"))
"""Modules that every figure depends on, beside those of the method itself."""
ADAPTATION = "appliance.evaluation.adapted"
DESCENT = "appliance.evaluation.descended"
SERVICE = tuple(f"appliance.evaluation.{name}" for name in ("service", "explaining"))


@dataclass(frozen=True)
class Request:
    """What is to be measured on each machine."""

    methods: tuple[str, ...]
    ks: tuple[int, ...]
    """Numbers of labelled events, 0 among them."""
    cache: Path
    most_seeds: int | None = None
    """No more than this many seeds of methods that draw; None: as many as each thinks worth running."""
    priors: tuple[Path, ...] = ()
    """Files of methods that descend, of which each machine takes the first that has not seen its like."""


@dataclass
class Measured:
    """What came of one machine."""

    dataset: str
    machine: str
    skipped: str | None = None
    """Why the protocol leaves it out."""
    rows: list[Row] = field(default_factory=list)
    blamed: list[Blamed] = field(default_factory=list)
    scenes: list[Scene] = field(default_factory=list)
    unsuited: list[tuple[str, str]] = field(default_factory=list)
    """Method and why it cannot judge this machine."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Method and the error it ended with."""
    computed: int = 0
    """Findings that were not in the cache."""


def run_entry(entry: Entry, request: Request) -> Measured:
    """Read one recording and measure it; whatever goes wrong is noted."""
    measured = Measured(entry.dataset, entry.path.stem)
    try:
        trial = load(entry)
        measured.machine = trial.machine
        if isinstance(trial, Skipped):
            measured.skipped = trial.reason
        else:
            run_trial(trial, request, measured)
    except Exception as error:  # the other machines go on
        measured.failed.append(("everything", _in_words(error)))
    return measured


def run_trial(trial: Trial, request: Request, measured: Measured) -> None:
    """Measure one machine and add what comes of it."""
    bench = _Bench(trial, request, measured)
    for name in request.methods:
        if name == APPLIANCE:
            bench.appliance()
            continue
        if name in ADAPTED:
            bench.adapted(ADAPTED[name], request.most_seeds)
            continue
        if name in DESCENDED:
            bench.descended(name, request.priors)
            continue
        try:
            method = METHODS[name]()
        except MissingExtra as missing:
            measured.unsuited.append((name, str(missing)))
            continue
        seeds = range(method.seeds if request.most_seeds is None else min(method.seeds, request.most_seeds))
        for seed in seeds:
            for k in bench.ks(method):
                bench.baseline(method, k, seed)
    measured.unsuited, measured.failed = (list(dict.fromkeys(each)) for each in (measured.unsuited, measured.failed))


def prior_gains(entry: Entry, cache: Path, ks: Sequence[int]) -> Gains | None:
    """Measure every prior of adaptation on one recording; None where it has too few events."""
    trial = load(entry)
    if isinstance(trial, Skipped):
        return None
    bench = _Bench(trial, Request((), tuple(ks), cache), Measured(entry.dataset, trial.machine))
    return bench.prior_gains()


class _Bench:
    """One machine, with what several methods need of it made once, when it is first needed."""

    def __init__(self, trial: Trial, request: Request, measured: Measured) -> None:
        self.trial = trial
        self.tail = common_tail(trial.event_hops, request.ks)
        self._cache = Cache(request.cache)
        self._measured = measured
        self._digest = trial_digest(trial)
        self._lessons = self.labelled_ks if APPLIANCE in request.methods else []
        """Numbers of labels with which the service itself is run: the longest part of it all."""

    @property
    def labelled_ks(self) -> list[int]:
        """Numbers of labelled events, above 0, that leave the machine enough to measure on."""
        return [k for k in self.tail.ks if k] if self.tail is not None else []

    def ks(self, method: Method) -> list[int]:
        """Return what a method is asked: those that learn from labels are left out where there are none."""
        if not method.uses_labels:
            return [0]
        return [*([] if method.needs_labels else [0]), *self.labelled_ks] if self.labelled_ks else []

    @cached_property
    def _views(self) -> Views:
        return views(self.trial)

    @cached_property
    def _views_digest(self) -> str:
        return views_digest(self._views)

    @cached_property
    def _appliance(self) -> Finding | None:
        """What the appliance did, whether it is asked for or only teaches others by its false alarms."""
        return self._found(APPLIANCE, 0, 0, SERVICE, self._lessons, self._operate)

    def appliance(self) -> None:
        """Add what the appliance did, without labels and with each number of them."""
        if self._appliance is not None:
            self._measured.rows += self._appliance.rows
            self._measured.blamed += self._appliance.blamed
            self._measured.scenes += self._appliance.scenes

    @cached_property
    def _traced(self) -> Traced:
        """What the service saw; only to be asked for where it scored anything."""
        assert self._appliance is not None
        kept = self._cache.read_traces(self._traces_name, self._appliance.key)
        if kept is None:
            run = operate(self.trial, PER_WEEK["week"])[0].run
            self._cache.write_traces(self._traces_name, self._appliance.key, run.warm_up, run.traces)
            kept = run.warm_up, run.traces
        return Traced(*kept)

    @property
    def _traces_name(self) -> tuple[str, ...]:
        return self.trial.dataset, self.trial.machine, "traces"

    def adapted(self, method: Adapted, most_seeds: int | None) -> None:
        """Add one of the appliance's own ways to learn from labels."""
        if not self.labelled_ks or self._appliance is None:
            return
        seeds = method.seeds if most_seeds is None else min(method.seeds, most_seeds)
        for k in (0, *self.labelled_ks):
            self._adapt(method, k, seeds, ADAPTATION)

    def descended(self, name: str, priors: Sequence[Path]) -> None:
        """Add a head that descends from a prior which has not seen this machine."""
        if not self.labelled_ks or self._appliance is None:
            return
        try:
            adapted, digest = chosen(name, priors, self.trial, self._traced.warm_up.detectors)
        except Unsuited as reason:
            self._measured.unsuited.append((name, str(reason)))
            return
        for k in (0, *self.labelled_ks):
            self._adapt(adapted, k, adapted.seeds, DESCENT, digest)

    def _adapt(self, method: Adapted, k: int, seeds: int, module: str, *known: str) -> None:
        support = self._support(k)

        def find(key: str) -> Finding:
            answers = [
                (seed, deployed(self.trial, method.judge(self.trial, self._traced, support, seed)))
                for seed in range(seeds)
            ]
            rows = [row for seed, answer in answers for row in self._rows(answer, method.name, k, seed)]
            return Finding(key=key, rows=[row for row in rows if row.tail == "common"])

        assert self._appliance is not None
        question = *_known(support), seeds, self._appliance.key, *known
        found = self._found(method.name, k, 0, [module], question, find)
        self._measured.rows += found.rows if found is not None else []

    def prior_gains(self) -> Gains | None:
        """Measure every prior of adaptation; None where there are too few events, or the service scores nothing."""
        if self.tail is None or not self.labelled_ks or self._appliance is None:
            return None
        supports = {k: self._support(k) for k in self.labelled_ks}
        return gains(self.trial, self._traced, supports, self.tail.start)

    def _support(self, k: int) -> Support:
        alerts = self._appliance.alerts if k and self._appliance is not None else []
        return support_of(self.trial.event_hops, k, alerts, grace_hops(self.trial))

    def baseline(self, method: Method, k: int, seed: int) -> None:
        """Add a method with one seed and one number of labels."""
        support = self._support(k)
        question = _known(support)
        module = type(method).__module__

        def judge(key: str) -> Finding:
            scores_key = digest_of(self._views_digest, method_digest(module), method.name, k, seed, question)
            name = self._name(method.name, k, seed)
            judged = self._cache.read_scores(name, scores_key)
            if judged is None:
                judged = method.judge(self._views, support, seed).rounded()
                self._cache.write_scores(name, scores_key, judged)
            answer = deployed(self.trial, judged)
            rows = self._rows(answer, method.name, k, seed)
            if method.uses_labels:  # on the whole it would be there for the machines with many events only
                rows = [row for row in rows if row.tail == "common"]
            return Finding(key=key, rows=rows)

        found = self._found(method.name, k, seed, [module], question, judge)
        self._measured.rows += found.rows if found is not None else []

    def _name(self, method: str, k: int, seed: int) -> tuple[str, ...]:
        return self.trial.dataset, self.trial.machine, f"{method} k={k} seed={seed}"

    def _found(
        self,
        method: str,
        k: int,
        seed: int,
        modules: Sequence[str],
        question: Sequence[object],
        find: Callable[[str], Finding],
    ) -> Finding | None:
        """Look the answer up, or find and keep it; None where there is no figure, for a reason that is reported."""
        name = self._name(method, k, seed)
        tail = None if self.tail is None else self.tail.start
        key = digest_of(self._digest, source_digest(*PROTOCOL, *modules), method, k, seed, tail, question)
        found = self._cache.read(name, key)
        if found is None:
            self._measured.computed += 1
            try:
                found = find(key)
            except Unsuited as reason:
                found = Finding(key=key, unsuited=str(reason))
            except Exception as error:  # the other methods and machines go on
                self._measured.failed.append((method, _in_words(error)))
                return None
            self._cache.write(name, found)
        if found.unsuited is not None:
            self._measured.unsuited.append((method, found.unsuited))
            return None
        return found

    def _operate(self, key: str) -> Finding:
        lessons = [self._lesson(k) for k in self._lessons]
        weekly, daily = operate(self.trial, PER_WEEK["week"], PER_WEEK["day"], lessons=lessons)
        if self.labelled_ks:
            self._cache.write_traces(self._traces_name, key, weekly.run.warm_up, weekly.run.traces)
        rows = self._rows(_answer(weekly.run, daily.run), APPLIANCE, 0, 0)
        for k, *taught in zip(self._lessons, weekly.taught, daily.taught, strict=True):
            rows += [row for row in self._rows(_answer(*taught), APPLIANCE, k, 0) if row.tail == "common"]
        return Finding(
            key=key,
            rows=rows,
            alerts=weekly.run.alerts,
            blamed=blamed(self.trial, weekly.run),
            scenes=scenes(self.trial, weekly.run),
        )

    def _lesson(self, k: int) -> Lesson:
        """Say at the end of the k-th event what an operator would have said by then."""
        trial = self.trial

        def labels(alerts: list[AlertHops]) -> list[Span]:
            return spans_of(support_of(trial.event_hops, k, alerts, grace_hops(trial)))

        return Lesson(support_of(trial.event_hops, k, [], 0).seen, labels)

    def _rows(self, answer: Answer, method: str, k: int, seed: int) -> list[Row]:
        rows = []
        if k == 0:
            rows.append(measure(self.trial, answer, method=method, k=k, seed=seed, tail="whole"))
        if self.tail is not None:
            start = self.tail.start
            rows.append(measure(self.trial, answer, method=method, k=k, seed=seed, tail="common", start=start))
        return rows


def _answer(weekly: Run, daily: Run) -> Answer:
    return Answer(
        ranking=np.nan_to_num(weekly.scores, nan=0.0),  # no score: not strange to anybody
        week=_alerting(weekly),
        day=_alerting(daily),
        learn_ms=1e3 * weekly.fit_cpu_secs,
        score_us=1e6 * weekly.window_cpu_secs,
    )


def _known(support: Support) -> tuple[object, ...]:
    """All that a support says, for a digest."""
    return *(array.tolist() for array in (support.fault, support.event, support.false_alarm)), support.seen


def _alerting(run: Run) -> Alerting:
    return Alerting(run.alerts, ~np.isnan(run.scores))


def _in_words(error: Exception) -> str:
    """Name the error and where in our source, or just below, it came from."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
