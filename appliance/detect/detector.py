"""One machine's detector: a raw window in, a verdict out; the only class of this package that the pipeline uses.

::

    raw window → normalise → evidence detectors ─┬────────────→ rank ─┬→ combine → calibrate → verdict
                                             └→ precedents → rank ─┘
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from appliance.detect.calibrate import Calibrator, Threshold
from appliance.detect.combine import Combiner
from appliance.detect.evidence import EVIDENCE, EvidenceDetector
from appliance.detect.normalise import Normaliser
from appliance.detect.precedents import Precedents
from appliance.detect.state import State
from appliance.detect.tail import TailRank
from appliance.detect.windows import Windows, cut
from appliance.records import Floats, Verdict

_FOLDS = 4
"""The warm-up is judged in quarters, each by what was fitted on the other three."""
_PARTS = 40
"""Each quarter is spread over the warm-up in ten parts, so that it holds every shift."""
_MIN_WINDOWS = 8 * _FOLDS
_LEAST_COVERAGE = 0.5
"""A warm-up window with fewer of its cells read teaches nothing."""
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
        detectors: dict[str, EvidenceDetector],
        precedents: Precedents,
        ranks: TailRank,
        combiner: Combiner,
        calibrator: Calibrator,
    ) -> None:
        self._normaliser = normaliser
        self._detectors = detectors
        self._precedents = precedents
        self._ranks = ranks
        self._combiner = combiner
        self._calibrator = calibrator

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
            Fewer than `_MIN_WINDOWS` windows are at least half covered.
        """
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
        detectors = _fitted(options.evidence, windows, seed)
        precedents = Precedents(windows, _oddity(detectors, windows), seed)
        held_out, forgiveness = _held_out(options.evidence, windows, seed)
        ranks = TailRank(np.hstack((held_out, held_out - forgiveness)))
        evidence = np.array([_evidence(ranks, *row) for row in zip(held_out, forgiveness, strict=True)])
        combiner = Combiner(evidence, [detector.weight for detector in detectors.values()], memory)
        strangeness = np.array([combiner.strangeness(row) for row in evidence])
        block = max(8, 2 * -(-length // hop))
        calibrator = Calibrator(strangeness[::per_hop], block, options.confirm, options.of)
        return cls(normaliser, detectors, precedents, ranks, combiner, calibrator)

    def score(self, window: Floats) -> Verdict:
        """Judge a window [channel, time] in raw units with NaN for missing cells.

        Raises
        ------
        ValueError
            The window holds no reading at all: there is nothing to say of it.
        """
        windows = self._normaliser.apply(window[None])
        if windows.mask is not None and not windows.mask.any():
            raise ValueError("the window holds no reading: it cannot be scored")
        oddities = [detector.oddity(windows) for detector in self._detectors.values()]
        oddity = np.array([oddity.values[0] for oddity in oddities])
        evidence = _evidence(self._ranks, oddity, self._precedents.forgiveness(windows)[0])
        strangeness = self._combiner.strangeness(evidence)
        score, extrapolated = self._calibrator.score(strangeness)
        return Verdict(
            score=score,
            strangeness=strangeness,
            extrapolated=extrapolated,
            evidence=dict(zip(self._detectors, evidence.tolist(), strict=True)),
            contributions=_blame([oddity.by_channel for oddity in oddities], evidence, window.shape[0]),
        )

    def learn(self, window: Floats, verdict: Verdict) -> None:
        """Follow a window that `score` has judged and that lies outside any incident.

        The calibration takes it as it is. What the score is made from follows the less the stranger the window, so
        that a slowly growing fault is not learned on its way up.
        """
        doubt = min(1.0, max(0.0, (verdict.score - _SURE) / (_DOUBTFUL - _SURE)))
        self._calibrator.learn(verdict.strangeness)
        if doubt < 1.0:
            self._combiner.learn(np.array(list(verdict.evidence.values())), doubt)
            windows = self._normaliser.apply(window[None])
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
            "precedents": self._precedents.snapshot(),
            "ranks": self._ranks.snapshot(),
            "combiner": self._combiner.snapshot(),
            "calibrator": self._calibrator.snapshot(),
        } | {f"evidence.{name}": detector.snapshot() for name, detector in self._detectors.items()}
        model = {name: fitted for name, (fitted, _) in parts.items()}
        return model, {name: live for name, (_, live) in parts.items() if live}

    @classmethod
    def restore(cls, model: State, live: State) -> Self:
        """Build the detector again; it then scores bit for bit as the one that was saved."""
        names = [name.removeprefix("evidence.") for name in model if name.startswith("evidence.")]
        return cls(
            Normaliser.restore(model["normaliser"], live["normaliser"]),
            {
                name: EVIDENCE[name].restore(model[f"evidence.{name}"], live.get(f"evidence.{name}", {}))
                for name in names
            },
            Precedents.restore(model["precedents"], {}),
            TailRank.restore(model["ranks"], {}),
            Combiner.restore(model["combiner"], live["combiner"]),
            Calibrator.restore(model["calibrator"], live["calibrator"]),
        )


def _fitted(names: tuple[str, ...], windows: Windows, seed: int) -> dict[str, EvidenceDetector]:
    detectors: dict[str, EvidenceDetector] = {}
    for name in names:
        detectors[name] = EVIDENCE[name]()
        detectors[name].fit(windows, seed)
    return detectors


def _oddity(detectors: dict[str, EvidenceDetector], windows: Windows) -> Floats:
    """[n, detector]."""
    return np.stack([detector.oddity(windows).values for detector in detectors.values()], axis=1)


def _held_out(names: tuple[str, ...], windows: Windows, seed: int) -> tuple[Floats, Floats]:
    """Oddity and forgiveness [n, detector] of each window by what was fitted without its part of the warm-up."""
    oddity, forgiveness = np.empty((2, len(windows), len(names)))
    part = np.arange(len(windows)) * _PARTS // len(windows) % _FOLDS
    for fold in range(_FOLDS):
        held, rest = windows[np.flatnonzero(part == fold)], windows[np.flatnonzero(part != fold)]
        detectors = _fitted(names, rest, seed)
        oddity[part == fold] = _oddity(detectors, held)
        forgiveness[part == fold] = Precedents(rest, _oddity(detectors, rest), seed).forgiveness(held)
    return oddity, forgiveness


def _evidence(ranks: TailRank, oddity: Floats, forgiveness: Floats) -> Floats:
    """[detector] the smaller of the ranks with and without precedents: these only ever speak for a window."""
    both = ranks.evidence(np.concatenate((oddity, oddity - forgiveness)))
    return np.minimum(both[: len(oddity)], both[len(oddity) :])


def _blame(by_channel: list[Floats | None], evidence: Floats, channels: int) -> Floats:
    """[channel] shares: each detector's own, weighted by how much louder than usual it spoke."""
    loudness = np.log1p(evidence)
    blame = np.zeros(channels)
    for share, loud in zip(by_channel, (loudness - np.log(2.0)).tolist(), strict=True):
        if share is not None and loud > 0:
            total = float(np.add.reduce(share[0]))
            if total > 0:
                blame += share[0] * (loud / total)
    total = float(np.add.reduce(blame))
    return blame / total if total > 0 else blame
