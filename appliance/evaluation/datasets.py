"""A folder of recordings → trials, each by the rules of the protocol: what is declared normal, what is left out, why.

Any folder works: recordings as `appliance.recordings` reads them, in the folder itself or in one subfolder per dataset.
A recording without events of its own finds them in ``events.csv`` beside it (columns machine, start, end; times as in
the recording).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.detect.normalise import Normaliser
from appliance.errors import RecordingError
from appliance.evaluation.trials import Span, Trial
from appliance.recordings import READERS, Recording, parse_time, read_recording

EVENTS_FILE = "events.csv"
EVENT_COLUMNS = ("machine", "start", "end")
MOST_TRAINING = 0.3
"""Where nothing is declared normal, at most this leading share of a recording is taken to be."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How the machines of one dataset are cut and which of them are alike."""

    length: int = 32
    hop: int = 4
    least_training: int = 500
    """Samples; a machine with fewer declared normal is left out."""
    cluster: str = "machine"
    """Key of the recording's ``meta`` that names a group of like machines; machines without it stand alone."""
    prepare: Callable[[Recording], Recording] = lambda recording: recording


class Skipped(NamedTuple):
    """A machine that is left out, and why."""

    dataset: str
    machine: str
    reason: str


class Entry(NamedTuple):
    """A recording of a dataset, not read yet."""

    dataset: str
    path: Path


class _Event(NamedTuple):
    """Samples [start, end), and the columns of the channels that are behind it, where they are known."""

    start: int
    end: int
    culprits: tuple[int, ...]


def parts_inspected(recording: Recording) -> Recording:
    """One row per machined part: order the parts the inspector passed in the first half before the second half.

    Bad parts begin with the very first ones, so no leading stretch is free of them; but parts are inspected, and the
    good ones of the first half are what an operator would have to learn from. Each operation (``op``) is another
    tool path with its own level, so levels and spreads are taken per operation, from those good parts.
    """
    op, labels = recording.columns["op"], recording.labels
    assert labels is not None
    half = len(labels) // 2
    good = np.flatnonzero(labels[:half] == 0)
    values = np.empty_like(recording.values)
    for operation in np.unique(op):
        rows = op == operation
        reference = recording.values[good][rows[good]]
        scale = Normaliser(reference.T if len(reference) else recording.values[good].T, rate=0.0)
        values[rows] = (recording.values[rows] - scale.centre) / scale.scale
    order = np.concatenate([good, np.arange(half, len(labels))])
    return replace(
        _reordered(replace(recording, values=values), order, len(good)),
        times=recording.times[0] + np.arange(len(order), dtype=np.float64),
        columns={},
    )


