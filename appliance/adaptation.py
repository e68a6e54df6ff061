"""One machine's head: its labels and what its detector saw → candidate → guard → in service.

::

    labels ──────────────┐
    traces in the store ─┴─ support ─ adapter ─ head ─┬─ calibration ─ rehearsal ─┬─ promoted
    head in service ──────────────────────────────────┴─ rehearsal ───────────────┴─ vetoed, and why
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from appliance.adapt.adapters.base import Adapter
from appliance.adapt.prior import Prior
from appliance.adapt.promote import Budget, Flags, Rehearsal, gives_way, in_words, take_back, veto
from appliance.adapt.support import Span, Support, Verdict
from appliance.archive import KEPT_HEADS
from appliance.detect.calibrate import Calibrator
from appliance.detect.detector import Detector
from appliance.detect.head import Head
from appliance.detect.traces import Traces, halved
from appliance.errors import AdaptationError
from appliance.incidents import AlertRules
from appliance.labels import Labels
from appliance.outcome import Attempt, AttemptCause, HeadRecord, Model, TraceBlock
from appliance.records import Floats, LabelVerdict, Trace
from appliance.windows import GridSpec

_TICK_SECS, _TICKS = 1e-6, 1000
"""Between two attempts after the same window, and how many there may be: a hundred labels are taken in an hour."""
TRACE_WINDOWS = 32
"""Windows in a stored block of traces: enough to compress, few enough to ride in a checkpoint until then."""
_TEACH: dict[LabelVerdict, Verdict] = {"fault": "fault", "false_alarm": "false_alarm"}
_RECENT_SECS = 30 * 86_400.0
"""Of the past, what a head is made and judged with..."""
_MOST_NUMBERS = 3_000_000
"""...and no more than that: 24 MB and a few copies, six days of ten channels at one reading a second."""


class Fit(NamedTuple):
    """The fit that a head belongs to."""

    detector: Detector
    model: int
    warm_up: Traces
    stored: Callable[[str, int, float, float], list[TraceBlock]]
    """What it saw, read from the store: `Archive.traces`."""


class Adapted(NamedTuple):
    """What came of an attempt."""

    words: str
    record: HeadRecord | None
    """What is in service now, where that has changed."""
    attempt: Attempt


@dataclass(frozen=True)
class Past:
    """What there is to learn from, and the time of each window."""

    support: Support
    """For learning: what was under an alert that nobody has called false is not taken to be normal, unless faults were
    labelled before and after it."""
    rehearsed: Support
    """For the guard: there it counts."""
    ends: Floats
    """[n] Unix seconds: of the windows of the past."""
    labels: int
    """Used."""


class Adaptation:
    """Keeps what one machine's detector saw, and makes heads of it. Deterministic: a function of the journal."""

    def __init__(
        self, machine: str, grid: GridSpec, rules: AlertRules, budget: Budget, prior: Prior, adapter: Adapter
    ) -> None:
        self._machine = machine
        self._length_secs = grid.length * grid.period_secs
        self._hop_secs = grid.hop * grid.period_secs
        self._straddle = -(-grid.length // grid.hop)
        self._rules = rules
        self._budget = budget
        self._prior = prior
        self._adapter = adapter
        self._pending: list[tuple[float, Trace]] = []
        self._newest: float | None = None  # end of the last window with a trace
        self.number = 0
        """Of the last change of what is in service."""
        self.in_service = 0
        """Of the head that is, 0 for what the fit came with."""
        self.labels = 0
        """That the head in service was made of."""
        self.words: str | None = None
        """What the last attempt brought."""
        self._attempts = 0
        self._line: list[tuple[int, int]] = []  # (number, labels) of the heads one after the other, the last in service

    # ------------------------------------------------------------------------------------------------------ traces

    def note(self, model: int, end: float, trace: Trace) -> list[TraceBlock]:
        """Take in what was seen of a window; give out a block where it is full or time jumps."""
        blocks = []
        jumped = self._newest is not None and end - self._newest > 1.5 * self._hop_secs
        widened = bool(self._pending) and len(self._pending[0][1].traits) != len(trace.traits)
        if self._pending and (jumped or widened):
            blocks.append(self._flush(model))
        self._pending.append((end, trace))
        self._newest = end
        if len(self._pending) == TRACE_WINDOWS:
            blocks.append(self._flush(model))
        return blocks

    def _flush(self, model: int) -> TraceBlock:
        block = self._block(model)
        self._pending = []
        return block

    def _block(self, model: int) -> TraceBlock:
        ends, traces = zip(*self._pending, strict=True)
        return block_of(self._machine, model, list(ends), list(traces))

    def _read(self, fit: Fit, labels: Labels) -> list[TraceBlock]:
        """Return the blocks of the recent past and of what is labelled, oldest first."""
        assert self._newest is not None
        before = self._pending[0][0] if self._pending else self._newest + self._hop_secs  # a replay finds the future
        width = fit.warm_up.traits.shape[1]
        recent = min(_RECENT_SECS, _MOST_NUMBERS // width * self._hop_secs)
        reach = TRACE_WINDOWS * self._hop_secs
        stretches = [(self._newest - recent, before)]
        beyond = (self._straddle + 1) * self._hop_secs
        labelled = labels.teaching(-math.inf, self._newest)
        stretches += [(start - reach, min(end + beyond, before)) for start, end in labelled]
        found = {
            float(block.ends[0]): block
            for start, end in stretches
            for block in fit.stored(self._machine, fit.model, start, end)
        }
        waiting = [self._block(fit.model)] if self._pending else []
        blocks = [*(found[at] for at in sorted(found)), *waiting]
        return [block for block in blocks if block.traits.shape[1] == width]

    # ------------------------------------------------------------------------------------------------------ heads

    def adapt(
        self, fit: Fit, labels: Labels, cause: AttemptCause, said: str | None = None, given_back: float = 0.0
    ) -> Adapted | None:
        """Make a head of the labels and put it into service, unless it does harm; None where no label says anything.

        Parameters
        ----------
        said
            The id of the label that was said last, where that is the cause.
        given_back
            Of the threshold's correction, for it: taken again as far as the past does not bear it.
        """
        past = self._past(fit, labels)
        if past is None or not (past.labels or self._line):
            return None
        as_given = fit.detector.calibrator
        present = self._rehearsed(fit.detector.head, past)
        fit.detector.calibrator, before = take_back(present, as_given, given_back, self._budget)
        try:
            head = self._adapter.adapt(self._prior, past.support)
        except AdaptationError as error:
            self.words = words = f"no head came of the labels, what is in service stays: {error}"
            attempt = self._attempt(cause, said, past.labels, words, str(error))
            return Adapted(words, None, replace(attempt, failed=True))
        rehearsed = self._rehearsed(head, past)
        calibrator = as_given.again(rehearsed.warm_up, rehearsed.past[past.support.normal])
        calibrator, _ = take_back(rehearsed, calibrator, given_back, self._budget)
        calibrator, after = gives_way(rehearsed, calibrator, before, self._budget)
        remark = self._adapter.remark(fit.warm_up.detectors)
        words = in_words(before, after) + (f"; {remark}" if remark else "")
        harm = veto(before, after, self._budget)
        record = None
        if harm is None:
            record = self._into_service(fit, head, calibrator, words, past.labels, self._line)
        else:
            self.words = words = f"not taken into service: {harm}; a head of the labels {words}"
        attempt = replace(
            self._attempt(cause, said, past.labels, words, harm),
            faults=len(after.caught),
            caught_before=sum(before.caught),
            caught=sum(after.caught),
            alerts_before=before.a_week,
            alerts=after.a_week,
        )
        return Adapted(words, record, attempt)

    def _rehearsed(self, head: Head, past: Past) -> Rehearsal:
        return Rehearsal(head, past.rehearsed, past.ends, rules=self._rules, budget=self._budget)

    def begin_again(
        self, detector: Detector, model: Model, labels: Labels, retraced: Iterable[tuple[float, Trace]]
    ) -> tuple[list[TraceBlock], Adapted | None]:
        """Begin with a new fit, of which no head knows anything, and make one of what it says of labelled windows.

        Parameters
        ----------
        retraced
            The ends of these windows and what it saw, in order of time.
        """
        self.forget()
        blocks = [block for end, trace in retraced for block in self.note(model.version, end, trace)]

        def stored(_: str, __: int, start: float, end: float) -> list[TraceBlock]:
            return [block for block in blocks if start <= block.ends[0] < end]

        fit = Fit(detector, model.version, Traces.restore(model.state["warm_up"]), stored)
        return blocks, self.adapt(fit, labels, "refit")

    def roll_back(self, fit: Fit, labels: Labels, stored: Callable[[str, int], HeadRecord | None]) -> Adapted:
        """Put the head before the present one into service again; ``stored`` reads one of the last."""
        past = self._past(fit, labels)
        record, made_of = None, self.labels
        if not self._line or past is None:
            words = "there is no head to go back from: no label has changed anything since the last fit"
        elif len(self._line) == 1:
            head, words, made_of = Head.prior(), "back to what it was before any label", 0
            record = self._into_service(fit, head, _calibrated(fit, head, past), words, made_of, [])
            self._line = []
        else:
            *line, (number, made_of), _ = self._line
            kept = stored(self._machine, number)
            words = f"head {number} is no longer kept: only the last {KEPT_HEADS} are"
            if kept is not None:
                head, words = Head.restore(kept.state["head"]), f"back to head {number}"
                record = self._into_service(fit, head, _calibrated(fit, head, past), words, made_of, line)
        vetoed = None if record is not None else words
        return Adapted(words, record, self._attempt("rollback", None, made_of, words, vetoed))

    def _attempt(self, cause: AttemptCause, said: str | None, labels: int, words: str, vetoed: str | None) -> Attempt:
        """Note an attempt, at a time of its own: in InfluxDB, one at the same time would take the place of the last."""
        self._attempts += 1
        at = (self._newest or 0.0) + _TICK_SECS * (self._attempts % _TICKS)
        return Attempt(self._machine, at, cause, said, self.in_service, labels, words, vetoed)

    def forget(self) -> None:
        """Forget what the last fit saw and all heads of it."""
        self._pending, self._line, self._newest = [], [], None
        self.in_service = self.labels = 0
        self.words = None

    def _into_service(
        self, fit: Fit, head: Head, calibrator: Calibrator, words: str, made_of: int, line: list[tuple[int, int]]
    ) -> HeadRecord:
        fit.detector.adopt(head, calibrator)
        self.number = self.in_service = self.number + 1
        self.labels, self.words = made_of, words
        self._line = [*line, (self.number, made_of)][-KEPT_HEADS:]
        return HeadRecord(self._machine, self.number, words, fit.detector.adopted())

    def _past(self, fit: Fit, labels: Labels) -> Past | None:
        if self._newest is None:
            return None
        blocks = self._read(fit, labels)
        if not blocks:
            return None
        ends = np.concatenate([block.ends for block in blocks])
        strangeness = np.concatenate([block.strangeness for block in blocks]).astype(np.float64)
        traits = np.concatenate([block.traits for block in blocks]).astype(np.float64)
        spans, used = [], set()
        for piece in labels.standing():
            # What an alert names begins with its first strange window, what a person names at some time in between.
            begin = piece.start + (self._length_secs if piece.label.alert is not None else 0.0)
            first = int(np.searchsorted(ends, begin, "left" if piece.label.alert is not None else "right"))
            end = max(int(np.searchsorted(ends, piece.end, "right")), first + 1)
            if first == len(ends) or ends[first] - self._length_secs >= piece.end:
                continue
            teaches = _TEACH.get(piece.label.verdict)
            if piece.label.verdict == "maintenance":
                strangeness[first : end + self._straddle] = np.nan
            elif teaches is not None and not np.isnan(strangeness[first:end]).all():
                spans.append(Span(first, end, teaches))
                used.add(piece.label.id)
        seen = Traces(strangeness, traits, fit.warm_up.detectors)
        whole = Support.of(fit.warm_up, seen, spans, straddle=self._straddle)
        suspect = np.zeros(len(ends), dtype=bool)
        for since, until in labels.suspected():
            under = (ends > since) & (ends - self._length_secs < until)
            faults = [span for span in spans if span.verdict == "fault" and under[span.first : span.end].any()]
            suspect |= under & ~_between(faults, len(ends))
        suspect[whole.false_alarm] = False
        return Past(replace(whole, normal=whole.normal[~suspect[whole.normal]]), whole, ends, len(used))

    def snapshot(self) -> dict[str, Any]:
        """State for a restart; the head in service is stored apart, because it is large and rarely changes."""
        block = self._block(0) if self._pending else None
        return {
            "pending": None if block is None else [block.ends, block.strangeness, block.traits],
            "newest": self._newest,
            "number": self.number,
            "attempts": self._attempts,
            "in_service": self.in_service,
            "labels": self.labels,
            "words": self.words,
            "line": [list(entry) for entry in self._line],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a snapshot."""
        if state["pending"] is not None:
            rows = zip(*state["pending"], strict=True)
            self._pending = [(float(end), Trace(float(strange), traits)) for end, strange, traits in rows]
        self._newest = state["newest"]
        self.number, self.in_service, self.labels = state["number"], state["in_service"], state["labels"]
        self.words = state["words"]
        self._attempts = state.get("attempts", 0)  # an older version did not count them
        self._line = [(number, labels) for number, labels in state["line"]]


def _between(faults: list[Span], windows: int) -> Flags:
    """Flag what [window] lies between two faults: whoever marks two of them apart has seen that it is none."""
    flags = np.zeros(windows, dtype=bool)
    if len(faults) > 1:
        flags[min(each.first for each in faults) : max(each.end for each in faults)] = True
    return flags


def _calibrated(fit: Fit, head: Head, past: Past) -> Calibrator:
    return fit.detector.recalibrated(head, fit.warm_up, past.support.past[past.support.normal])


def block_of(machine: str, model: int, ends: list[float], traces: list[Trace]) -> TraceBlock:
    """Put traces into a block, in the precision in which they are kept."""
    return TraceBlock(
        machine,
        model,
        np.array(ends),
        np.array([trace.strangeness for trace in traces], dtype=np.float32),
        halved(np.array([trace.traits for trace in traces])),
    )
