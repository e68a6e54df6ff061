"""What labels make of a machine's strangeness: detector → here → calibrate. Without labels nothing at all.

::

    strangeness ──────────────┐
    loudness ─ ranked ─ parts ┼─ -ln tail rank each ─ blend ─ forgive ─ strangeness
    features ─ parts ─────────┘

Every **part** looks at a window in its own way and units. Each is turned into -ln of its tail rank among this
machine's own normal windows, where they can be averaged: a part that finds many normal windows odd cannot shout the
others down.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from appliance.detect.forgive import Forgiveness
from appliance.detect.state import Fitted, State
from appliance.detect.tail import TailRank
from appliance.detect.traces import Traces
from appliance.records import Floats

Real = TypeVar("Real", bound=np.floating[Any])
_USUAL = 0.596
"""Mean of ln(1 + evidence) over normal windows, whose evidence is exponential."""


class Part(Fitted, ABC):
    """One way to see how much a window is like what was labelled a fault. Fitted by an adapter; never changes."""

    @abstractmethod
    def oddity(self, ranked: Floats, traces: Traces) -> Floats:
        """Return [n], higher is more like a fault, in units of its own.

        Parameters
        ----------
        ranked
            [n, detector] ln(1 + -ln p) of each detector's loudness among the machine's normal windows so far.
        traces
            The windows.
        """


class Linear(Part):
    """A weighted sum of what the detectors say, by the warm-up's ranks and by those of all normal windows so far."""

    FITTED: ClassVar[tuple[str, ...]] = ("by_loudness", "by_rank")

    def __init__(self, by_loudness: Floats, by_rank: Floats) -> None:
        self.by_loudness = by_loudness
        """[detector]."""
        self.by_rank = by_rank
        """[detector]."""

    def oddity(self, ranked: Floats, traces: Traces) -> Floats:
        """Weighted sum: [n]."""
        odd: Floats = traces.loudness @ self.by_loudness + ranked @ self.by_rank
        return odd


class Likeness(Part):
    """How far a window goes in the direction of the nearest window of a labelled event, on a signed log scale.

    With x and r the features of both, (2 x·r − |r|²) / (|r|² + features): 1 for much of the same, 0 half way, below 0
    for anything else. The number of features in the denominator keeps events that hardly differ from normal from
    finding likeness everywhere.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("examples",)

    def __init__(self, examples: Floats) -> None:
        self.examples = examples.astype(np.float32)
        """[example, feature] on the signed log scale."""
        self._prepare()

    def _prepare(self) -> None:
        squares = np.square(self.examples).sum(axis=1)
        per = 1.0 / (squares + self.examples.shape[1])
        self._towards = (2.0 * per[:, None] * self.examples).T
        self._offset = squares * per

    def oddity(self, ranked: Floats, traces: Traces) -> Floats:
        """Likeness to the nearest example: [n]."""
        features = signed_log(traces.features.astype(np.float32))
        nearest: NDArray[np.float32] = (features @ self._towards - self._offset).max(axis=1)
        return nearest.astype(np.float64)


class Cosine(Part):
    """Cosine similarity, on a signed log scale, to the mean window of the most similar labelled event.

    By direction alone, however large: a fault that comes back fainter is like itself. A window that is no farther from
    usual than chance is like nothing.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("directions",)

    def __init__(self, prototypes: Floats) -> None:
        """Start from the events' mean windows [event, feature] on the signed log scale."""
        self.directions = prototypes / np.maximum(np.linalg.norm(prototypes, axis=1, keepdims=True), 1e-9)

    def oddity(self, ranked: Floats, traces: Traces) -> Floats:
        """Similarity to the nearest: [n]."""
        nearest: Floats = self.similarities(traces).max(axis=1)
        return nearest

    def similarities(self, traces: Traces) -> Floats:
        """Return the similarity to each: [n, event]."""
        rows = signed_log(traces.features)
        size = np.maximum(np.linalg.norm(rows, axis=1), np.sqrt(rows.shape[1]))
        each: Floats = (rows @ self.directions.T) / size[:, None]
        return each


class Bent(Part):
    r"""A weighted sum of what the detectors say, bent by one hidden layer: what descends from labels.

    :math:`x^\top w + b^\top \tanh(H x + o)` of what `heard` returns.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("linear", "hidden", "offset", "bend")

    def __init__(self, linear: Floats, hidden: Floats, offset: Floats, bend: Floats) -> None:
        self.linear = linear
        """w [feature]."""
        self.hidden = hidden
        """H [unit, feature]."""
        self.offset = offset
        """o [unit]."""
        self.bend = bend
        """b [unit]."""

    def oddity(self, ranked: Floats, traces: Traces) -> Floats:
        """Log odds of a fault, but for a constant: [n]."""
        features = heard(ranked, traces)
        odds: Floats = features @ self.linear + np.tanh(features @ self.hidden.T + self.offset) @ self.bend
        return odds


PARTS: dict[str, type[Part]] = {part.__name__: part for part in (Linear, Likeness, Cosine, Bent)}


@dataclass(frozen=True)
class Blend:
    """How much of what goes into the strangeness, in the domain of ln(1 + -ln tail rank)."""

    shares: tuple[float, ...] = ()
    """[part]; what is left to 1 is the prior's."""
    boost: float = 0.0
    """Of the likeness beyond `certain`, on top."""
    certain: float = 0.0
    """Likeness that no normal window shows."""

    def of(self, energy: Floats) -> Floats:
        """Blend ln(1 + -ln tail rank) [n, prior and parts and likeness]: [n]."""
        shares = np.array([1.0 - sum(self.shares), *self.shares])
        blended: Floats = energy[:, :-1] @ shares + self.boost * np.maximum(energy[:, -1] - self.certain, 0.0)
        return blended