def days_learned(recording: Recording) -> Recording:
    """Whole days, each a session of its own: learn the first half of the good ones, score all others in order.

    The faulty days were recorded first, so no leading stretch is free of them. A building with a single good day
    stays as it is.
    """
    days, labels = recording.columns["day_id"], recording.labels
    assert labels is not None
    good = [day for day in np.unique(days) if not labels[days == day].any()]
    learned = np.isin(days, good[: len(good) // 2])
    order = np.argsort(~learned, kind="stable")
    borders = [0, *(np.flatnonzero(np.diff(days[order])) + 1).tolist(), len(order)]
    faulty = [(start, end) for start, end in pairwise(borders) if days[order[start]] not in good]
    ordered = _reordered(recording, order, int(learned.sum()))
    return replace(ordered, meta={**recording.meta, "events": faulty})


def _reordered(recording: Recording, order: NDArray[np.intp], train_end: int) -> Recording:
    """Take samples in another order, the first of them as declared normal."""
    assert recording.labels is not None
    labels = recording.labels[order]
    return replace(
        recording,
        values=recording.values[order],
        times=recording.times[order],
        labels=labels,
        train_end=train_end,
        meta={**recording.meta, "events": spans_of(labels.astype(bool))},
        columns={name: column[order] for name, column in recording.columns.items()},
    )


RULES: dict[str, Rules] = {
    "smd": Rules(),
    "jumpstarter_d2": Rules(cluster="replica_cluster"),
    "tep": Rules(cluster="dataset"),
    "skab": Rules(cluster="dataset"),
    "nasa_smap": Rules(cluster="subsystem"),
    "nasa_msl": Rules(cluster="subsystem"),
    "lbnl_ahu": Rules(prepare=days_learned),
    "cnc_features": Rules(length=1, hop=1, least_training=100, prepare=parts_inspected),
}
"""What differs from the usual. The files of tep are faults of one plant, the groups of skab share one rig: replicas."""


def find(folder: Path, datasets: Sequence[str] | None = None) -> list[Entry]:
    """List the recordings below a folder.

    Raises
    ------
    RecordingError
        The folder holds none, or a dataset that was asked for is not there.
    """
    if not folder.is_dir():
        raise RecordingError(f"{folder}: is no folder: name one with recordings ({', '.join(READERS)})")
    found = [Entry(folder.name, path) for path in _recordings(folder)]
    found += [Entry(sub.name, path) for sub in sorted(folder.iterdir()) if sub.is_dir() for path in _recordings(sub)]
    names = sorted({entry.dataset for entry in found})
    if unknown := [name for name in datasets or () if name not in names]:
        raise RecordingError(f"{folder}: has no dataset {', '.join(unknown)}: it has {', '.join(names) or 'none'}")
    if not found:
        raise RecordingError(f"{folder}: holds no recordings: put {', '.join(READERS)} files there")
    return [entry for entry in found if not datasets or entry.dataset in datasets]


def _recordings(folder: Path) -> Iterator[Path]:
    return (
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in READERS and path.name != EVENTS_FILE and path.is_file()
    )


def load(entry: Entry) -> Trial | Skipped:
    """Read a recording and apply the protocol to it; a recording that cannot serve says why."""
    rules = RULES.get(entry.dataset, Rules())
    try:
        recording = rules.prepare(_with_events(read_recording(entry.path), entry.path.parent / EVENTS_FILE))
    except RecordingError as error:
        return Skipped(entry.dataset, entry.path.stem, str(error).removeprefix(f"{entry.path}: "))
    return trial_of(entry.dataset, recording, rules)


def trial_of(dataset: str, recording: Recording, rules: Rules) -> Trial | Skipped:
    """Apply the protocol to a recording."""
    samples = len(recording.times)
    events = _events(recording)
    labels = np.zeros(samples, dtype=bool)
    for event in events:
        labels[event.start : event.end] = True
    train_end = recording.train_end
    if not train_end:
        first = min((event.start for event in events), default=samples)
        train_end = min(first, int(MOST_TRAINING * samples))
    if train_end < rules.least_training:
        reason = f"{train_end} samples before its first event, {rules.least_training} are needed to learn from"
        return Skipped(dataset, recording.machine, reason)
    after = sorted(event._replace(start=max(event.start, train_end)) for event in events if event.end > train_end)
    trial = Trial(
        dataset=dataset,
        machine=recording.machine,
        cluster=_cluster(dataset, recording, rules),
        channels=recording.channels,
        values=recording.values,
        sessions=_sessions(recording, rules.length * recording.period_secs),
        train_end=train_end,
        labels=labels,
        events=tuple((event.start, event.end) for event in after),
        period_secs=recording.period_secs or 1.0,
        length=rules.length,
        hop=rules.hop,
        culprits=tuple(event.culprits for event in after),
        licence=str(recording.meta.get("licence", "")),
    )
    if not len(trial.test_ends):
        return Skipped(dataset, recording.machine, "nothing is left to score after the normal part")
    if trial.test_labels.all():
        return Skipped(dataset, recording.machine, "after the normal part all is event: nothing to tell apart")
    return trial


def _events(recording: Recording) -> list[_Event]:
    """Return what happened to the machine: from the simulator's truth, the file's own list, or its labels.

    What the truth says of sensors is no event: nothing happened to the machine.
    """
    if (truth := recording.meta.get("truth")) is not None:
        return [
            _Event(
                start=fault["start"],
                end=fault["end"],
                culprits=tuple(i for i, name in enumerate(recording.channels) if name in fault["channels"]),
            )
            for fault in truth
            if fault["kind_of_fault"] == "machine"
        ]
    named = {entry["start"]: entry["channels_1based"] for entry in recording.meta.get("interpretation", [])}
    spans = [(int(start), int(end)) for start, end in recording.meta.get("events", [])]
    if not spans and recording.labels is not None:
        spans = spans_of(recording.labels.astype(bool))
    return [_Event(start, end, tuple(number - 1 for number in named.get(start, ()))) for start, end in spans]


def spans_of(inside: NDArray[np.bool_]) -> list[Span]:
    """Return the runs of true values as [start, end) spans.

    Examples
    --------
    >>> spans_of(np.array([False, True, True, False, True]))
    [(1, 3), (4, 5)]
    """
    edges = np.diff(np.concatenate([[0], inside.astype(np.int8), [0]]))
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))


def _cluster(dataset: str, recording: Recording, rules: Rules) -> str:
    if rules.cluster == "dataset":
        return dataset
    return f"{dataset}/{recording.meta.get(rules.cluster, recording.machine)}"


def _sessions(recording: Recording, most_secs: float) -> tuple[Span, ...]:
    """Split where the file says that another recording begins, or where time jumps over a window or goes back."""
    steps = np.diff(recording.times)
    borders = (steps < 0) | (steps > max(most_secs, math.ulp(1.0)))
    for name in ("instance_id", "day_id", "session"):
        if name in recording.columns:
            borders = np.diff(recording.columns[name]) != 0  # the file knows better than its clock
    starts = [0, *(np.flatnonzero(borders) + 1).tolist(), len(recording.times)]
    return tuple((start, end) for start, end in pairwise(starts) if end > start)


def _with_events(recording: Recording, path: Path) -> Recording:
    """Add the events that a list beside the recordings knows of this machine."""
    if not path.exists() or recording.labels is not None or "events" in recording.meta:
        return recording
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            missing = [name for name in EVENT_COLUMNS if name not in (rows.fieldnames or ())]
            listed = list(enumerate(rows, start=2))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(f"{path}: cannot be read ({error}): give columns {', '.join(EVENT_COLUMNS)}") from error
    if missing:
        raise RecordingError(f"{path}: row 1: has no column {', '.join(missing)}: add it to the header")
    spans = []
    for number, row in listed:
        if row["machine"] != recording.machine:
            continue
        try:
            start, end = parse_time(row["start"]), parse_time(row["end"])
        except ValueError as error:
            raise RecordingError(f"{path}: row {number}: has no readable start and end: write ISO 8601") from error
        if end <= start:
            raise RecordingError(f"{path}: row {number}: its end is not after its start: exchange them")
        first, last = np.searchsorted(recording.times, [start, end]).tolist()
        if last > first:
            spans.append([first, last])
    return replace(recording, meta={**recording.meta, "events": sorted(spans)})
