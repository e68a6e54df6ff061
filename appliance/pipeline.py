"""READ FIRST. Messages in; scores, alerts and history out. Single-threaded, deterministic, no I/O of its own.

::

    Message ─ router ─ codec ─┬─ Sample ─ grid ─ Window ─ screening ─ detector ─ Score ─ incidents ─ Alert
                              └─ quarantine (with its reason)
    Message ─ router ─ label ── Machine: what is learned from, judged and masked from here on

What comes out is a function of the order of the messages alone: reading the journal again gives the same scores. The
service feeds the journal in and stores what comes out; nothing here knows of threads, clocks, files or sockets.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from appliance.adapt.adapters import ADAPTERS, DEFAULT
from appliance.adapt.adapters.base import Adapter
from appliance.adapt.prior import Prior
from appliance.archive import Archive, Unstored
from appliance.dedupe import RecentMessages
from appliance.detect.detector import DetectorOptions
from appliance.errors import DecodeError
from appliance.incidents import AlertRules
from appliance.ingest.codecs import Codec
from appliance.ingest.commands import COMMAND, command_route
from appliance.ingest.labels import LABEL, label_route
from appliance.ingest.reasons import likely, refuse
from appliance.ingest.topics import Route, Router
from appliance.operators import note_learned, take_command, take_label
from appliance.outcome import Model, Outcome, Quarantined
from appliance.records import Command, Decoded, Message, Sample, TopicMatch
from appliance.refit import RefitRules
from appliance.screening import StateSource
from appliance.taught import TaughtMachine
from appliance.windows import GridSpec


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of message: where it comes from, how it is read, how it becomes windows, how long its machines learn."""

    route: Route
    codec: Codec
    grid: GridSpec
    warmup_windows: int
    state: StateSource = field(default_factory=StateSource)


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for every machine."""

    detector: DetectorOptions = field(default_factory=DetectorOptions)
    alerts: AlertRules = field(default_factory=AlertRules)
    refits: RefitRules = field(default_factory=RefitRules)
    prior: Prior = field(default_factory=Prior)
    """How far labels are trusted."""
    adapter: Adapter = field(default_factory=ADAPTERS[DEFAULT])
    """What makes heads of them."""
    false_alarms_per_week: float = 1.0
    min_coverage: float = 0.5
    """A window with a smaller share of filled cells has no score: "no data"."""
    future_secs: float = 300.0
    """A reading dated further ahead of its arrival is refused: one wrong clock must not close everybody's windows."""
    max_machines: int = 1000
    remembered_messages: int = 8192
    """How many messages back a repeat is recognised; at least twice what the broker may have in flight."""
    prefix: str = "appliance"
    """Of our own topics: labels and commands come in under it."""


MOST_ANSWERS = 100
"""Answers to operators in one outcome: a flood is not answered one by one."""


