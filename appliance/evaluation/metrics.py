"""Scores and true labels on the hop grid → figures: how well a method ranks, and what its alerts would have done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.detect.calibrate import Calibrator, Threshold
from appliance.evaluation.trials import Span
from appliance.incidents import AlertRules, IncidentTracker
from appliance.records import Floats, Score

Bools = NDArray[np.bool_]
AlertHops = tuple[int, int | None]
"""The hop at which an alert opened, and the one at which it closed for good; None while it stands."""

_THRESHOLDS = 250
"""Points on each precision-recall curve of the volume: TSB-AD's number, so that figures can be compared with its."""
_SPREAD_FLOOR = 1e-6
"""Of warm-up scores, as a share of their size: constant ones must not make every change infinitely strange."""


def auc_pr(scores: Floats, labels: Bools) -> float:
    """Average precision: precision summed over the steps in recall, without interpolation; equal scores are one step.

    The same as scikit-learn's ``average_precision_score``.

    Parameters
    ----------
    scores
        [n] finite, higher is stranger.
    labels
        [n] whether each hop is anomalous.

    Returns
    -------
    area
        0…1; NaN where there is no anomalous hop or no normal one.
    """
    if labels.all() or not labels.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    last_of_step = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(labels[order])[last_of_step]
    precision = hits / (last_of_step + 1)
    return float(np.diff(hits, prepend=0) @ precision / labels.sum())