class Head:
    """What adaptation produced for one machine; `Head.prior()` leaves everything as it is.

    Parameters
    ----------
    ranks
        Of each detector's loudness among the normal windows so far.
    parts
        Blended with the prior.
    likeness
        Speaks only where it is certain; None where there is nothing to be like.
    tails
        Of the prior's strangeness, of each part, and of the likeness, among the normal windows so far.
    forgiven
        Windows that were labelled false alarms.
    """

    def __init__(
        self,
        ranks: TailRank | None,
        parts: tuple[Part, ...],
        likeness: Likeness | None,
        tails: TailRank | None,
        blend: Blend,
        forgiven: Forgiveness | None,
    ) -> None:
        self.ranks, self.parts, self.likeness, self.tails = ranks, parts, likeness, tails
        self.blend, self.forgiven = blend, forgiven

    @classmethod
    def prior(cls) -> Head:
        """Return what every machine starts with: strangeness stays as it is, to the last bit."""
        return cls(None, (), None, None, Blend(), None)

    def strangeness(self, strangeness: float, traits: Floats, detectors: int) -> float:
        """Return the strangeness of one window with traits [trait], in the light of the labels."""
        if self.tails is None and self.forgiven is None:
            return strangeness
        return float(self.rescore(Traces(np.array([strangeness]), traits[None], detectors).kept())[0])

    def rescore(self, traces: Traces) -> Floats:
        """Return the strangeness of windows [n] in the light of the labels; NaN stays NaN.

        What is blended as logarithms of rarity comes out in units of the prior's strangeness: as strange as what the
        prior finds as rare. So nothing that was far beyond normal is drawn near it, and a blend of the prior alone
        changes nothing but the least strange windows.
        """
        blended = self.blended(traces)
        judged = blended if self.forgiven is None else self.forgiven.forgive(traces.features, blended)
        return judged if self.tails is None else self.tails.oddity(0, np.expm1(judged))

    def blended(self, traces: Traces) -> Floats:
        """Return what the labels make of windows before anything is forgiven: [n] ln(1 + -ln p), or strangeness."""
        if self.tails is None or self.ranks is None or self.likeness is None:
            return traces.strangeness
        energy = np.log1p(self.tails.energies(oddities(self.ranks, self.parts, self.likeness, traces)))
        return np.where(np.isnan(traces.strangeness), np.nan, self.blend.of(energy))

    def snapshot(self) -> State:
        """All of it, as plain values."""
        return {
            "ranks": None if self.ranks is None else self.ranks.snapshot()[0],
            "parts": [[type(part).__name__, part.snapshot()[0]] for part in self.parts],
            "likeness": None if self.likeness is None else self.likeness.snapshot()[0],
            "tails": None if self.tails is None else self.tails.snapshot()[0],
            "blend": [list(self.blend.shares), self.blend.boost, self.blend.certain],
            "forgiven": None if self.forgiven is None else self.forgiven.snapshot()[0],
        }

    @classmethod
    def restore(cls, state: State) -> Head:
        """Build it again; it then judges bit for bit as the one that was saved."""
        return cls(
            None if state["ranks"] is None else TailRank.restore(state["ranks"], {}),
            tuple(PARTS[name].restore(values, {}) for name, values in state["parts"]),
            None if state["likeness"] is None else Likeness.restore(state["likeness"], {}),
            None if state["tails"] is None else TailRank.restore(state["tails"], {}),
            Blend(tuple(state["blend"][0]), *state["blend"][1:]),
            None if state["forgiven"] is None else Forgiveness.restore(state["forgiven"], {}),
        )


def oddities(ranks: TailRank, parts: tuple[Part, ...], likeness: Likeness, traces: Traces) -> Floats:
    """Return [n, prior and parts and likeness] in their own units; what has no score counts as not strange."""
    return oddities_of_ranked(np.log1p(ranks.energies(traces.loudness)), parts, likeness, traces)


def oddities_of_ranked(ranked: Floats, parts: tuple[Part, ...], likeness: Likeness, traces: Traces) -> Floats:
    """Return the same where ln(1 + -ln p) of the loudness [n, detector] is known already."""
    columns = [np.nan_to_num(traces.strangeness)]
    columns += [part.oddity(ranked, traces) for part in (*parts, likeness)]
    return np.stack(columns, axis=1)


def heard(ranked: Floats, traces: Traces) -> Floats:
    """Return all that detectors say of windows: [n, 2 x detector] loudness by the warm-up, and by ranks since.

    Both less their usual value, so that who descends on them does not move along all of them before any other way.
    """
    return np.concatenate([traces.loudness, ranked], axis=1) - _USUAL


def signed_log(features: NDArray[Real]) -> NDArray[Real]:
    """Return sign(x) ln(1 + |x|): what is thirty spreads off must not be all that counts."""
    scaled: NDArray[Real] = np.copysign(np.log1p(np.abs(features)), features)
    return scaled
