"""Rows of the score log → scores, for whoever carries them out and whoever looks them up."""

from __future__ import annotations

from math import isnan
from typing import Any

import msgspec
import numpy as np

from appliance.records import Score, Signal
from appliance.store.packing import ScoreBody

COLUMNS = (
    "SELECT s.id, s.machine, s.source, s.start, s.end, s.score, s.threshold, s.alarm, s.trust, "
    "s.blank, s.extrapolated, s.coverage, s.model, s.head, c.names, s.body FROM scores s "
    "JOIN channel_sets c ON c.id = s.channels "
)
"""Of a score: what `score_of` builds it from."""


def score_of(row: tuple[Any, ...]) -> Score:
    """Build a score from a row of `COLUMNS`."""
    names: list[str] = msgspec.json.decode(row[14])
    body = msgspec.msgpack.decode(row[15], type=ScoreBody)
    contributions = np.frombuffer(body.contributions, dtype=np.float32).tolist()
    triples = np.frombuffer(body.signals, dtype=np.float32).reshape(-1, 3).tolist()
    return Score(
        machine=row[1],
        source=row[2],
        start=row[3],
        end=row[4],
        score=row[5],
        threshold=row[6],
        alarm=bool(row[7]),
        trust=row[8],
        blank=row[9],
        extrapolated=bool(row[10]),
        coverage=row[11],
        model=row[12],
        evidence=body.evidence,
        contributions={name: share for name, share in zip(names, contributions, strict=True) if not isnan(share)},
        signals={name: Signal(*triple) for name, triple in zip(names, triples, strict=True) if not isnan(triple[0])},
        sensor_faults=body.sensor_faults,
        head=row[13],
    )
