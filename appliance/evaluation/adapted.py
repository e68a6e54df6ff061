"""The appliance's own ways to learn from labels, and what is taken away from them to see what earns the gain.

::

    Run.warm_up · Run.traces ─┐
    Support ─ mislabelled? ───┴─ adapt.Support ─ Adapter ─ Head ─ rescore ─ Judged
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.adapt import support as adapt_support
from appliance.adapt.adapters import ADAPTERS, DEFAULT
from appliance.adapt.adapters.base import Adapter
from appliance.adapt.prior import KNOTS, Prior
from appliance.adapt.support import Span
from appliance.detect.traces import Traces
from appliance.evaluation import hand_blend
from appliance.evaluation.hand_blend import HandBlend
from appliance.evaluation.methods import Judged, Support, timed
from appliance.evaluation.trials import Trial

_FLIPPED = 0.3
"""Share of labels that are wrong in the ablation of that name."""
_DRAWS = 5
"""Seeds of the ablations that draw."""
_NOTHING = (0.0,) * len(KNOTS)


class Traced(NamedTuple):
    """What the service's detector saw of a trial."""

    warm_up: Traces
    test: Traces
    """[hops]."""


Mislabel = Callable[[list[Span], Support, np.random.Generator], list[Span]]


@dataclass(frozen=True)
class Adapted:
    """An adapter with its prior, on the traces of the service, and with what an ablation does to the labels."""

    name: str
    adapter: Adapter
    prior: Prior
    mislabel: Mislabel | None = None

    @property
    def seeds(self) -> int:
        """Seeds worth running."""
        return 1 if self.mislabel is None else _DRAWS

    def judge(self, trial: Trial, traced: Traced, support: Support, seed: int) -> Judged:
        """Adapt to the labels of the past and score everything with the head that comes of it."""
        spans = spans_of(support)
        if self.mislabel is not None:
            spans = self.mislabel(spans, support, np.random.default_rng(seed))
        known = known_at(trial, traced, support, spans)

        def adapt() -> tuple[Judged, None]:
            head = self.adapter.adapt(self.prior, known)
            return Judged(head.rescore(traced.warm_up), head.rescore(traced.test)), None

        (judged, _), secs = timed(adapt)
        return judged._replace(test=np.nan_to_num(judged.test), fit_cpu_secs=secs)


def known_at(trial: Trial, traced: Traced, support: Support, spans: list[Span] | None = None) -> adapt_support.Support:
    """Return what the appliance would know, with the labels of a support or with others."""
    past = traced.test[slice(0, support.seen)]
    labels = spans_of(support) if spans is None else spans
    return adapt_support.Support.of(traced.warm_up, past, labels, straddle=straddle(trial))


def straddle(trial: Trial) -> int:
    """Windows after an event's last hop that still hold a cell of it."""
    return -(-trial.length // trial.hop)


def spans_of(support: Support) -> list[Span]:
    """Return the labels as the operator would have said them: false alarms as they came, then events."""
    false_alarms = [Span(first, end, "false_alarm") for first, end in runs(support.false_alarm)]
    events = [support.fault[support.event == event] for event in np.unique(support.event)]
    return false_alarms + [Span(int(event[0]), int(event[-1]) + 1, "fault") for event in events]


def runs(hops: NDArray[np.intp]) -> list[tuple[int, int]]:
    """Group ascending hops into [first, last + 1) without gaps.

    Examples
    --------
    >>> runs(np.array([3, 4, 5, 9]))
    [(3, 6), (9, 10)]
    """
    parts = np.split(hops, np.flatnonzero(np.diff(hops) > 1) + 1)
    return [(int(part[0]), int(part[-1]) + 1) for part in parts if len(part)]


def shuffled(spans: list[Span], support: Support, rng: np.random.Generator) -> list[Span]:
    """Move every labelled fault to anywhere in the past: the gain must vanish."""
    moved = []
    for span in spans:
        length = span.end - span.first
        first = int(rng.integers(0, max(1, support.seen - length)))
        moved.append(span if span.verdict != "fault" else Span(first, first + length, "fault"))
    return moved


def flipped(spans: list[Span], support: Support, rng: np.random.Generator) -> list[Span]:
    """Turn three labels in ten into the other verdict."""
    other = {"fault": "false_alarm", "false_alarm": "fault"}
    wrong = rng.random(len(spans)) < _FLIPPED
    return [
        span._replace(verdict=other[span.verdict]) if is_wrong else span  # type: ignore[arg-type]
        for span, is_wrong in zip(spans, wrong, strict=True)
    ]


def _ablations() -> dict[str, Adapted]:
    adapter, prior = ADAPTERS[DEFAULT](), Prior()
    name = f"adapt:{DEFAULT}"
    kinds = {
        "evidence_only": Adapted(f"{name}:evidence_only", adapter, replace(prior, boost=_NOTHING, look=_NOTHING)),
        "gate_off": Adapted(f"{name}:gate_off", adapter, replace(prior, surprise=np.inf)),
        "shuffled": Adapted(f"{name}:shuffled", adapter, prior, shuffled),
        "flipped": Adapted(f"{name}:flipped", adapter, prior, flipped),
    }
    return {each.name: each for each in kinds.values()}


ADAPTED: dict[str, Adapted] = {
    **{f"adapt:{name}": Adapted(f"adapt:{name}", make(), Prior()) for name, make in ADAPTERS.items()},
    **_ablations(),
    "blend": Adapted("blend", HandBlend(), hand_blend.PRIOR),
}
"""Name → method. ``adapt:NAME`` is an adapter as the service would run it, ``adapt:NAME:WHAT`` an ablation of the
default one, ``blend`` what somebody would have set by hand."""