def vus_pr(scores: Floats, labels: Bools, max_buffer: int) -> float:
    r"""Volume under the range precision-recall surface.

    An alarm close to an event is partly right. With a buffer of :math:`l` hops, labels become soft: 1 inside events and
    :math:`\sqrt{1 - d/l}` at a distance of :math:`d \le \lfloor l/2 \rfloor` hops from one, summed where flanks
    overlap, at most 1. At each threshold

    .. math:: \mathrm{TP} = \sum_{alarms} soft, \qquad precision = \mathrm{TP} / alarms, \qquad
        recall = \min\Big(1, \frac{\mathrm{TP}}{(P + P_l)/2}\Big) \cdot \frac{events\ with\ an\ alarm}{events}

    where :math:`P` counts the anomalous hops, :math:`P_l` adds to them the soft labels under alarms in the flanks, and
    an event reaches over its flanks, merged with the next where these overlap. The area under a curve is its precision
    summed over the steps in recall, and the volume is the mean area over :math:`l = 0 \dots` ``max_buffer``.

    Paparrizos et al. 2022, "Volume Under the Surface", as ``RangeAUC_volume_opt`` of TSB-AD computes it: it differs
    from the authors' first code in taking steps instead of trapezia and in counting :math:`P_l` under alarms only. The
    same numbers come out here, from one sort instead of one pass per threshold.

    Parameters
    ----------
    scores
        [n] finite, higher is stranger.
    labels
        [n] whether each hop is anomalous; neighbouring anomalous hops are one event.
    max_buffer
        The longest buffer in hops.

    Returns
    -------
    volume
        0…1; NaN where there is no anomalous hop or no normal one.
    """
    if labels.all() or not labels.any():
        return float("nan")
    n = len(scores)
    descending = -np.sort(-scores)
    thresholds = np.unique(descending[np.linspace(0, n - 1, _THRESHOLDS).astype(int)])[::-1]
    first_alarm = np.searchsorted(-thresholds, -scores)  # [n] the highest threshold that each hop reaches
    alarms = np.cumsum(np.bincount(first_alarm, minlength=len(thresholds)))
    starts, ends = _runs(labels)
    positive = float(labels.sum())
    areas = []
    for buffer in range(max_buffer + 1):
        soft = _soften(labels, starts, ends, buffer)
        hits = np.cumsum(np.bincount(first_alarm, soft, len(thresholds)))
        near_hits = np.cumsum(np.bincount(first_alarm, np.where(labels, 0.0, soft), len(thresholds)))
        recall = np.minimum(hits / (positive + near_hits / 2), 1.0)
        recall *= _share_found(first_alarm, starts - buffer // 2, ends + buffer // 2, len(thresholds))
        areas.append(np.diff(recall, prepend=0.0) @ (hits / alarms))
    return float(np.mean(areas))


def _runs(labels: Bools) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First hops and last hops + 1 of the runs of anomalous hops."""
    edges = np.diff(labels.astype(np.int8), prepend=0, append=0)
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _soften(labels: Bools, starts: NDArray[np.intp], ends: NDArray[np.intp], buffer: int) -> Floats:
    soft = labels.astype(np.float64)
    for distance in range(1, buffer // 2 + 1):
        flank = np.sqrt(1 - distance / buffer)
        soft[(starts - distance)[starts >= distance]] += flank
        after = ends - 1 + distance
        soft[after[after < len(soft)]] += flank
    return np.minimum(soft, 1.0)


def _share_found(
    first_alarm: NDArray[np.intp], starts: NDArray[np.intp], ends: NDArray[np.intp], levels: int
) -> Floats:
    """[threshold] share of the events, given with their flanks, that hold an alarm."""
    apart = starts[1:] >= ends[:-1]
    begins = np.maximum(starts[np.append(True, apart)], 0)
    finishes = np.minimum(ends[np.append(apart, True)], len(first_alarm))
    found = [first_alarm[begin:finish].min() for begin, finish in zip(begins, finishes, strict=True)]
    return np.cumsum(np.bincount(found, minlength=levels)) / len(found)


class Deployed:
    """The service's own calibration for any method's scores: what its threshold would be under a budget.

    `Calibrator` is made for strangeness, which is ≥ 0 and a mean of logarithms of evidence. So scores, whose normal
    tail should fall about like an exponential as that of evidence does, are shifted by the warm-up's median, divided by
    its distance to the 90th percentile, cut off at 0 (below the median nothing is strange), and become ln(1 + score).
    """

    def __init__(self, warm_up: Floats, block: int, confirm: int, of: int) -> None:
        """Start from a method's held-out warm-up scores [n], in time order; the rest as `Calibrator` takes it."""
        self._centre, high = np.quantile(warm_up, (0.5, 0.9))
        self._spread = max(high - self._centre, _SPREAD_FLOOR * max(1.0, abs(self._centre)))
        self._calibrator = Calibrator(self._levels(warm_up), block, confirm, of)

    def scores(self, scores: Floats) -> Floats:
        """Scores [n] of the method → -log10 of how often normal windows raise an alarm at such a score."""
        return np.array([self._calibrator.score(level)[0] for level in self._levels(scores).tolist()])

    def threshold(self, alarms_per_hop: float) -> Threshold:
        """Return the threshold, on the scale of `scores`, that spends a budget of false alarms."""
        return self._calibrator.threshold(alarms_per_hop)

    def _levels(self, scores: Floats) -> Floats:
        levels: Floats = np.log1p(np.maximum((scores - self._centre) / self._spread, 0.0))
        return levels


def alerts_of(scores: Floats, threshold: float | Floats, rules: AlertRules, hop_secs: float) -> list[AlertHops]:
    """Alerts that the service's own rules would make of a row of scores.

    An incident that opens again within the cooldown is the same alert.

    Parameters
    ----------
    scores
        [hops] ≥ 0 on the scale of the service, such as `Deployed.scores`; NaN where there is no score.
    threshold
        One for all hops, or [hops].
    hop_secs
        Seconds from one score to the next: for the cooldown.
    """
    tracker = IncidentTracker(rules)
    hops: dict[float, AlertHops] = {}  # by the time at which the alert first opened
    limits = np.broadcast_to(threshold, scores.shape).tolist()
    for hop, (score, limit) in enumerate(zip(scores.tolist(), limits, strict=True)):
        changed = tracker.update(_record(hop, score, limit, hop_secs))
        if changed is not None:
            opened, _ = hops.get(changed.opened_at, (hop, None))
            hops[changed.opened_at] = opened, hop if changed.state == "closed" else None
    return list(hops.values())


def _record(hop: int, score: float, threshold: float, hop_secs: float) -> Score:
    known = not np.isnan(score)
    return Score(
        machine="",
        source="",
        start=hop * hop_secs,
        end=(hop + 1) * hop_secs,
        score=score if known else None,
        threshold=threshold,
        alarm=known and score >= threshold,
        trust="prior",
        blank=None if known else "no_data",
        extrapolated=False,
        coverage=1.0,
        model=1,
        evidence={},
        contributions={},
        signals={},
    )


class Operation(NamedTuple):
    """What a row of alerts was worth to whoever is called; counts and hops add up over machines."""

    events: int
    """Those that began while scores were there."""
    caught: int
    overshadowed: int
    """Not caught, while an earlier alert still stood when they began."""
    delays: tuple[int, ...]
    """Of each caught event in hops, from its first hop to the alert's opening."""
    false_alerts: int
    normal_hops: int
    """Scored hops at which an alert that opens is false."""
    exposed_hops: int
    """Those of them at which one can open, because none stands: the time to which a budget of alerts applies."""


def right_hops(event_hops: Sequence[Span], hops: int, grace_hops: int) -> Bools:
    """[hops + grace_hops] whether an alert that opens there is about one of the events [first, last + 1)."""
    right = np.zeros(hops + grace_hops, dtype=bool)
    for first, end in event_hops:
        right[first : end + grace_hops] = True
    return right


def _standing(alerts: Sequence[AlertHops], hops: int) -> Bools:
    """[hops] whether an alert stands that opened before: the hop that closes it can open no other yet."""
    standing = np.zeros(hops, dtype=bool)
    for opened, closed in alerts:
        standing[opened + 1 : hops if closed is None else closed + 1] = True
    return standing


def operation(
    alerts: Sequence[AlertHops],
    event_hops: Sequence[Span],
    scored_hops: Bools,
    grace_hops: int,
    earlier: Sequence[AlertHops] = (),
) -> Operation:
    """Match alerts with events, by the same rule as `appliance.evaluation.truth.compare`.

    Parameters
    ----------
    alerts
        As `alerts_of` returns them.
    event_hops
        Hops [first, last + 1) of each event.
    scored_hops
        [hops] whether there was a score.
    grace_hops
        An alert catches an event if it opens from the event's first hop to that many after its last.
    earlier
        Alerts that are not to be judged, but while which none can open.
    """
    if not scored_hops.any():
        return Operation(0, 0, 0, (), len(alerts), 0, 0)
    watched = np.flatnonzero(scored_hops)[[0, -1]]
    events = [span for span in event_hops if watched[0] <= span[0] <= watched[1]]
    opened = np.sort([hop for hop, _ in alerts])
    rightly = right_hops(events, len(scored_hops), grace_hops)
    delays, overshadowed = [], 0
    for first, end in events:
        which = int(np.searchsorted(opened, first))
        if which < len(opened) and opened[which] < end + grace_hops:
            delays.append(int(opened[which]) - first)
        else:
            overshadowed += any(hop < first and (closed is None or first <= closed) for hop, closed in alerts)
    false_alerts = sum(not rightly[hop] for hop, _ in alerts)
    normal = scored_hops & ~rightly[: len(scored_hops)]
    exposed = normal & ~_standing([*earlier, *alerts], len(scored_hops))
    return Operation(
        len(events), len(delays), overshadowed, tuple(delays), false_alerts, int(normal.sum()), int(exposed.sum())
    )
