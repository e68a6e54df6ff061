"""One machine's detector: a raw window in, a verdict out; the only class of this package that the pipeline uses.

::

    raw window → normalise → features → evidence detectors → ranks → mean → precedents → calibrate → verdict
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from appliance.detect.calibrate import Calibrator, Threshold
from appliance.detect.evidence import EVIDENCE, EvidenceDetector
from appliance.detect.normalise import Normaliser
from appliance.detect.precedents import Precedents
from appliance.detect.state import State
from appliance.detect.tail import TailRank
from appliance.detect.windows import FeatureScale, Windows, cut
from appliance.records import Floats, Verdict

Indices = NDArray[np.intp]

FORMAT = 2
"""Of the saved state: raised whenever an older state would no longer be understood, or would score differently."""
_FOLDS = 4
"""The warm-up is judged in quarters, each by what was fitted on the other three."""
_PARTS = 40
"""Each quarter is spread over the warm-up in ten parts, so that it holds every shift."""
_MIN_WINDOWS = 8 * _FOLDS
_LEAST_COVERAGE = 0.5
"""A warm-up window with fewer of its cells read teaches nothing."""
_USUAL_LOUDNESS = math.log(2.0)
"""ln(1 + evidence) of an average normal window: a detector this quiet blames nobody."""
_SURE, _DOUBTFUL = 1.0, 3.0
"""Scores up to which a window is learned from in full, and from which not at all."""


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """How a detector is built; the defaults suit any machine."""

    evidence: tuple[str, ...] = tuple(EVIDENCE)
    max_windows: int = 3000
    """Warm-up windows looked at; a longer warm-up is thinned out evenly, a shorter one cut twice as densely."""
    confirm: int = 2
    of: int = 3
    """An alarm needs ``confirm`` of ``of`` consecutive windows above the threshold: what is budgeted are alarms."""
    memory: float = 2.0
    """Time constant of relearning normal, in warm-up lengths: a fault that grows slower is learned as normal."""


class Detector:
    """Judges one machine's windows and follows its normal.

    Made by `fit` or `restore`. `score` changes nothing; `learn` is to be called after it, for normal windows only.
    """

    def __init__(
        self,
        normaliser: Normaliser,
        features: FeatureScale,
        detectors: dict[str, EvidenceDetector],
        ranks: TailRank,
        precedents: Precedents,
        calibrator: Calibrator,
    ) -> None:
        self._normaliser = normaliser
        self._features = features
        self._detectors = detectors
        self._ranks = ranks
        self._precedents = precedents
        self._calibrator = calibrator
        weights = [detector.weight for detector in detectors.values()]
        self._weights = [weight / sum(weights) for weight in weights]

    @classmethod
    def fit(cls, series: Floats, *, length: int, hop: int, seed: int, options: DetectorOptions) -> Self:
        """Fit on a machine's warm-up.

        Parameters
        ----------
        series
            [channel, time] on the machine's grid in raw units, NaN for missing; a few per cent of it may be strange.
        length, hop
            Cells per window, and from window to window.
        seed
            Of everything that is drawn at random.

        Raises
        ------
        ValueError
            Fewer than `_MIN_WINDOWS` windows are at least half covered, there is no channel, or a window has one cell.
        """
        if not len(series) or length < 2:
            raise ValueError(f"cannot fit {len(series)} channels in windows of {length} cells: needs a channel and two")
        total = (series.shape[1] - length) // hop + 1
        per_hop = 2 if hop % 2 == 0 and 2 * total <= options.max_windows else 1
        raw = cut(series, length, hop // per_hop * max(1, -(-total // options.max_windows)))
        raw = raw[np.isfinite(raw).mean(axis=(1, 2)) >= _LEAST_COVERAGE] if len(raw) else raw
        if len(raw) < _MIN_WINDOWS:
            msg = (
                f"warm-up of {series.shape[1]} cells has {len(raw)} usable windows of {length} cells, "
                f"needs {_MIN_WINDOWS}: let it run longer"
            )
            raise ValueError(msg)
        memory = options.memory * max(total, _MIN_WINDOWS)
        normaliser = Normaliser(series, rate=1.0 / memory)
        windows = normaliser.apply(raw)
        features = FeatureScale(windows)
        features.apply(windows)
        part = np.arange(len(windows)) * _PARTS // len(windows) % _FOLDS
        held_out = _held_out(options.evidence, windows, part, seed)
        ranks = TailRank(held_out)
        detectors = _fitted(options.evidence, windows, seed)
        weights = np.array([detector.weight for detector in detectors.values()])
        evidence = np.array([ranks.evidence(row) for row in held_out.tolist()])
        strangeness = np.log1p(evidence) @ (weights / weights.sum())
        precedents = Precedents(windows.standard, strangeness)
        new = _without_precedent(windows.standard, strangeness, part)
        block = max(8, 2 * -(-length // hop))
        calibrator = Calibrator(new[::per_hop], block, options.confirm, options.of)
        return cls(normaliser, features, detectors, ranks, precedents, calibrator)

    def score(self, window: Floats) -> Verdict:
        """Judge a window [channel, time] in raw units with NaN for missing cells.

        Raises
        ------
        ValueError
            The window holds no reading at all: there is nothing to say of it.
        """
        windows = self._windows(window)
        if windows.mask is not None and not windows.present.any():
            raise ValueError("the window holds no reading: it cannot be scored")
        oddities = [detector.oddity(windows) for detector in self._detectors.values()]
        evidence = self._ranks.evidence([float(oddity.values[0]) for oddity in oddities])
        loudness = [math.log1p(value) for value in evidence]
        combined = sum(map(operator.mul, self._weights, loudness))
        strangeness = self._precedents.forgive(windows.standard[0], combined)
        score, extrapolated = self._calibrator.score(strangeness)
        return Verdict(
            score=score,
            strangeness=strangeness,
            extrapolated=extrapolated,
            evidence=dict(zip(self._detectors, evidence, strict=True)),
            contributions=_blame([oddity.by_channel for oddity in oddities], loudness, window.shape[0]),
        )

    def learn(self, window: Floats, verdict: Verdict) -> None:
        """Follow a window that `score` has judged and that lies outside any incident.

        The calibration takes it as it is. What the score is made from follows the less the stranger the window, so
        that a slowly growing fault is not learned on its way up.
        """
        doubt = min(1.0, max(0.0, (verdict.score - _SURE) / (_DOUBTFUL - _SURE)))
        self._calibrator.learn(verdict.strangeness)
        if doubt < 1.0:
            windows = self._windows(window)
            for detector in self._detectors.values():
                detector.learn(windows)
            self._normaliser.learn(windows, doubt)

    def threshold(self, windows_per_week: float, false_alarms_per_week: float) -> Threshold:
        """Return the threshold that spends a budget of false alarms."""
        return self._calibrator.threshold(false_alarms_per_week / windows_per_week)

    def snapshot(self) -> tuple[State, State]:
        """Return (model, live): what `fit` made, and the small rest that `learn` changes."""
        parts = {
            "normaliser": self._normaliser.snapshot(),
            "features": self._features.snapshot(),
            "ranks": self._ranks.snapshot(),
            "precedents": self._precedents.snapshot(),
            "calibrator": self._calibrator.snapshot(),
        } | {f"evidence.{name}": detector.snapshot() for name, detector in self._detectors.items()}
        model: State = {name: fitted for name, (fitted, _) in parts.items()}
        return {"format": FORMAT} | model, {name: live for name, (_, live) in parts.items() if live}

    @classmethod
    def restore(cls, model: State, live: State) -> Self:
        """Build the detector again; it then scores bit for bit as the one that was saved.

        Raises
        ------
        ValueError
            Another version of this package saved it: the machine has to be fitted anew.
        """
        if model.get("format") != FORMAT:
            msg = f"the saved detector has format {model.get('format')}, this version reads {FORMAT}: fit it anew"
            raise ValueError(msg)
        names = [name.removeprefix("evidence.") for name in model if name.startswith("evidence.")]
        return cls(
            Normaliser.restore(model["normaliser"], live["normaliser"]),
            FeatureScale.restore(model["features"], {}),
            {
                name: EVIDENCE[name].restore(model[f"evidence.{name}"], live.get(f"evidence.{name}", {}))
                for name in names
            },
            TailRank.restore(model["ranks"], {}),
            Precedents.restore(model["precedents"], {}),
            Calibrator.restore(model["calibrator"], live["calibrator"]),
        )

    def _windows(self, window: Floats) -> Windows:
        windows = self._normaliser.apply(window[None])
        self._features.apply(windows)
        return windows


def _fitted(names: tuple[str, ...], windows: Windows, seed: int) -> dict[str, EvidenceDetector]:
    detectors = {name: EVIDENCE[name]() for name in names}
    for detector in detectors.values():
        detector.fit(windows, seed)
    return detectors


def _held_out(names: tuple[str, ...], windows: Windows, part: Indices, seed: int) -> Floats:
    """Oddity [n, detector] of each window by detectors fitted without its part of the warm-up."""
    held_out = np.empty((len(windows), len(names)))
    for fold in range(_FOLDS):
        held = windows[np.flatnonzero(part == fold)]
        detectors = _fitted(names, windows[np.flatnonzero(part != fold)], seed)
        held_out[part == fold] = np.stack([detector.oddity(held).values for detector in detectors.values()], axis=1)
    return held_out


def _without_precedent(standard: Floats, strangeness: Floats, part: Indices) -> Floats:
    """Strangeness [n] of each window less what the other parts of the warm-up have shown."""
    new = strangeness.copy()
    for fold in range(_FOLDS):
        precedents = Precedents(standard[part != fold], strangeness[part != fold])
        for i in np.flatnonzero(part == fold):
            new[i] = precedents.forgive(standard[i], float(strangeness[i]))
    return new


def _blame(by_channel: list[Floats | None], loudness: list[float], channels: int) -> Floats:
    """[channel] shares: each detector's own, weighted by how much louder than usual it spoke."""
    blame = np.zeros(channels)
    for share, loud in zip(by_channel, loudness, strict=True):
        if share is not None and loud > _USUAL_LOUDNESS:
            total = float(np.add.reduce(share[0]))
            if total > 0:
                blame += share[0] * ((loud - _USUAL_LOUDNESS) / total)
    total = float(np.add.reduce(blame))
    return blame / total if total > 0 else blame
