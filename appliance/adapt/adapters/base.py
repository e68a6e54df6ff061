"""What every adapter promises, and what they share: support → examples → parts → here → head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple

import numpy as np

from appliance.adapt.prior import Prior, at
from appliance.adapt.support import Support
from appliance.detect.forgive import Forgiveness, detail
from appliance.detect.head import Blend, Cosine, Head, Likeness, Part, oddities_of_ranked, signed_log
from appliance.detect.precedents import usual_level
from appliance.detect.tail import TailRank
from appliance.detect.traces import Traces
from appliance.records import Floats

_LOUD_SHARE = 2 / 3
"""Of an event's windows, the strangest: at its edges an event looks like anything."""
_MOST_OF_EVENT = 32
"""Windows of an event to be like."""
_MOST_LEFT_OUT = 10
"""Events that are compared with each other."""
_MOST_OF_FAULT = 100
"""Windows of an event, its edges included, that must not be forgiven."""


class Grounds(NamedTuple):
    """What trust in a machine's labels rests on."""

    k: int
    """Labelled faults."""
    surprise: float
    """ln(1 + -ln tail rank) of the events' median windows under the prior, in the mean over events."""
    found: tuple[float, ...]
    """[labelled part] the same under each of them, which were made to find just these events."""
    contrast: float
    """0 to 1: how far an event can be told from a change for good. After the warm-up one event that fills all there is
    to see differs from the warm-up in whatever else has changed as well; windows in order beside it, as many as it
    holds, or a second event at another time tell the two apart."""
    detail: float
    """0 to 1: how far there are features enough for windows not to be alike by chance."""
    resemblance: float | None
    """ln(1 + -ln tail rank) of an event's median window under its cosine similarity to the other events, in the mean
    over events: how far each would have been found by the looks of the others. None for one event, and where nobody
    asks."""


class Examples(NamedTuple):
    """What a part is made from."""

    normal: Traces
    """[n] windows of the warm-up, and those of the past that are taken to be normal."""
    normal_ranked: Floats
    """[n, detector] ln(1 + -ln p) of their loudness among themselves."""
    events: tuple[Traces, ...]
    """For each labelled fault its windows."""
    events_ranked: tuple[Floats, ...]
    """For each its windows' [., detector]."""


class Adapter(ABC):
    """Makes a head of a machine's labels.

    `adapt` is a pure function: it changes nothing, the same labels give the same head, and the order in which
    they were said matters only where they contradict each other. Without labels it gives `Head.prior()`. One that
    makes its parts elsewhere may raise `AdaptationError`.
    """

    name: ClassVar[str]

    def adapt(self, prior: Prior, support: Support) -> Head:
        """Return the head for a machine.

        Parameters
        ----------
        prior
            How far labels are to be trusted.
        support
            What the labels say; also of one class only.
        """
        if not support.k and not len(support.false_alarm):
            return Head.prior()
        if not support.k:
            head = Head.prior()
            head.forgiven = _forgiveness(support, head)
            return head
        examples, ranks = examples_of(support)
        parts, shares = self.parts(prior, examples)
        every = assembled(examples, ranks, parts)
        head = blended_into(every, blended(prior, grounds_of(prior, support, examples, every), shares))
        head.forgiven = _forgiveness(support, head)
        return head

    @abstractmethod
    def parts(self, prior: Prior, examples: Examples) -> tuple[tuple[Part, ...], tuple[float, ...]]:
        """Return the labelled parts, and how they share what the labels have to say: shares that sum to 1."""

    def remark(self, detectors: int) -> str | None:
        """Say what a person should know of the heads of machines with so many detectors; None as a rule."""
        return None


def examples_of(support: Support) -> tuple[Examples, TailRank]:
    """Gather what parts are made from, and the ranks of each detector among all normal windows."""
    known = support.past[support.normal]
    normal = Traces(
        np.concatenate([support.warm_up.strangeness, known.strangeness]),
        np.concatenate([support.warm_up.traits, known.traits]),
        known.detectors,
    )
    ranks = TailRank(normal.loudness)
    events = tuple(support.past[event] for event in support.events)
    ranked = tuple(np.log1p(ranks.energies(event.loudness)) for event in events)
    return Examples(normal, np.log1p(ranks.energies(normal.loudness)), events, ranked), ranks


