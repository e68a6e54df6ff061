"""What every adapter promises, and what they share: support → examples → parts → here → head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from appliance.adapt.prior import Prior, at
from appliance.adapt.support import Support
from appliance.detect.forgive import Forgiveness
from appliance.detect.head import Blend, Head, Likeness, Part, oddities, signed_log
from appliance.detect.precedents import usual_level
from appliance.detect.tail import TailRank
from appliance.detect.traces import Traces
from appliance.records import Floats

_LOUD_SHARE = 2 / 3
"""Of an event's windows, the strangest: at its edges an event looks like anything."""
_MOST_OF_EVENT = 32
"""Windows of an event to be like."""
_MOST_OF_FAULT = 100
"""Windows of an event, its edges included, that must not be forgiven."""


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
    they were said matters only where they contradict each other. Without labels it gives `Head.prior()`.
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
        ranks, examples = examples_of(support)
        events = examples.events
        parts, shares = self.parts(prior, examples)
        likeness = Likeness(signed_log(np.concatenate([typical(event) for event in events])))
        tails = TailRank(oddities(ranks, parts, likeness, examples.normal))
        blend = blended(prior, support.k, surprise(tails, events), shares)
        head = Head(ranks, parts, likeness, tails, blend, None)
        head.forgiven = _forgiveness(support, head)
        return head

    @abstractmethod
    def parts(self, prior: Prior, examples: Examples) -> tuple[tuple[Part, ...], tuple[float, ...]]:
        """Return the labelled parts, and how they share what the labels have to say: shares that sum to 1."""


def examples_of(support: Support) -> tuple[TailRank, Examples]:
    """Return ranks among the normal windows known so far, and what a part is made from; labels must name a fault."""
    known = support.past[support.normal]
    normal = Traces(
        np.concatenate([support.warm_up.strangeness, known.strangeness]),
        np.concatenate([support.warm_up.traits, known.traits]),
        known.detectors,
    )
    ranks = TailRank(normal.loudness)
    events = tuple(support.past[event] for event in support.events)
    examples = Examples(
        normal,
        np.log1p(ranks.energies(normal.loudness)),
        events,
        tuple(np.log1p(ranks.energies(event.loudness)) for event in events),
    )
    return ranks, examples


def blended(prior: Prior, k: int, surprising: float, shares: Sequence[float]) -> Blend:
    """Return how much of what, with k labelled faults that the prior found so surprising."""
    trust, share = prior.trust(surprising), at(prior.share, k)
    return Blend(tuple(trust * share * each for each in shares), trust * at(prior.boost, k), prior.certain)


def surprise(tails: TailRank, events: Sequence[Traces]) -> float:
    """Return ln(1 + -ln tail rank) of the events' median windows under the prior, in the mean over events."""
    found = []
    for event in events:
        columns = np.zeros((len(event), len(tails.grid)))
        columns[:, 0] = event.strangeness
        found.append(np.median(np.log1p(tails.energies(columns)[:, 0])))
    return float(np.mean(found))


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
