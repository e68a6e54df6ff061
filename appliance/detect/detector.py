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

from appliance.detect.calibrate import Calibrator, Threshold
from appliance.detect.head import Head
from appliance.detect.lens import Lens
from appliance.detect.normalise import Normaliser
from appliance.detect.precedents import Precedents
from appliance.detect.scales import SCALES, Heard, Past, Scale, pool
from appliance.detect.state import State
from appliance.detect.traces import Traces
from appliance.detect.windows import Windows
from appliance.records import Floats, Verdict

FORMAT = 5
"""Of the saved state: raised whenever an older state would no longer be understood, or would score differently."""
LEAST_COVERAGE = 0.5
"""A window with fewer of its cells read teaches nothing, and says nothing at a scale that it does not fill."""
_LEAST_OF_A_STRETCH = 0.9
"""A channel with fewer of a slow scale's cells counts as silent there: held over the rest it would look stuck."""
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

    Made by `fitting.fit` or `restore`. `score` changes nothing; `learn` is to be called after it, for normal windows
    only.
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
        means = nearly_whole(np.asarray(pool(units, scale.stride // unit), dtype=np.float64))
        if silent:
            means[silent] = np.nan  # what they said before is not to be judged now, either
        seen = self._normaliser.apply(means[None], self._narrower[scale.suffix])
        return seen if seen.mask is None or seen.mask.mean() >= LEAST_COVERAGE else None

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

    def spend(self, alerted: bool, windows_per_week: float, false_alarms_per_week: float) -> float:
        """Hold a judged window outside any incident against the budget: whether it opened an alert; return the cost."""
        return self.calibrator.spend(alerted, false_alarms_per_week / windows_per_week)

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


def nearly_whole(means: Floats) -> Floats:
    """Take the channels of slow stretches [..., channel, time] that are not nearly whole for silent: in place."""
    if not math.isfinite(np.vdot(means, means)):
        means[np.isfinite(means).mean(axis=-1) < _LEAST_OF_A_STRETCH] = np.nan
    return means
