"""What a machine's labels say of its windows: spans with a verdict → here → which windows are faults, and which normal.

::

    time      ───────────────────────────────────────▶ now
    labels         ▆▆▆ fault      ▆▆ false alarm
    windows   ···· FFFF xx ······ AAA xx ·············
              ·  assumed normal   F  of a labelled event   A  of a false alarm   x  straddles, teaches nothing
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.detect.traces import Traces

Indices = NDArray[np.intp]
Verdict = Literal["fault", "false_alarm"]


class Span(NamedTuple):
    """A label, in numbers of windows."""

    first: int
    end: int
    """The window after the last one that ends inside the label."""
    verdict: Verdict


@dataclass(frozen=True)
class Support:
    """What there is to learn from: windows of the warm-up and of the past, and what the labels say of them."""

    warm_up: Traces
    """[m] held-out traces of the warm-up, in time order."""
    past: Traces
    """[n] of the windows since, in time order; NaN strangeness where there was no score."""
    events: tuple[Indices, ...]
    """For each labelled fault, in time order, its windows in ``past``, at least one. Each event counts for the same,
    however long it lasts; the same event twice is one."""
    false_alarm: Indices
    """Windows in ``past`` that were labelled false alarms: normal, and known to be."""
    normal: Indices
    """Windows in ``past`` that are taken to be normal: those of false alarms, and all that nobody labelled."""

    @property
    def k(self) -> int:
        """Labelled faults."""
        return len(self.events)

    @classmethod
    def of(cls, warm_up: Traces, past: Traces, labels: Iterable[Span], *, straddle: int) -> Support:
        """Sort out what the labels say; of two that contradict each other the later in ``labels`` holds.

        Parameters
        ----------
        labels
            In the order in which they were said. What lies outside of the past is ignored.
        straddle
            So many windows after a label's last still hold cells of it.
        """
        owner = np.full(len(past), -1)  # which label each window belongs to
        spans = list(labels)
        for number, span in enumerate(spans):
            owner[max(span.first, 0) : max(span.end, 0)] = number
        near = np.zeros(len(past), dtype=bool)
        for number in np.unique(owner[owner >= 0]).tolist():
            if spans[number].verdict == "fault":
                inside = np.flatnonzero(owner == number)
                near[max(int(inside[0]) - 1, 0) : int(inside[-1]) + 1 + straddle] = True
        scored = ~np.isnan(past.strangeness)
        of_verdict = {
            verdict: [i for i, span in enumerate(spans) if span.verdict == verdict]
            for verdict in ("fault", "false_alarm")
        }
        events = [np.flatnonzero((owner == number) & scored) for number in of_verdict["fault"]]
        false_alarm = np.isin(owner, of_verdict["false_alarm"]) & scored
        normal = scored & (owner < 0) & ~near | false_alarm
        return cls(
            warm_up,
            past,
            tuple(sorted((event for event in events if len(event)), key=lambda event: int(event[0]))),
            np.flatnonzero(false_alarm),
            np.flatnonzero(normal),
        )
