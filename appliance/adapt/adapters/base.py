"""What every adapter promises, and what they share: support → examples → parts → here → head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from appliance.adapt.prior import Prior, at
from appliance.adapt.support import Support
from appliance.detect.head import Blend, Head, Likeness, Part, oddities, signed_log
from appliance.detect.precedents import Precedents, usual_level
from appliance.detect.tail import TailRank
from appliance.detect.traces import Traces
from appliance.records import Floats

_LOUD_SHARE = 2 / 3
"""Of an event's windows, the strangest: at its edges an event looks like anything."""
_MOST_OF_EVENT = 32
"""Windows of an event to be like."""


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
            head.forgiven = _forgiven(support, head)
            return head
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
        parts, shares = self.parts(prior, examples)
        likeness = Likeness(np.concatenate([typical(event) for event in events]))
        tails = TailRank(oddities(ranks, parts, likeness, normal))
        blend = blended(prior, support.k, surprise(tails, events), shares)
        head = Head(ranks, parts, likeness, tails, blend, None)
        head.forgiven = _forgiven(support, head)
        return head

    @abstractmethod
    def parts(self, prior: Prior, examples: Examples) -> tuple[tuple[Part, ...], tuple[float, ...]]:
        """Return the labelled parts, and how they share what the labels have to say: shares that sum to 1."""


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
    """Return the features [., feature] of the windows that show an event, on the signed log scale."""
    strangest = np.argsort(-event.strangeness, kind="stable")[: max(1, round(_LOUD_SHARE * len(event)))]
    kept = np.sort(strangest)[:: -(-len(strangest) // _MOST_OF_EVENT)]
    return signed_log(event.features[kept])


def _forgiven(support: Support, head: Head) -> Precedents | None:
    """Take the windows of false alarms for precedents."""
    if not len(support.false_alarm):
        return None
    past = support.past[support.normal]
    blended = head.blended(past)
    usual = usual_level(np.concatenate([head.blended(support.warm_up), blended]))
    false = support.past[support.false_alarm]
    return Precedents.called_false(false.features, head.blended(false), usual)
