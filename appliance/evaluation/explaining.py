"""What the appliance said about single events: whether it blamed the right channels, and stretches worth a look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, get_args

import msgspec
import numpy as np

from appliance.evaluation.examples import Example
from appliance.evaluation.measuring import grace_hops
from appliance.evaluation.metrics import right_hops
from appliance.evaluation.trials import Span, Trial
from appliance.evaluation.watch import Run
from appliance.records import Floats

MOST_POINTS = 600
LEAST_MARGIN_HOPS = 100
CHANNELS_SHOWN = 3
DECIMALS = 4
"""Significant ones in a drawn curve."""

Kind = Literal["caught", "missed", "false alert"]


class Blamed(msgspec.Struct, frozen=True):
    """How well the channels blamed for one event agree with its known culprits."""

    hit_rate: float
    """Share of the culprits among as many most-blamed channels: HitRate@100% of Su et al. 2019 (OmniAnomaly), §4.4."""
    first_is_culprit: bool
    chance: float
    """What channels in random order would reach on average in either figure."""


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of one machine, as `Example` shows it; lists, so that it can be kept as JSON."""

    dataset: str
    machine: str
    kind: Kind
    typical_by: float
    """Of several scenes of a kind the one with the median of this is the typical one."""
    title: str
    hours: list[float]
    score: list[float | None]
    threshold: list[float | None]
    signals: dict[str, list[float | None]]
    events: list[tuple[float, float]]
    alerts: list[tuple[float, float]]

    def example(self) -> Example:
        """Return what the report draws."""
        return Example(
            dataset=self.dataset,
            machine=self.machine,
            title=self.title,
            times=np.array(self.hours),
            score=np.array(self.score, dtype=np.float64),
            threshold=np.array(self.threshold, dtype=np.float64),
            signals={name: np.array(values, dtype=np.float64) for name, values in self.signals.items()},
            events=self.events,
            alerts=self.alerts,
        )


def blamed(trial: Trial, run: Run) -> list[Blamed]:
    """Judge the blame for every event with known culprits, at the event's strangest hop."""
    found = []
    for event, culprits in zip(trial.events, trial.culprits, strict=False):
        span = trial.hops_of(event)
        if culprits and span is not None and not np.isnan(run.scores[slice(*span)]).all():
            ranked = _ranked(run.blame[_strangest(run, span)])
            hits = len(set(ranked[: len(culprits)]) & set(culprits))
            found.append(
                Blamed(
                    hit_rate=hits / len(culprits),
                    first_is_culprit=bool(ranked) and ranked[0] in culprits,
                    chance=len(culprits) / len(trial.channels),
                )
            )
    return found


def scenes(trial: Trial, run: Run) -> list[Scene]:
    """Return the machine's typical caught event, missed event and false alert, as far as there are any."""
    hops, grace = len(run.scores), grace_hops(trial)
    right = right_hops(trial.event_hops, hops, grace)
    opened = sorted(hop for hop, _ in run.alerts)
    found: dict[Kind, list[tuple[float, Span]]] = {kind: [] for kind in get_args(Kind)}
    for first, end in trial.event_hops:
        alert = next((hop for hop in opened if first <= hop < end + grace), None)
        if alert is not None:
            found["caught"].append((float(alert - first), (first, end)))
        elif not np.isnan(run.scores[first:end]).all():
            found["missed"].append((float(np.nanmax(run.scores[first:end])), (first, end)))
    for hop, closed in run.alerts:
        if not right[hop]:
            span = hop, max(hop + 1, hops if closed is None else closed)
            found["false alert"].append((float(np.nanmax(run.scores[slice(*span)])), span))
    return [
        _scene(trial, run, kind, *sorted(candidates)[len(candidates) // 2])
        for kind, candidates in found.items()
        if candidates
    ]


def typical(candidates: Iterable[Scene]) -> list[Scene]:
    """Choose for each dataset one scene of each kind: the median one."""
    gathered: dict[tuple[str, int], list[Scene]] = {}
    for scene in candidates:
        gathered.setdefault((scene.dataset, get_args(Kind).index(scene.kind)), []).append(scene)
    return [
        sorted(gathered[key], key=lambda scene: (scene.typical_by, scene.machine))[len(gathered[key]) // 2]
        for key in sorted(gathered)
    ]


def _scene(trial: Trial, run: Run, kind: Kind, typical_by: float, span: Span) -> Scene:
    first, end = span
    margin = max(LEAST_MARGIN_HOPS, 2 * (end - first))
    begin, finish = max(0, first - margin), min(len(run.scores), end + margin)
    shown = _thinned(run.scores, begin, finish)
    ends = trial.test_ends[shown]
    low, high = int(ends[0]), int(ends[-1])
    strangest = _strangest(run, span)
    culprits = dict(zip(map(trial.hops_of, trial.events), trial.culprits, strict=False)).get(span, ())
    channels = list(dict.fromkeys([*_ranked(run.blame[strangest]), *culprits, *range(len(trial.channels))]))
    last = len(run.scores) - 1
    alerts = [
        (int(trial.test_ends[hop]), int(trial.test_ends[last if closed is None else closed]))
        for hop, closed in run.alerts
    ]
    hours = trial.period_secs / 3600
    return Scene(
        dataset=trial.dataset,
        machine=trial.machine,
        kind=kind,
        typical_by=typical_by,
        title=_title(trial, run, kind, typical_by, first),
        hours=(ends * hours).tolist(),
        score=_listed(run.scores[shown]),
        threshold=_listed(run.thresholds[shown]),
        signals={
            trial.channels[channel]: _listed(trial.values[ends - 1, channel]) for channel in channels[:CHANNELS_SHOWN]
        },
        events=list(_clipped(trial.events, low, high, hours)),
        alerts=list(_clipped(alerts, low, high, hours)),
    )


def _title(trial: Trial, run: Run, kind: Kind, typical_by: float, first: int) -> str:
    if kind == "caught":
        return f"an event caught after {typical_by * trial.hop_secs / 60:.0f} min"
    if kind == "false alert":
        return f"a false alert, highest score {typical_by:.1f}"
    stood = any(opened < first and (closed is None or first <= closed) for opened, closed in run.alerts)
    return f"an event {'during an earlier alert' if stood else 'missed'}, highest score {typical_by:.1f}"


def _clipped(spans: Sequence[Span], low: int, high: int, hours: float) -> Iterator[tuple[float, float]]:
    """Spans in samples → in hours, as far as they lie within [low, high]."""
    for start, end in spans:
        if start <= high and end >= low:
            yield max(start, low) * hours, min(end, high) * hours


def _thinned(scores: Floats, begin: int, finish: int) -> list[int]:
    """Hops in [begin, finish), of every few the strangest, so that no peak is lost."""
    step = -(-(finish - begin) // MOST_POINTS)
    heights = np.nan_to_num(scores, nan=-1.0)
    return [at + int(heights[at : min(at + step, finish)].argmax()) for at in range(begin, finish, step)]


def _strangest(run: Run, span: Span) -> int:
    first, end = span
    return first + int(np.nan_to_num(run.scores[first:end], nan=-1.0).argmax())


def _ranked(blame: Floats) -> list[int]:
    """Channels that are blamed at all, the most blamed first."""
    return [channel for channel in np.argsort(-blame, kind="stable").tolist() if blame[channel] > 0]


def _listed(values: Floats) -> list[float | None]:
    return [float(f"{value:.{DECIMALS}g}") if np.isfinite(value) else None for value in values.tolist()]
