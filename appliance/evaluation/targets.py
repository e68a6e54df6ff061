"""Summary → the targets it meets and misses. A claimed gain counts only if its interval lies above zero."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from appliance.evaluation.alerting import RATIO_RANGE, FalseAlerts
from appliance.evaluation.bootstrap import Estimate
from appliance.evaluation.summary import EVERYWHERE, Cell, Summary

Unit = Literal["delta", "share", "ms"]

EVIDENCE_MEAN = "evidence_mean"
HAND_SET_BLEND = "blend"
RIDGE = "ridge"

AGAINST_BEST_SINGLE = 0.05
BELOW_BEST_SINGLE = -0.02
GAINS_AT_5 = {"smd": 0.04, "skab": 0.35, "tep": 0.15, "cnc": 0.15}
"""Dataset → gain at k = 5; the last three hold faults that recur."""
GAINS_AT_1 = {"skab": 0.25}
AGAINST_BLEND = 0.02
AGAINST_RIDGE = 0.05
MOST_HARMED = 0.10
MACHINES_WITHIN = 0.80
ADAPT_MS = 50.0


class Target(NamedTuple):
    """One line of the target table."""

    text: str
    value: float
    interval: tuple[float, float] | None
    """95 %; None where it is unknown."""
    met: bool | None
    """None: cannot be told, for want of an interval."""
    unit: Unit


def targets(summary: Summary) -> list[Target]:
    """Hold a summary against every target for which it has rows."""
    return [
        *_against_best_single(summary),
        *_against_evidence_mean(summary),
        *_gains(summary),
        *_against_learners(summary),
        *_harmed(summary),
        *_alerts(summary),
        *_adaptation(summary),
    ]


def _gain(text: str, found: Estimate, least: float) -> Target:
    """Ask for a gain that is large enough and certain."""
    reached = found.value >= least
    met = reached and found.low > 0 if found.low is not None else (None if reached else False)
    return Target(f"{text} ≥ {least:+.2f}", found.value, _interval(found), met, "delta")


def _no_loss(text: str, found: Estimate, least: float) -> Target:
    """Ask for no more than that the mean does not fall below a bound."""
    bound = f"{least:+.2f}".replace("-", "−") if least else "0"
    return Target(f"{text} ≥ {bound}", found.value, _interval(found), found.value >= least, "delta")


def _interval(found: Estimate) -> tuple[float, float] | None:
    return None if found.low is None or found.high is None else (found.low, found.high)


def _worst(found: Iterable[tuple[str, Estimate | None]]) -> tuple[str, Estimate] | None:
    known = [(name, each) for name, each in found if each is not None]
    return min(known, key=lambda each: each[1].value, default=None)


def _lead(cell: Cell | None) -> Estimate | None:
    """By how much the reference is ahead of a method."""
    return -cell.delta_to_reference if cell is not None and cell.delta_to_reference is not None else None


def _against_best_single(summary: Summary) -> Iterator[Target]:
    text = "k = 0 against the best single detector chosen on the other datasets"
    for best in summary.best_single:
        if best.dataset.lower() == "smd" and best.reference_delta is not None:
            yield _gain(f"{text}, {best.dataset}", best.reference_delta, AGAINST_BEST_SINGLE)
    if summary.best_single_delta is not None:
        yield _gain(f"{text}, mean over datasets", summary.best_single_delta, AGAINST_BEST_SINGLE)
    worst = _worst((best.dataset, best.reference_delta) for best in summary.best_single)
    if worst is not None:
        yield _no_loss(f"{text}, worst dataset ({worst[0]})", worst[1], BELOW_BEST_SINGLE)


def _against_evidence_mean(summary: Summary) -> Iterator[Target]:
    lead = _lead(summary.cell(_widest(summary), EVIDENCE_MEAN))
    if lead is not None:
        yield _no_loss(f"k = 0 against the plain evidence mean, {_where(summary)}", lead, 0.0)


def _gains(summary: Summary) -> Iterator[Target]:
    for k, least_gains in ((1, GAINS_AT_1), (5, GAINS_AT_5)):
        for dataset in summary.datasets:
            cell = summary.cell(dataset, summary.reference, k, "common")
            least = least_gains.get(dataset.lower())
            if cell is not None and cell.gain is not None and least is not None:
                yield _gain(f"k = {k} against own k = 0, {dataset}", cell.gain, least)
    cells = [(dataset, summary.cell(dataset, summary.reference, 1, "common")) for dataset in summary.datasets]
    worst = _worst((dataset, cell.gain) for dataset, cell in cells if cell is not None and _has_learned(cell))
    if worst is not None:
        yield _no_loss(f"k = 1 against own k = 0, worst dataset ({worst[0]})", worst[1], 0.0)


def _against_learners(summary: Summary) -> Iterator[Target]:
    for method, words, ks, least in (
        (HAND_SET_BLEND, "the hand-set blend", range(2, 1000), AGAINST_BLEND),
        (RIDGE, "ridge on the same features", range(1, 6), AGAINST_RIDGE),
    ):
        cells = [cell for cell in _labelled(summary, method) if cell.k in ks]
        worst = _worst((f"k = {cell.k}", _lead(cell)) for cell in cells)
        if worst is not None:
            yield _gain(f"With labels against {words}, {_where(summary)}, worst k ({worst[0]})", worst[1], least)


def _harmed(summary: Summary) -> Iterator[Target]:
    labelled = [cell for cell in _labelled(summary, summary.reference) if _has_learned(cell)]
    cells = [(cell.harmed, cell.k) for cell in labelled if cell.harmed is not None]
    if cells:
        harmed, k = max(cells, key=lambda each: each[0].value)
        text = f"Machines harmed, {_where(summary)}, worst k (k = {k}) ≤ {100 * MOST_HARMED:.0f} %"
        yield Target(text, harmed.value, _interval(harmed), harmed.value <= MOST_HARMED, "share")


def _alerts(summary: Summary) -> Iterator[Target]:
    low, high = RATIO_RANGE
    for kept in summary.false_alerts:
        if kept.method == summary.reference and kept.dataset == _widest(summary):
            text = (
                f"Machines with {low}–{high} of the budgeted false alerts, one a {kept.budget}, "
                f"≥ {100 * MACHINES_WITHIN:.0f} %{_attainable(kept)}"
            )
            share = kept.within
            yield Target(text, share.value, _interval(share), share.value >= MACHINES_WITHIN, "share")


def _attainable(kept: FalseAlerts) -> str:
    return f" (a perfect threshold at these budgets: {100 * kept.within_if_perfect:.0f} %)"


def _adaptation(summary: Summary) -> Iterator[Target]:
    times = [
        (cell.figures["adapt_ms"], cell.k)
        for cell in _labelled(summary, summary.reference)
        if "adapt_ms" in cell.figures
    ]
    if times:
        slowest, k = max(times, key=lambda each: each[0].value)
        text = f"Adaptation, {_where(summary)}, slowest k (k = {k}) ≤ {ADAPT_MS:.0f} ms"
        yield Target(text, slowest.value, _interval(slowest), slowest.value <= ADAPT_MS, "ms")


def _has_learned(cell: Cell) -> bool:
    """Whether labels made any difference: what takes none harms nobody, and has met no target by that."""
    return cell.gain is not None and any((cell.gain.value, cell.gain.low, cell.gain.high))


def _labelled(summary: Summary, method: str) -> list[Cell]:
    """Cells with k > 0 of a method, over as many datasets as there are."""
    where = _widest(summary)
    return [cell for cell in summary.cells if (cell.method, cell.dataset) == (method, where) and cell.k > 0]


def _widest(summary: Summary) -> str:
    return EVERYWHERE if len(summary.datasets) > 1 else summary.datasets[0]


def _where(summary: Summary) -> str:
    return "mean over datasets" if len(summary.datasets) > 1 else summary.datasets[0]
