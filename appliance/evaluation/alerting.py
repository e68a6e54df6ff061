"""False alerts against their budget: whether a threshold delivers what it promised, as far as counts can tell.

While an alert stands no other can be raised: as in the service itself, the budget is that of the normal time in which
none does. A perfect threshold raises false alerts as a Poisson process at the budgeted rate. Where the budget allows
one over that time, even that one gives a ratio within 0.5 to 1.5 only 37 times in a hundred: every share therefore
stands beside the one that a perfect threshold would reach at the same budgets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import poisson

from appliance.evaluation.bootstrap import LEVEL, Estimate, Stratum, pooled_ratio
from appliance.evaluation.results import Row
from appliance.records import Floats

Budget = Literal["week", "day"]

RATIO_RANGE = (0.5, 1.5)
"""The target for realised ÷ budgeted."""
ENOUGH_ALERTS = 5.0
"""Budgeted alerts from which on the ratio says more about the threshold than about chance."""


class FalseAlerts(msgspec.Struct, frozen=True, kw_only=True):
    """How one method kept one budget, on the machines of one dataset or of all together."""

    dataset: str
    method: str
    budget: Budget
    """One false alert in that time."""
    realised: float
    """False alerts, summed over machines."""
    budgeted: float
    ratio: Estimate
    """Realised ÷ budgeted, pooled over machines."""
    within: Estimate
    """Share of machines with a ratio in `RATIO_RANGE`."""
    within_if_perfect: float
    enough_machines: int
    """Machines whose budget allowed at least `ENOUGH_ALERTS`."""
    within_enough: float | None
    """As ``within``, among those; None where there are none."""
    within_enough_if_perfect: float | None
    consistent: Estimate
    """Share of machines whose count a Poisson process at the budgeted rate would not make unlikely (two-sided, 5 %)."""
    consistent_if_perfect: float


class Watched(NamedTuple):
    """What a method raised on the machines of one dataset."""

    realised: Stratum
    within: Stratum
    consistent: Stratum
    budgeted: Floats
    """[machine]"""


def false_alerts(rows: Iterable[Row], everywhere: str) -> list[FalseAlerts]:
    """Hold false alerts against budgets, for methods without labels on everything after the warm-up.

    Parameters
    ----------
    everywhere
        The name under which all machines of all datasets stand, where there are several.
    """
    unlabelled = [row for row in rows if row.k == 0 and row.tail == "whole"]
    found = []
    for budget in ("week", "day"):
        gathered: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for row in unlabelled:
            if counted(row, budget) is not None:
                gathered[row.method][row.dataset].append(row)
        for method, datasets in sorted(gathered.items()):
            watched = {dataset: _watched(dataset, datasets[dataset], budget) for dataset in sorted(datasets)}
            found += [_kept(dataset, method, budget, [each]) for dataset, each in watched.items()]
            if len(watched) > 1:
                found.append(_kept(everywhere, method, budget, list(watched.values())))
    return found


def counted(row: Row, budget: Budget) -> tuple[int, float] | None:
    """Return false alerts and how many were budgeted; None where either is unknown or no time was watched."""
    count, allowed = (
        (row.false_alerts, row.budget_alerts) if budget == "week" else (row.false_alerts_day, row.budget_alerts_day)
    )
    return (count, allowed) if count is not None and allowed else None


def poisson_range(budgeted: ArrayLike) -> tuple[Floats, Floats]:
    """Lowest and highest counts that are not unlikely at these budgets: each tail beyond holds at most 2.5 %."""
    low, high = poisson.interval(LEVEL, budgeted)
    return np.asarray(low), np.asarray(high)


def is_within(counts: ArrayLike, budgeted: ArrayLike) -> NDArray[np.bool_]:
    """Whether realised ÷ budgeted lies in `RATIO_RANGE`."""
    low, high = RATIO_RANGE
    ratio = np.asarray(counts, dtype=float) / budgeted
    return (low <= ratio) & (ratio <= high)


def within_if_perfect(budgeted: ArrayLike) -> Floats:
    """Probability that a Poisson count with this mean lies within `RATIO_RANGE` of it."""
    means = np.asarray(budgeted, dtype=float)
    low, high = RATIO_RANGE
    shares: Floats = poisson.cdf(np.floor(high * means), means) - poisson.cdf(np.ceil(low * means) - 1, means)
    return shares


def consistent_if_perfect(budgeted: ArrayLike) -> Floats:
    """Probability that a Poisson count with this mean lies in its own `poisson_range`: a little above 95 %."""
    low, high = poisson_range(budgeted)
    shares: Floats = poisson.cdf(high, budgeted) - poisson.cdf(low - 1, budgeted)
    return shares


def _watched(dataset: str, rows: Iterable[Row], budget: Budget) -> Watched:
    machines: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        machines[row.machine].append(row)
    names = tuple(sorted(machines))
    figures = np.array([_figures(machines[name], budget) for name in names])
    clusters = tuple(machines[name][0].cluster for name in names)
    realised, within, consistent = (Stratum(dataset, names, clusters, figures[:, i]) for i in range(3))
    return Watched(realised, within, consistent, figures[:, 3])


def _figures(rows: Sequence[Row], budget: Budget) -> Floats:
    """Count, within, consistent and budget of one machine, averaged over seeds and draws."""
    counts, budgeted = np.array([counted(row, budget) for row in rows], dtype=float).T
    low, high = poisson_range(budgeted)
    columns = (counts, is_within(counts, budgeted), (low <= counts) & (counts <= high), budgeted)
    return np.array([np.mean(column) for column in columns])


def _kept(dataset: str, method: str, budget: Budget, watched: Sequence[Watched]) -> FalseAlerts:
    budgets = np.concatenate([each.budgeted for each in watched])
    within = np.concatenate([each.within.values for each in watched])
    enough = budgets >= ENOUGH_ALERTS
    ratio = pooled_ratio([each.realised for each in watched], [each.budgeted for each in watched])
    return FalseAlerts(
        dataset=dataset,
        method=method,
        budget=budget,
        realised=float(sum(each.realised.values.sum() for each in watched)),
        budgeted=float(budgets.sum()),
        ratio=ratio,
        within=_share([each.within for each in watched]),
        within_if_perfect=float(within_if_perfect(budgets).mean()),
        enough_machines=int(enough.sum()),
        within_enough=float(within[enough].mean()) if enough.any() else None,
        within_enough_if_perfect=float(within_if_perfect(budgets[enough]).mean()) if enough.any() else None,
        consistent=_share([each.consistent for each in watched]),
        consistent_if_perfect=float(consistent_if_perfect(budgets).mean()),
    )


def _share(strata: Sequence[Stratum]) -> Estimate:
    return pooled_ratio(strata, [np.ones(len(stratum.machines)) for stratum in strata])
