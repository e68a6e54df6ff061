"""How loud each time scale is at each hop, of what the warm-up taught: a trial → here → the choice of weights.

The scales alone, without what the service puts around them: no sensor check, no operating state, nothing learned
later, nothing forgiven.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance.detect.lens import Lens
from appliance.detect.normalise import Normaliser, spread_of_means
from appliance.detect.scales import SCALES, Scale, pool, scales_for
from appliance.detect.windows import Windows
from appliance.evaluation.cache import digest_of, source_digest, trial_digest
from appliance.evaluation.trials import Trial
from appliance.records import Floats

_MOST_WINDOWS = 3000
_LEAST_WINDOWS = 32
_LEAST_COVERAGE, _LEAST_OF_A_STRETCH = 0.5, 0.9
"""These four as the detector has them."""
_CHUNK = 256


def loudness(trial: Trial, cache: Path) -> Floats:
    """[scored hop, scale] mean ln(1 + evidence) at each of `SCALES`, NaN where it sees too little; kept in a folder."""
    key = digest_of(trial_digest(trial), source_digest(__name__))
    path = cache / "loudness" / trial.dataset / f"{trial.machine} {key}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = np.full((len(trial.test_ends), len(SCALES)), np.nan)
        normaliser = Normaliser(trial.values[: trial.train_end].T, rate=0.0)
        for scale in scales_for(trial.length):
            _listen(trial, scale, normaliser, found[:, SCALES.index(scale)])
        np.save(path, found)
    known: Floats = np.load(path)
    return known


def _listen(trial: Trial, scale: Scale, normaliser: Normaliser, loud: Floats) -> None:
    """Fit one scale and write what it says of the scored hops into ``loud``, where it sees enough."""
    taught = trial.ends[trial.ends <= trial.train_end]
    raw = _seen(trial, taught[:: -(-len(taught) // _MOST_WINDOWS)], scale)
    raw = raw[_coverage(raw) >= _LEAST_COVERAGE]
    if len(raw) < _LEAST_WINDOWS:
        return
    narrower = None if scale.stride == 1 else spread_of_means(raw, normaliser)

    def at_scale(cells: Floats) -> Windows:
        windows = normaliser.apply(cells, narrower)
        return windows if scale.share == 1.0 else windows.last(scale.cells(trial.length))

    lens, _ = Lens.fit(scale, at_scale(raw), trial.train_end / (trial.length * scale.stride), seed=0)
    weights = np.array([detector.weight for detector in lens.detectors.values()])
    for first in range(0, len(loud), _CHUNK):
        cells = _seen(trial, trial.test_ends[first : first + _CHUNK], scale)
        enough = np.flatnonzero(_coverage(cells) >= _LEAST_COVERAGE)
        if len(enough):
            windows = at_scale(cells[enough])
            lens.features.apply(windows)
            oddity = np.stack([detector.oddity(windows).values for detector in lens.detectors.values()], axis=1)
            evidence = np.array([lens.ranks.evidence(row) for row in oddity.tolist()])
            loud[first + enough] = np.log1p(evidence) @ weights / weights.sum()


def _seen(trial: Trial, ends: NDArray[np.intp], scale: Scale) -> Floats:
    """Cells [n, channel, length] of a scale up to each end, in raw units; NaN for what lies before the session."""
    if scale.stride == 1:
        return trial.cut(ends)
    starts = np.array([start for start, _ in trial.sessions])
    begins = starts[np.searchsorted(starts, ends, side="left") - 1]
    chunks = []
    for first in range(0, len(ends), _CHUNK):
        these = slice(first, first + _CHUNK)
        rows = ends[these, None] + np.arange(-trial.length * scale.stride, 0)
        cells = np.where((rows >= begins[these, None])[:, :, None], trial.values[np.maximum(rows, 0)], np.nan)
        means = np.asarray(pool(np.ascontiguousarray(cells.transpose(0, 2, 1)), scale.stride), dtype=np.float64)
        means[np.isfinite(means).mean(axis=-1) < _LEAST_OF_A_STRETCH] = np.nan
        chunks.append(means)
    return np.concatenate(chunks)


def _coverage(cells: Floats) -> Floats:
    return np.asarray(np.isfinite(cells).mean(axis=(1, 2)))
