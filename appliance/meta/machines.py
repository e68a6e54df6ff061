"""Recordings → machines to train on: normalised once, fitted on their own warm-up, cut into windows on demand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from appliance.detect.evidence import EVIDENCE, EvidenceDetector
from appliance.detect.lens import MOST_PARTS, fitted, held_out
from appliance.detect.normalise import Normaliser
from appliance.detect.planes import Planes, PlaneScale
from appliance.detect.tail import TailRank
from appliance.detect.windows import FeatureScale, Windows, hold
from appliance.evaluation.datasets import Entry, Skipped, find, load
from appliance.evaluation.trials import Span, Trial
from appliance.records import Floats

Indices = NDArray[np.intp]

LEAST_LENGTH = 16
"""Samples in a window: the encoder's shortest."""
MOST_WARM_UP = 800
"""Warm-up windows that detectors are fitted on, evenly thinned: training is about many machines, not their tails."""
_PERMISSIVE = re.compile(r"(data )?(MIT|BSD|Apache|ISC|UIUC/NCSA|CC0|CC BY 4)", re.IGNORECASE)
_HELD_OUT = 5
"""One cluster in five is held out of training, to tell when to stop."""


class Perceived(NamedTuple):
    """All that a head or an encoder may look at of some windows."""

    planes: Planes
    evidence: NDArray[np.float32]
    """[n, detector] ln(1 + evidence) of the window scale."""
    standard: Floats
    """[n, kind of feature x channel] features in their usual spreads."""


@dataclass(frozen=True)
class Machine:
    """One machine's past, with what its warm-up taught."""

    dataset: str
    name: str
    cluster: str
    licence: str
    series: NDArray[np.float32]
    """[channel, T] in normal spreads (`Normaliser`), NaN for missing."""
    length: int
    hop: int
    ends: Indices
    """[n] sample after each window's last, in time order."""
    is_warm_up: NDArray[np.bool_]
    """[n] whether the whole window is declared normal."""
    is_event: NDArray[np.bool_]
    """[n] whether the window's last hop holds a sample of an event."""
    is_calm: NDArray[np.bool_]
    """[n] whether no sample of the window does."""
    events: tuple[Span, ...]
    """For each event its windows [first, last + 1), as places in ``ends``."""
    scale: PlaneScale
    features: FeatureScale
    detectors: dict[str, EvidenceDetector]
    ranks: TailRank

    @classmethod
    def of(cls, trial: Trial, seed: int, most_warm_up: int = MOST_WARM_UP) -> Self:
        """Fit on a trial's warm-up, as the service would; on at most so many windows of it."""
        normaliser = Normaliser(trial.values[: trial.train_end].T, rate=0.0)
        whole = normaliser.apply(trial.values.T[None])
        series = whole.values[0].astype(np.float32)
        if whole.mask is not None:
            series[~whole.mask[0]] = np.nan
        inside = np.concatenate([[0], np.cumsum(trial.labels)])
        untested = int((~trial.is_test).sum())
        tested_from = np.flatnonzero(trial.is_test)
        warm_up = _windows(series, trial.ends[_thinned(trial.ends <= trial.train_end, most_warm_up)], trial.length)
        features = FeatureScale(warm_up)
        features.apply(warm_up)
        names = [name for name, detector in EVIDENCE.items() if trial.length >= detector.least_length]
        return cls(
            dataset=trial.dataset,
            name=trial.machine,
            cluster=trial.cluster,
            licence=trial.licence,
            series=series,
            length=trial.length,
            hop=trial.hop,
            ends=trial.ends,
            is_warm_up=trial.ends <= trial.train_end,
            is_event=(inside[trial.ends] > inside[trial.ends - trial.hop]) & trial.is_test,
            is_calm=inside[trial.ends] == inside[trial.ends - trial.length],
            events=tuple((int(tested_from[a]), int(tested_from[b - 1]) + 1) for a, b in trial.event_hops)
            if untested < len(trial.ends)
            else (),
            scale=PlaneScale(warm_up, seed),
            features=features,
            detectors=fitted(names, warm_up, seed),
            ranks=TailRank(held_out(names, warm_up, MOST_PARTS, seed)),
        )

    @property
    def channels(self) -> int:
        """How many there are."""
        return len(self.series)

    def cut(self, places: Indices) -> Windows:
        """Take the windows at these places in ``ends``."""
        return _windows(self.series, self.ends[places], self.length)

    def calm_for(self, hops: int) -> Indices:
        """Places of windows without an event, after which so many hops follow without a border or an event."""
        if not hops:
            return np.flatnonzero(self.is_calm)
        later = self.is_calm[hops:] & (self.ends[hops:] - self.ends[:-hops] == hops * self.hop)
        return np.flatnonzero(self.is_calm[:-hops] & later)

    def perceive(self, windows: Windows) -> Perceived:
        """Look at windows, cut here or made up, in every way there is."""
        self.features.apply(windows)
        oddity = np.stack([detector.oddity(windows).values for detector in self.detectors.values()], axis=1)
        evidence = np.array([self.ranks.evidence(row) for row in oddity.tolist()]).reshape(oddity.shape)
        return Perceived(self.scale.of(windows), np.log1p(evidence).astype(np.float32), windows.standard)


