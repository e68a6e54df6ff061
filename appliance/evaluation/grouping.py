"""Rows → one value per machine and figure: seeds and draws averaged away, machines paired between methods."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from appliance.evaluation.bootstrap import Stratum
from appliance.evaluation.results import Row, Tail
from appliance.records import Floats

METRICS = (
    "vus_pr",
    "auc_pr",
    "recall_budget",
    "delay_s",
    "false_alerts_per_week",
    "recall_day",
    "delay_day_s",
    "adapt_ms",
    "fit_ms",
    "score_us",
)


class Key(NamedTuple):
    """What is compared with one another: the machines of a dataset under one method and one amount of labels."""

    dataset: str
    method: str
    k: int
    tail: Tail


@dataclass(frozen=True)
class Group:
    """The machines of one key, in order of their names."""

    dataset: str
    machines: tuple[str, ...]
    clusters: tuple[str, ...]
    figures: dict[str, Floats]
    """Metric → [machine], averaged over seeds and draws; NaN where all of them are unknown."""

    def stratum(self, metric: str) -> Stratum:
        """Return one figure of the machines."""
        return Stratum(self.dataset, self.machines, self.clusters, self.figures[metric])


Groups = dict[Key, Group]


def grouped(rows: Iterable[Row]) -> Groups:
    """Gather rows by key, in order of the keys."""
    gathered: dict[Key, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        gathered[Key(row.dataset, row.method, row.k, row.tail)][row.machine].append(row)
    return {key: _group(key.dataset, gathered[key]) for key in sorted(gathered)}


def paired(left: Group, right: Group, metric: str = "vus_pr") -> Stratum:
    """Left minus right, machine by machine, where both are known."""
    where = {machine: i for i, machine in enumerate(right.machines)}
    both = [(i, where[machine]) for i, machine in enumerate(left.machines) if machine in where]
    ours, theirs = ([pair[side] for pair in both] for side in (0, 1))
    return Stratum(
        left.dataset,
        tuple(left.machines[i] for i in ours),
        tuple(left.clusters[i] for i in ours),
        left.figures[metric][ours] - right.figures[metric][theirs],
    ).known()


def _group(dataset: str, machines: dict[str, list[Row]]) -> Group:
    names = tuple(sorted(machines))
    return Group(
        dataset,
        names,
        tuple(machines[name][0].cluster for name in names),
        {metric: np.array([_mean(machines[name], metric) for name in names]) for metric in METRICS},
    )


def _mean(rows: Iterable[Row], metric: str) -> float:
    known = sorted(value for row in rows if (value := getattr(row, metric)) is not None)
    return sum(known) / len(known) if known else np.nan
