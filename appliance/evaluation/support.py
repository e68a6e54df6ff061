"""The few-shot protocol: what a method is given at each k, and the common tail on which all of them are measured.

::

    hops   0 ───────────────────────────────────────────────────────▶
    events     ▆▆1     ▆▆2          ▆▆3        ▆▆4
    k = 1  ───────┤ seen
    k = 2  ───────────────┤ seen               (the largest usable k)
    all k                 ├───────────────────────────── common tail
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from appliance.evaluation.methods import Support
from appliance.evaluation.metrics import AlertHops, right_hops
from appliance.evaluation.trials import Span

LEAST_EVENTS = 2
"""Events that a tail needs: with one, a single lucky score would be the whole figure."""


class CommonTail(NamedTuple):
    """Where a machine is measured with labels, and with how many."""

    start: int
    """First hop of the tail."""
    ks: tuple[int, ...]
    """Of those asked for, all that leave the machine enough events, in ascending order."""


def common_tail(event_hops: Sequence[Span], ks: Iterable[int]) -> CommonTail | None:
    """Find the tail after the last event that the largest usable k takes.

    Parameters
    ----------
    event_hops
        Hops [first, last + 1) of each event, in order of time.
    ks
        Numbers of labelled events that are asked for.

    Returns
    -------
    tail
        None for a machine that has too few events for the smallest k above 0.

    Examples
    --------
    >>> common_tail([(2, 4), (9, 11), (20, 21), (30, 33)], [0, 1, 2, 5])
    CommonTail(start=11, ks=(0, 1, 2))
    """
    asked = sorted(set(ks))
    for largest in reversed(asked):
        if 0 < largest <= len(event_hops):
            start = _settled(event_hops, largest)
            if sum(first >= start for first, _ in event_hops) >= LEAST_EVENTS:
                return CommonTail(start, tuple(k for k in asked if k <= largest))
    return None


def support_of(event_hops: Sequence[Span], k: int, alerts: Iterable[AlertHops], grace_hops: int) -> Support:
    """Gather what an operator would have said by the end of the k-th event.

    Parameters
    ----------
    event_hops
        Hops [first, last + 1) of each event, in order of time; at least k.
    alerts
        What the appliance raised; those that were about no event were called false, from their opening on until they
        closed, as far as that lies in the past and outside events.
    grace_hops
        So many hops after an event's last an alert may still be about it.
    """
    if k == 0:
        return Support.none()
    used = event_hops[:k]
    seen = max(end for _, end in used)
    owner = np.full(seen, -1, dtype=np.intp)  # [seen] the event of each hop; where two share one, it is the earlier's
    for event, (first, end) in reversed(list(enumerate(used))):
        owner[first:end] = event
    fault = np.flatnonzero(owner >= 0)
    right = right_hops(event_hops, seen, grace_hops)
    called_false = np.zeros(seen, dtype=bool)
    for opened, closed in alerts:
        if opened < seen and not right[opened]:
            called_false[opened : seen if closed is None else closed] = True
    for first, end in event_hops:
        called_false[first:end] = False
    return Support(k, fault, owner[fault], np.flatnonzero(called_false), seen)


def _settled(event_hops: Sequence[Span], k: int) -> int:
    """First hop after the k-th event at which no event is under way."""
    settled = max(end for _, end in event_hops[:k])
    for first, end in event_hops[k:]:
        if first < settled:
            settled = max(settled, end)
    return settled
