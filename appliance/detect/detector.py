"""One machine's detector: a raw window in, a verdict out; the only class of this package that the pipeline uses.

::

                             ┌ last quarter ─┐
    window ─┬─ normalise ─┬──┤ window        ├─ each: features, evidence, ranks ─ mean ─ precedents ─ calibrate
    past ───┘             └──┤ 4 windows     │
                             └ 16 windows ───┘
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from appliance.detect.calibrate import Calibrator, Threshold, block_windows
from appliance.detect.head import Head
from appliance.detect.lens import FOLDS, MOST_PARTS, Lens, folds
from appliance.detect.normalise import Normaliser, spread_of_means
from appliance.detect.precedents import Precedents
from appliance.detect.scales import SCALES, Heard, Past, Scale, hops_held, pool, scales_for, unit_of
from appliance.detect.state import State
from appliance.detect.traces import Traces
from appliance.detect.windows import Windows, cut
from appliance.records import Floats, Verdict

Indices = NDArray[np.intp]

FORMAT = 5
"""Of the saved state: raised whenever an older state would no longer be understood, or would score differently."""
_LEAST_WINDOWS = 8 * FOLDS
_LEAST_COVERAGE = 0.5
"""A window with fewer of its cells read teaches nothing, and says nothing at a scale that it does not fill."""
_LEAST_OF_A_STRETCH = 0.9
"""A channel with fewer of a slow scale's cells counts as silent there: held over the rest it would look stuck."""
_MOST_CELLS = 6_000_000
"""Cells of warm-up windows held at once, 48 MB and a few copies: a machine of 100 channels is fitted on fewer of them,
in seconds and on a gateway."""
_SURE, _DOUBTFUL = 1.0, 3.0
"""Scores up to which a window is learned from in full, and from which not at all."""


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """How a detector is built; the defaults suit any machine."""

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
        unit: int,
        normaliser: Normaliser,
        lenses: dict[str, Lens],
        narrower: dict[str, Floats],
        precedents: Precedents,
        calibrator: Calibrator,
    ) -> None:
        self._unit = unit
        self._normaliser = normaliser
        self._lenses = lenses
        self._narrower = narrower
        self._precedents = precedents
        self.calibrator = calibrator
        self.head = Head.prior()
        """What labels have made of the strangeness."""
        self._detectors = sum(len(lens.detectors) for lens in lenses.values())
        self._weight = sum(lens.scale.weight for lens in lenses.values())
        self._judged: tuple[Floats, Windows] | None = None  # what `score` made of its window: `learn` gets the same

    @classmethod
    def fit(cls, series: Floats, *, length: int, hop: int, seed: int, options: DetectorOptions) -> tuple[Self, Traces]:
        """Fit on a machine's warm-up.

        Parameters
        ----------
        series
            [channel, time] on the machine's grid in raw units, NaN for missing; a few per cent of it may be strange.
        length, hop
            Cells per window, and from window to window.
        seed
            Of everything that is drawn at random.

        Returns
        -------
        detector, traces
            And what it makes of the warm-up's windows, each judged by what was fitted without it: for `adapt`.

        Raises
        ------
        ValueError
            Fewer than 32 windows are at least half covered, or there is no channel.
        """
        if not len(series):
            raise ValueError("cannot fit a machine without a channel")
        total = (series.shape[1] - length) // hop + 1
        most = max(2 * _LEAST_WINDOWS, min(options.max_windows, _MOST_CELLS // (len(series) * length)))
        per_hop = 2 if hop % 2 == 0 and 2 * total <= most else 1
        step = hop // per_hop * max(1, -(-total // most))
        raw = cut(series, length, step)
        ends = length + step * np.arange(len(raw))
        usable = np.isfinite(raw).mean(axis=(1, 2)) >= _LEAST_COVERAGE if len(raw) else np.empty(0, dtype=bool)
        ends = ends[usable]
        if len(ends) < _LEAST_WINDOWS:
            msg = (
                f"warm-up of {series.shape[1]} cells has {len(ends)} usable windows of {length} cells, "
                f"needs {_LEAST_WINDOWS}: let it run longer"
            )
            raise ValueError(msg)
        normaliser = Normaliser(series, rate=1.0 / (options.memory * max(total, _LEAST_WINDOWS)))
        windows = normaliser.apply(raw if usable.all() else raw[usable])
        lenses: dict[str, Lens] = {}
        narrower: dict[str, Floats] = {}
        combined = np.zeros(len(ends))
        traits: list[Floats] = []

        def look(scale: Scale, at_scale: Windows, seen: Indices) -> None:
            lens, loud = Lens.fit(scale, at_scale, series.shape[1] / (length * scale.stride), seed)
            lenses[scale.suffix] = lens
            if scale.stride > 1:  # held over some hops, as it will be
                _, first, turn = np.unique(
                    ends[seen] // (hop * hops_held(scale, length, hop)), return_index=True, return_inverse=True
                )
                loud = loud[first][turn]
            combined[seen] += lens.combine(loud)
            traits.append(np.zeros((len(ends), loud.shape[1])))
            traits[-1][seen] = loud

        scales = scales_for(length)
        for scale in (each for each in scales if each.stride == 1):
            cells = scale.cells(length)
            look(scale, windows if cells == length else windows.last(cells), np.arange(len(ends)))
        standard = windows.standard
        del windows  # of thousands of channels each scale's take hundreds of megabytes
        for scale in (each for each in scales if each.stride > 1):
            stretches = _stretches(series, ends, length, scale, unit_of(hop))
            seen = np.flatnonzero(np.isfinite(stretches).mean(axis=(1, 2)) >= _LEAST_COVERAGE)
            if len(seen) < _LEAST_WINDOWS:
                continue
            if len(seen) < len(stretches):
                stretches = stretches[seen]
            narrower[scale.suffix] = spread_of_means(stretches, normaliser)
            at_scale = normaliser.apply(stretches, narrower[scale.suffix])
            del stretches
            look(scale, at_scale, seen)
            del at_scale
        strangeness = combined / sum(lens.scale.weight for lens in lenses.values())
        precedents = Precedents(standard, strangeness)
        new = _without_precedent(standard, strangeness)
        calibrator = Calibrator(new[::per_hop], block_windows(length, hop), options.confirm, options.of)
        detectors = sum(len(lens.detectors) for lens in lenses.values())
        warm_up = Traces(new, np.hstack([*traits, standard]), detectors)[::per_hop]
        return cls(unit_of(hop), normaliser, lenses, narrower, precedents, calibrator), warm_up

    def score(self, window: Floats, past: Past | None = None) -> Verdict:
        """Judge a window.

        Parameters
        ----------
        window
            [channel, time] in raw units with NaN for missing cells.
        past
            The cells before it; without them the slow scales stay silent. It holds what they say, so that asking
            again gives the same answer.

        Raises
        ------
        ValueError
            The window holds no reading at all: there is nothing to say of it.
        """
        windows = self._normaliser.apply(window[None])
        if windows.mask is not None and not windows.present.any():
            raise ValueError("the window holds no reading: it cannot be scored")
        self._judged = window, windows
        combined = 0.0
        blame = np.zeros(len(window))
        loudest: dict[str, tuple[float, str]] = {}
        loudness: list[float] = []
        for suffix, lens in self._lenses.items():
            heard = self._hear(lens, window, past, windows)
            if heard is None:
                loudness += [0.0] * len(lens.detectors)
                continue
            loudness += heard.loudness
            combined += heard.combined
            blame += heard.blame
            for name, value in zip(lens.detectors, heard.evidence, strict=True):
                if name not in loudest or value > loudest[name][0]:
                    loudest[name] = value, name + suffix
        evidence = {name: value for value, name in loudest.values()}
        strangeness = self._precedents.forgive(windows.standard[0], combined / self._weight)
        traits = np.concatenate([loudness, windows.standard[0]])
        labelled = self.head.strangeness(strangeness, traits, self._detectors)
        score, extrapolated = self.calibrator.score(labelled)
        total = float(np.add.reduce(blame))
        return Verdict(
            score=score,
            strangeness=labelled,
            unlabelled=strangeness,
            extrapolated=extrapolated,
            evidence=evidence,
            contributions=blame / total if total > 0 else blame,
            traits=traits,
        )

    def _hear(self, lens: Lens, window: Floats, past: Past | None, windows: Windows) -> Heard | None:
        """Listen at one scale; None where it has nothing to go by."""
        scale, length = lens.scale, window.shape[1]
        if scale.stride == 1:
            cells = scale.cells(length)
            return lens.listen(windows if cells == length else windows.last(cells))
        if past is None or len(past.cells) < len(window):  # nothing is settled yet
            return None
        silent = [] if windows.mask is None else np.flatnonzero(windows.present[0] == 0).tolist()
        heard = past.held(scale, silent)
        if heard is None:
            seen = self._stretch(scale, window, past, silent)
            if seen is not None:
                heard = lens.listen(seen)
                past.hold(scale, silent, heard)
        return heard

    def _stretch(self, scale: Scale, window: Floats, past: Past, silent: list[int]) -> Windows | None:
        """Look at the stretch of a slow scale that ends with a window; None where too little of it is known."""
        unit = self._unit
        wanted = window.shape[1] * scale.stride // unit
        recent = pool(window[:, window.shape[1] % unit :], unit)
        before = past.cells[: len(window), -max(wanted - recent.shape[1], 1) :]
        units = np.concatenate([before, recent], axis=1, dtype=np.float64)[:, -wanted:]
        if units.shape[1] < wanted:
            units = np.pad(units, ((0, 0), (wanted - units.shape[1], 0)), constant_values=np.nan)
        means = _whole(np.asarray(pool(units, scale.stride // unit), dtype=np.float64))
        if silent:
            means[silent] = np.nan  # what they said before is not to be judged now, either
        seen = self._normaliser.apply(means[None], self._narrower[scale.suffix])
        return seen if seen.mask is None or seen.mask.mean() >= _LEAST_COVERAGE else None

    def learn(self, window: Floats, verdict: Verdict) -> None:
        """Follow a window that `score` has judged and that lies outside any incident.

        The calibration takes it as it is. What the score is made from follows the less the stranger the window, so
        that a slowly growing fault is not learned on its way up.
        """
        doubt = min(1.0, max(0.0, (verdict.score - _SURE) / (_DOUBTFUL - _SURE)))
        self.calibrator.learn(verdict.strangeness)
        if doubt < 1.0:
            seen = self._judged is not None and self._judged[0] is window
            windows = self._judged[1] if seen and self._judged else self._normaliser.apply(window[None])
            self._normaliser.learn(windows, doubt)
        self._judged = None  # normalised by what has just changed

    def threshold(self, windows_per_week: float, false_alarms_per_week: float) -> Threshold:
        """Return the threshold that spends a budget of false alarms."""
        return self.calibrator.threshold(false_alarms_per_week / windows_per_week)

    def spend(self, alerted: bool, windows_per_week: float, false_alarms_per_week: float) -> None:
        """Hold a judged window outside any incident against the budget: whether it opened an alert."""
        self.calibrator.spend(alerted, false_alarms_per_week / windows_per_week)

    @property
    def overspent(self) -> bool:
        """Whether more alerts were raised of late than the budget allows, so that the threshold stands higher."""
        return self.calibrator.overspent

    def recalibrated(self, head: Head, warm_up: Traces, normal: Traces) -> Calibrator:
        """Return the calibration that belongs to a head: of the warm-up's windows, and of normal ones since."""
        return self.calibrator.again(head.rescore(warm_up), head.rescore(normal))

    def adopt(self, head: Head, calibrator: Calibrator) -> None:
        """Put a head and its calibration into service."""
        self.head, self.calibrator = head, calibrator

    def adopted(self) -> State:
        """Return the head in service and the fitted part of its calibration, for `restore`."""
        return {"head": self.head.snapshot(), "calibrator": self.calibrator.snapshot()[0]}

    def snapshot(self) -> tuple[State, State]:
        """Return (model, live): what `fit` made, and the small rest that `learn` changes."""
        normaliser, calibrator = self._normaliser.snapshot(), self.calibrator.snapshot()
        model: State = {
            "format": FORMAT,
            "unit": self._unit,
            "normaliser": normaliser[0],
            "narrower": dict(self._narrower),
            "lenses": {suffix: lens.snapshot() for suffix, lens in self._lenses.items()},
            "precedents": self._precedents.snapshot()[0],
            "calibrator": calibrator[0],
        }
        return model, {"normaliser": normaliser[1], "calibrator": calibrator[1]}

    @classmethod
    def restore(cls, model: State, live: State, adopted: State | None = None) -> Self:
        """Build the detector again, with the head that was in service; it then scores bit for bit as the one saved.

        Raises
        ------
        ValueError
            Another version of this package saved it: the machine has to be fitted anew.
        """
        if model.get("format") != FORMAT:
            msg = f"the saved detector has format {model.get('format')}, this version reads {FORMAT}: fit it anew"
            raise ValueError(msg)
        scales = {scale.suffix: scale for scale in SCALES}
        restored = cls(
            model["unit"],
            Normaliser.restore(model["normaliser"], live["normaliser"]),
            {suffix: Lens.restore(scales[suffix], state) for suffix, state in model["lenses"].items()},
            model["narrower"],
            Precedents.restore(model["precedents"], {}),
            Calibrator.restore((adopted or model)["calibrator"], live["calibrator"]),
        )
        if adopted is not None:
            restored.head = Head.restore(adopted["head"])
        return restored


def _stretches(series: Floats, ends: Indices, length: int, scale: Scale, unit: int) -> Floats:
    """Means [n, channel, length] over the cells of a slow scale up to each end; NaN before the series began."""
    wanted = length * scale.stride // unit
    whole = pool(series[:, : series.shape[1] // unit * unit], unit)
    padded = np.pad(whole, ((0, 0), (wanted, 0)), constant_values=np.nan)
    views = np.lib.stride_tricks.sliding_window_view(padded, wanted, axis=1)  # (channel, last unit, unit)
    chunk = max(1, _MOST_CELLS // (len(series) * wanted))
    means: Floats = np.empty((len(ends), len(series), length), dtype=whole.dtype)
    for first in range(0, len(ends), chunk):
        some = ends[first : first + chunk] // unit
        means[first : first + chunk] = pool(views[:, some].swapaxes(0, 1), scale.stride // unit)
        _whole(means[first : first + chunk])
    return means


def _whole(means: Floats) -> Floats:
    """Take the channels of slow stretches [..., channel, time] that are not nearly whole for silent: in place."""
    if not math.isfinite(np.vdot(means, means)):
        means[np.isfinite(means).mean(axis=-1) < _LEAST_OF_A_STRETCH] = np.nan
    return means


def _without_precedent(standard: Floats, strangeness: Floats) -> Floats:
    """Strangeness [n] of each window less what the other parts of the warm-up have shown."""
    fold = folds(len(standard), MOST_PARTS)
    new = strangeness.copy()
    for number in range(FOLDS):
        precedents = Precedents(standard[fold != number], strangeness[fold != number])
        for i in np.flatnonzero(fold == number):
            new[i] = precedents.forgive(standard[i], float(strangeness[i]))
    return new