def permissive(licence: str) -> bool:
    """Whether a prior that is given away may be trained on it.

    Examples
    --------
    >>> permissive("MIT (LICENSE.txt)"), permissive("GPL-3.0 (repo LICENSE covers data)"), permissive("")
    (True, False, False)
    """
    return _PERMISSIVE.match(licence) is not None


def held_out_of_training(cluster: str) -> bool:
    """Whether the machines of a cluster only tell when to stop: drawn by its name, so the same in every run."""
    return crc32(cluster.encode()) % _HELD_OUT == 0


def machines(
    trials: Iterable[Trial], seed: int, skipped: Callable[[Skipped], None] = lambda _: None
) -> Iterator[Machine]:
    """Fit each machine whose windows are long enough for the encoder; the others are told to ``skipped``."""
    for trial in trials:
        if trial.length < LEAST_LENGTH:
            reason = f"its windows are shorter than {LEAST_LENGTH} samples"
            skipped(Skipped(trial.dataset, trial.machine, reason))
        else:
            yield Machine.of(trial, seed)


def permitted(
    folder: Path,
    datasets: Sequence[str] | None,
    most: int,
    seed: int,
    *,
    leave_out: Sequence[str] = (),
    skipped: Callable[[Skipped], None] = lambda _: None,
    track: Callable[[Sequence[object]], Iterable[object]] = lambda entries: entries,
) -> Iterator[Trial]:
    """Read the recordings of a folder that a shipped prior may be trained on.

    Parameters
    ----------
    most
        Of each dataset, at most so many, drawn by the seed: the same ones, as far as they are not left out.
    leave_out
        Beginnings of ``dataset/machine`` that are never read, such as those that test.
    skipped
        Told of every machine that is left out, and why.
    track
        Wraps the list of what is read, to show progress.
    """
    entries = find(folder, datasets)
    rng = np.random.default_rng(seed)
    of_dataset = {dataset: [each for each in entries if each.dataset == dataset] for dataset, _ in sorted(entries)}
    drawn = [those[i] for those in of_dataset.values() for i in rng.permutation(len(those))]
    found = Counter[str]()
    for entry in track(drawn):
        assert isinstance(entry, Entry)
        left_out = any(f"{entry.dataset}/{entry.path.stem}".startswith(prefix) for prefix in leave_out)
        if left_out or found[entry.dataset] == most:
            continue
        trial = load(entry)
        if not isinstance(trial, Skipped) and not permissive(trial.licence):
            trial = Skipped(trial.dataset, trial.machine, f"its licence ({trial.licence or 'none'}) is not permissive")
        if isinstance(trial, Skipped):
            skipped(trial)
        else:
            found[entry.dataset] += 1
            yield trial


def _windows(series: NDArray[np.float32], ends: Indices, length: int) -> Windows:
    cells = np.ascontiguousarray(series[:, ends[:, None] + np.arange(-length, 0)].swapaxes(0, 1), dtype=np.float64)
    return stacked(cells)


def stacked(cells: Floats) -> Windows:
    """Make windows of cells [n, channel, time] in normal spreads, NaN for missing."""
    mask = np.isfinite(cells)
    return Windows(cells) if mask.all() else Windows(hold(cells, mask), mask)


def _thinned(chosen: NDArray[np.bool_], most: int) -> Indices:
    places = np.flatnonzero(chosen)
    return places[:: max(1, -(-len(places) // most))]
