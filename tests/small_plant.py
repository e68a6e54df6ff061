"""A machine small enough to be learned in a second: two channels at 1 Hz, windows of 16 cells, 120 of them to learn."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from math import isnan

import numpy as np

from appliance.ingest.codecs import build_codec
from appliance.ingest.topics import Route, TopicPattern
from appliance.outcome import Block, HeadRecord, Model, Outcome, TraceBlock
from appliance.pipeline import Pipeline, Rules, Source
from appliance.records import Floats, Message
from appliance.windows import GridSpec

BEGIN = 1_767_571_200.0
GRID = GridSpec(period_secs=1.0, length=16, hop=8, hold_secs=4.0)
WARMUP_WINDOWS = 120
LEARNED = 8 * WARMUP_WINDOWS + 16
"""Cells after which the warm-up's last window has closed."""


def source(name: str = "plant", topic: str = "plant/{machine}", grid: GridSpec = GRID, kind: str = "json") -> Source:
    route = Route(name, TopicPattern(topic))
    return Source(route=route, codec=build_codec({"type": kind}), grid=grid, warmup_windows=WARMUP_WINDOWS)


def readings(cells: Iterable[int], *, offset: float = 0.0, machine: str = "m") -> list[Message]:
    """One message a second: a wave and its noisy companion, ``offset`` above normal."""
    messages = []
    for cell in cells:
        noise = np.random.default_rng([cell, len(machine)]).normal(size=2)
        wave = np.sin(cell / 3.0)
        body = {"time": BEGIN + cell, "a": wave + 0.1 * noise[0] + offset, "b": 50 + 5 * wave + noise[1]}
        messages.append(Message(f"plant/{machine}".encode(), json.dumps(body).encode(), BEGIN + cell + 0.2))
    return messages


def said(verdict: str, *, at: int, machine: str = "m", **keys: object) -> Message:
    """An operator's label, sent ``at`` a cell; from and to are given in cells, as ``start`` and ``end``."""
    body: dict[str, object] = {"verdict": verdict, **keys}
    for cell, key in (("start", "from"), ("end", "to")):
        if cell in body:
            body[key] = BEGIN + float(str(body.pop(cell)))
    return Message(f"appliance/machines/{machine}/label".encode(), json.dumps(body).encode(), BEGIN + at + 0.3)


def as_messages(names: Sequence[str], values: Floats, cells: Iterable[int], **more: float) -> list[Message]:
    """One message a second with what [channel, time] holds there, less what is missing, and with what is given more."""
    messages = []
    for cell in cells:
        row = {name: value for name, value in zip(names, values[:, cell].tolist(), strict=True) if not isnan(value)}
        body = json.dumps({"time": BEGIN + cell, **row, **more}).encode()
        messages.append(Message(b"plant/m", body, BEGIN + cell + 0.2))
    return messages


def lived(learned: tuple[Pipeline, Outcome], messages: Iterable[Message]) -> Outcome:
    """What comes of more messages, without changing the pipeline that has learned."""
    outcome = Outcome()
    copy.deepcopy(learned[0]).process(messages, outcome)
    return outcome


class Plant:
    """A pipeline whose archive lives in memory."""

    def __init__(self, *sources: Source, rules: Rules | None = None) -> None:
        self.blocks: dict[str, dict[float, Block]] = {}
        self.seen: list[TraceBlock] = []
        self.models: dict[str, Model] = {}
        self.heads: dict[tuple[str, int], HeadRecord] = {}
        self.pipeline = Pipeline(sources or (source(),), rules or Rules(), self)

    def traces(self, machine: str, model: int, start: float, end: float) -> list[TraceBlock]:
        ours = [block for block in self.seen if (block.machine, block.model) == (machine, model)]
        return sorted((block for block in ours if start <= block.ends[0] < end), key=lambda block: block.ends[0])

    def model(self, machine: str) -> Model | None:
        return self.models.get(machine)

    def head(self, machine: str, number: int) -> HeadRecord | None:
        return self.heads.get((machine, number))

    def history(self, machine: str, start: float, end: float) -> list[Block]:
        return [block for at, block in sorted(self.blocks.get(machine, {}).items()) if start <= at < end]

    def send(self, messages: Iterable[Message]) -> Outcome:
        """Take messages as one batch and keep the history that comes of them."""
        outcome = Outcome()
        self.pipeline.process(messages, outcome)
        for block in outcome.blocks:
            self.blocks.setdefault(block.machine, {})[block.start] = block
        self.seen += outcome.traces
        self.models |= outcome.models
        self.heads |= {(head.machine, head.number): head for head in outcome.heads}
        return outcome