class Pipeline:
    """The whole live flow of all machines.

    Parameters
    ----------
    sources
        In the order of the configuration: the first pattern that matches a topic takes it.
    rules
        What holds for every machine.
    archive
        Reads back what is stored of a machine, when it is fitted or learns from a label.
    """

    def __init__(self, sources: Sequence[Source], rules: Rules, archive: Archive) -> None:
        operators = [label_route(rules.prefix), command_route(rules.prefix)]
        self._router = Router([*operators, *(source.route for source in sources)])
        self._sources = {source.route.name: source for source in sources}
        self._rules = rules
        self._archive = archive
        self._recent = RecentMessages(rules.remembered_messages)
        self._changed: set[str] = set()
        self.machines: dict[str, TaughtMachine] = {}

    def process(self, messages: Iterable[Message], outcome: Outcome) -> None:
        """Take messages in journal order; add to the outcome what is to be stored."""
        for message in messages:
            self._take(message, outcome)

    def _take(self, message: Message, outcome: Outcome) -> None:
        outcome.counts["", "messages_received"] += 1
        repeated = self._recent.seen(message)
        try:
            match = self._router.match(message.topic)
            if match.source in {LABEL, COMMAND}:
                self._hear(message, match, repeated, outcome)
                return
            decoded = self._sources[match.source].codec.decode(match, message.payload, message.received_at)
        except DecodeError as error:
            outcome.counts["", "messages_quarantined"] += 1
            self._quarantine(message, error.reason, error.detail, 1, "", outcome)
            return
        if repeated and decoded.timed:
            self._count_duplicates(decoded, outcome)
            return
        source = self._sources[match.source]
        for refusal in decoded.refused:
            self._quarantine(message, refusal.reason, refusal.detail, refusal.readings, match.machine, outcome)
        for notice in decoded.notices:
            outcome.counts[notice.machine, notice.kind] += 1
            if notice.machine in self.machines:
                self.machines[notice.machine].grid.mark_incomplete(notice.time, notice.kind)
                self._changed.add(notice.machine)
        for sample in decoded.samples:
            if sample.values:
                self._place(message, source, sample, outcome)
        outcome.commands += decoded.commands

    def _hear(self, message: Message, match: TopicMatch, repeated: bool, outcome: Outcome) -> None:
        """Take in what an operator sends, and answer: they wait for it."""
        name, stored = match.machine, Unstored(self._archive, outcome)
        try:
            machine = self.machines.get(name)
            if machine is None:
                raise refuse("unknown_machine", f"no machine is called {name}{likely(name, self.machines)}")
            if match.source == LABEL:
                answer = take_label(machine, message, stored, outcome)
            else:
                answer = take_command(machine, message, stored, outcome, repeated=repeated)
            outcome.statuses[name] = machine.status(message.received_at)
            self._changed.add(name)
        except DecodeError as error:
            outcome.counts["", "messages_quarantined"] += 1
            self._quarantine(message, error.reason, error.detail, 1, "", outcome)
            answer = {"id": _id_of(message), "stored": False, "error": error.detail}
        if len(outcome.commands) < MOST_ANSWERS:
            outcome.commands.append(Command(f"{match.topic}/answer", orjson.dumps({"machine": name, **answer})))

    def _place(self, message: Message, source: Source, sample: Sample, outcome: Outcome) -> None:
        counts, name, readings = outcome.counts, sample.machine, len(sample.values)
        if sample.time > message.received_at + self._rules.future_secs:  # before a machine is made of it
            detail = f"dated {sample.time - message.received_at:.0f} s after its arrival; check the sender's clock"
            self._quarantine(message, "in_the_future", detail, readings, name, outcome)
            return
        machine = self.machines.get(name) or self._meet(source, name)
        if machine is None:
            detail = f"{name} would be machine {len(self.machines) + 1}; raise detection.max_machines to admit it"
            self._quarantine(message, "too_many_machines", detail, readings, "", outcome)
            return
        if machine.source != source.route.name:
            detail = f"{name} belongs to source {machine.source}, this topic to {source.route.name}"
            self._quarantine(message, "machine_of_other_source", detail, readings, name, outcome)
            return
        self._changed.add(name)
        is_new = machine.grid.newest_time is None
        placement = machine.grid.place(sample)
        counts[name, "readings_received"] += readings - placement.refused
        if placement.placed:
            counts[name, "readings_placed"] += placement.placed
        if placement.late:
            counts[name, "readings_late"] += placement.late
        if placement.refused:
            detail = f"{name} already has {source.grid.max_channels} channels; raise max_channels or name fewer"
            self._quarantine(message, "too_many_channels", detail, placement.refused, name, outcome)

        stored = Unstored(self._archive, outcome)
        for closed in placement.closed:
            verdict = machine.take(closed, stored.history)
            outcome.scores.append(verdict.score)
            outcome.blocks += verdict.blocks
            outcome.traces += verdict.traces
            if verdict.alert is not None:
                outcome.alerts.append(verdict.alert)
            outcome.alerts += verdict.sensor_alerts
            if verdict.model is not None:
                outcome.models[name] = verdict.model
            note_learned(verdict.adapted, outcome)
        if placement.closed or is_new:
            outcome.statuses[name] = machine.status(message.received_at)

    def _meet(self, source: Source, name: str) -> TaughtMachine | None:
        if len(self.machines) >= self._rules.max_machines:
            return None
        self.machines[name] = TaughtMachine(
            name=name,
            source=source.route.name,
            grid=source.grid,
            warmup_windows=source.warmup_windows,
            min_coverage=self._rules.min_coverage,
            false_alarms_per_week=self._rules.false_alarms_per_week,
            alerts=self._rules.alerts,
            detector=self._rules.detector,
            seed=zlib.crc32(name.encode()),
            state=source.state,
            refits=self._rules.refits,
            prior=self._rules.prior,
            adapter=self._rules.adapter,
        )
        return self.machines[name]

    def _quarantine(
        self, message: Message, reason: str, detail: str, readings: int, machine: str, outcome: Outcome
    ) -> None:
        outcome.quarantined.append(Quarantined(message, reason, detail, readings))
        outcome.counts[machine, "readings_received"] += readings
        outcome.counts[machine, "readings_quarantined"] += readings
        outcome.counts["", f"quarantined_{reason}"] += readings

    def _count_duplicates(self, decoded: Decoded, outcome: Outcome) -> None:
        for sample in decoded.samples:
            outcome.counts[sample.machine, "readings_received"] += len(sample.values)
            outcome.counts[sample.machine, "readings_duplicate"] += len(sample.values)

    def remember(self, messages: Iterable[Message]) -> None:
        """Recognise these if they come again: the journal's tail, after a restart."""
        for message in messages:
            self._recent.seen(message)

    def checkpoint(self) -> dict[str, dict[str, Any]]:
        """State of every machine and codec that changed since the last checkpoint, by name."""
        states = {f"machine/{name}": self.machines[name].snapshot() for name in sorted(self._changed)}
        for name, source in self._sources.items():
            codec = source.codec.snapshot()
            if codec is not None:
                states[f"codec/{name}"] = codec
        self._changed.clear()
        return states

    def restore(self, states: dict[str, dict[str, Any]], models: dict[str, Model]) -> dict[str, str]:
        """Go on from stored state; return the machines whose state cannot be used, each with the reason."""
        dropped = {}
        for key, state in states.items():
            kind, _, name = key.partition("/")
            source = self._sources.get(state["source"] if kind == "machine" else name)
            if kind == "codec":
                if source is not None:
                    source.codec.restore(state)
                continue
            if source is None:
                dropped[name] = f"no source is called {state['source']} any more; it is forgotten"
                continue
            machine = self._meet(source, name)
            if machine is None:
                dropped[name] = "there are more machines than detection.max_machines; it is forgotten"
                continue
            try:
                number = state["adaptation"]["in_service"] if "adaptation" in state else 0
                head = self._archive.head(name, number) if number else None
                kept = machine.restore(state, models.get(name), head)
            except (KeyError, TypeError, ValueError) as error:  # written by another version
                kept, dropped[name] = False, f"its stored state cannot be read ({error!r}); it learns anew"
            if not kept:
                del self.machines[name]
                dropped.setdefault(name, f"the grid of source {state['source']} was changed; it learns anew")
        return dropped


def _id_of(message: Message) -> str | None:
    """Return the id of what could not be used, so that its sender knows the answer."""
    try:
        raw = orjson.loads(message.payload)
    except orjson.JSONDecodeError:
        return None
    found = raw.get("id") if isinstance(raw, dict) else None
    return found if isinstance(found, str) else None