def assembled(examples: Examples, ranks: TailRank, parts: tuple[Part, ...]) -> Head:
    """Rank the labelled parts, the look of the events, and likeness to them, among normal windows: nothing blended."""
    every = (*parts, look(examples.events))
    likeness = Likeness(signed_log(np.concatenate([typical(event) for event in examples.events])))
    tails = TailRank(oddities_of_ranked(examples.normal_ranked, every, likeness, examples.normal))
    return Head(ranks, every, likeness, tails, Blend(), None)


def grounds_of(prior: Prior, support: Support, examples: Examples, every: Head) -> Grounds:
    """Find what trust in labels rests on, with all that `assembled` made of them."""
    assert every.likeness is not None
    assert every.tails is not None
    medians = []
    for event, ranked in zip(examples.events, examples.events_ranked, strict=True):
        oddity = oddities_of_ranked(ranked, every.parts, every.likeness, event)
        medians.append(np.median(np.log1p(every.tails.energies(oddity)), axis=0))
    surprise, *found = np.mean(medians, axis=0)[:-2].tolist()
    beside = len(support.normal) / sum(map(len, examples.events))
    asked = support.k > 1 and prior.blindness(min(found)) > 0.0
    return Grounds(
        k=support.k,
        surprise=surprise,
        found=tuple(found),
        contrast=min(1.0, beside + support.k - 1),
        detail=detail(examples.normal.features.shape[1]),
        resemblance=resemblance_of(examples) if asked else None,
    )


def resemblance_of(examples: Examples) -> float:
    """Leave each of the latest events out, and see how far it is found by the looks of the others."""
    events = examples.events[-_MOST_LEFT_OUT:]
    looks = look(events)
    to_normal = looks.similarities(examples.normal)
    found = []
    for number, event in enumerate(events):
        others = np.arange(len(events)) != number
        tail = TailRank(to_normal[:, others].max(axis=1)[:, None])
        similar = looks.similarities(event)[:, others].max(axis=1)
        found.append(np.median(np.log1p(tail.energies(similar[:, None]))))
    return float(np.mean(found))


def blended(prior: Prior, grounds: Grounds, shares: Sequence[float]) -> Blend:
    """Return how much of what: of each labelled part, which share what labels say, and last of the events' look."""
    blindness = prior.blindness(float(np.dot(shares, grounds.found)))
    by_look = grounds.contrast * grounds.detail * at(prior.look, grounds.k) * blindness
    if grounds.resemblance is not None:
        by_look *= prior.recurrence(grounds.resemblance)
    trust = grounds.contrast * prior.trust(grounds.surprise)
    by_parts = (1.0 - by_look) * trust * at(prior.share, grounds.k)
    return Blend((*(by_parts * each for each in shares), by_look), trust * at(prior.boost, grounds.k), prior.certain)


def blended_into(every: Head, blend: Blend) -> Head:
    """Return the head with a blend, without parts that have no share: they would cost time with every window."""
    assert every.tails is not None
    heard = [number for number, share in enumerate(blend.shares) if share > 0.0]
    return Head(
        every.ranks,
        tuple(every.parts[number] for number in heard),
        every.likeness,
        every.tails.only([0, *(1 + number for number in heard), len(every.parts) + 1]),
        replace(blend, shares=tuple(blend.shares[number] for number in heard)),
        None,
    )


def look(events: Sequence[Traces]) -> Cosine:
    """Return the part that finds what deviates in the direction of a labelled event."""
    return Cosine(np.stack([signed_log(typical(event)).mean(axis=0) for event in events]))


def typical(event: Traces) -> Floats:
    """Return the features [., feature] of the windows that show an event best."""
    strangest = np.argsort(-event.strangeness, kind="stable")[: max(1, round(_LOUD_SHARE * len(event)))]
    return event.features[np.sort(strangest)[:: -(-len(strangest) // _MOST_OF_EVENT)]]


def _forgiveness(support: Support, head: Head) -> Forgiveness | None:
    """Keep the windows of false alarms, and what a fault looks like."""
    if not len(support.false_alarm):
        return None
    usual = usual_level(
        np.concatenate([head.blended(each) for each in (support.warm_up, support.past[support.normal])])
    )
    false = support.past[support.false_alarm]
    faults = [support.past[event].features[:: -(-len(event) // _MOST_OF_FAULT)] for event in support.events]
    none = np.empty((0, false.features.shape[1]))
    return Forgiveness(false.features, head.blended(false), usual, np.concatenate([none, *faults]))
