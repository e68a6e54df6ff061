"""Rows → ``summary.json``: what each method reaches on each dataset, and what it gains, with intervals.

::

    Row ─ grouped ─ Group (one value per machine) ─┬─ estimate ──────────── Cell.figures
                                                   ├─ paired ─ estimate ─── gain · harmed · delta to the reference
                                                   └─ chosen elsewhere ──── BestSingle
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import numpy as np

from appliance.errors import ResultsError
from appliance.evaluation.alerting import FalseAlerts, false_alerts
from appliance.evaluation.bootstrap import LEVEL, RESAMPLES, Estimate, Stratum, estimate
from appliance.evaluation.grouping import METRICS, Groups, Key, grouped, paired
from appliance.evaluation.results import Row, Tail

EVERYWHERE = "all datasets"
"""Stands for the mean over datasets, each of which counts the same."""
HARM = -0.02
"""A machine is harmed by labels if its VUS-PR falls by more than that."""
SINGLE_DETECTORS = ("evidence:*", "river_*", "isolation_forest", "rrcf", "cnn_forecaster")
"""Patterns of the methods that compete for the best single streaming detector."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One method with one amount of labels, on the machines of one dataset or in the mean over datasets."""

    dataset: str
    method: str
    k: int
    tail: Tail
    datasets: int
    """Datasets that entered."""
    machines: int
    clusters: int
    figures: dict[str, Estimate]
    """Metric → mean over machines; metrics that are unknown on all of them are missing."""
    gain: Estimate | None
    """VUS-PR minus the method's own at k = 0 on the same tail, machine by machine; None for k = 0."""
    harmed: Estimate | None
    """Share of machines whose gain is below `HARM`."""
    delta_to_reference: Estimate | None
    """VUS-PR minus the reference method's at the same k and tail; None for that method itself."""


class BestSingle(msgspec.Struct, frozen=True, kw_only=True):
    """The detector that somebody would have picked for a dataset who had only seen the others."""

    dataset: str
    method: str
    figure: Estimate | None
    """Its VUS-PR on the dataset."""
    reference_delta: Estimate | None
    """VUS-PR of the reference method minus that of this one, machine by machine."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the report says about the rows."""

    reference: str
    resamples: int
    level: float
    """Of the intervals."""
    datasets: list[str]
    cells: list[Cell]
    best_single: list[BestSingle]
    """One for each dataset; empty where there is only one dataset or no candidate that ran on all of them."""
    best_single_delta: Estimate | None
    """The reference minus the best single detectors, in the mean over datasets."""
    false_alerts: list[FalseAlerts]
    """Per dataset × method × budget; under `EVERYWHERE` all machines are pooled."""

    def cell(self, dataset: str, method: str, k: int = 0, tail: Tail = "whole") -> Cell | None:
        """Find a cell; None where that was not measured."""
        wanted = (dataset, method, k, tail)
        return next((cell for cell in self.cells if (cell.dataset, cell.method, cell.k, cell.tail) == wanted), None)


def summarise(rows: Sequence[Row], reference: str = "appliance") -> Summary:
    """Condense rows; the same rows in any order give the same summary.

    Raises
    ------
    ResultsError
        There are no rows.
    """
    if not rows:
        raise ResultsError("there are no results to sum up: every machine was skipped; see the reasons given for them")
    groups = grouped(rows)
    datasets = sorted({key.dataset for key in groups})
    settings = sorted({(key.method, key.k, key.tail) for key in groups})
    cells = []
    for method, k, tail in settings:
        keys = [key for dataset in datasets if (key := Key(dataset, method, k, tail)) in groups]
        cells += [_cell(key.dataset, [key], groups, reference) for key in keys]
        if len(keys) > 1:
            cells.append(_cell(EVERYWHERE, keys, groups, reference))
    best = choose_best_single(groups)
    strata = {dataset: _lead(groups, dataset, method, reference) for dataset, method in best.items()}
    return Summary(
        reference=reference,
        resamples=RESAMPLES,
        level=LEVEL,
        datasets=datasets,
        cells=cells,
        best_single=[
            BestSingle(
                dataset=dataset,
                method=method,
                figure=estimate([groups[_unlabelled(dataset, method)].stratum("vus_pr")]),
                reference_delta=estimate(strata[dataset]),
            )
            for dataset, method in best.items()
        ],
        best_single_delta=estimate([stratum for each in strata.values() for stratum in each]),
        false_alerts=false_alerts(rows, EVERYWHERE),
    )


def write_summary(path: Path, summary: Summary) -> None:
    """Write a summary as JSON, unknown as null."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")


def is_single(method: str) -> bool:
    """Whether a method competes for the best single streaming detector."""
    return any(fnmatchcase(method, pattern) for pattern in SINGLE_DETECTORS)


def choose_best_single(groups: Groups) -> dict[str, str]:
    """For each dataset, the single detector with the highest mean VUS-PR over the *other* datasets.

    Only detectors that ran on every dataset compete: a mean over fewer would not compare. No score on the dataset
    itself enters. Empty where there are no others to choose on.
    """
    datasets = sorted({key.dataset for key in groups})
    means = {
        method: {dataset: _mean_vus_pr(groups, dataset, method) for dataset in datasets}
        for method in sorted({key.method for key in groups})
        if is_single(method) and all(_unlabelled(dataset, method) in groups for dataset in datasets)
    }
    if len(datasets) < 2 or not means:
        return {}

    def elsewhere(method: str, dataset: str) -> float:
        return sum(means[method][other] for other in datasets if other != dataset)

    return {dataset: max(means, key=lambda method: elsewhere(method, dataset)) for dataset in datasets}


def _unlabelled(dataset: str, method: str) -> Key:
    return Key(dataset, method, 0, "whole")


def _mean_vus_pr(groups: Groups, dataset: str, method: str) -> float:
    values = groups[_unlabelled(dataset, method)].stratum("vus_pr").known().values
    return float(values.mean()) if len(values) else 0.0


def _lead(groups: Groups, dataset: str, method: str, reference: str) -> list[Stratum]:
    ours = groups.get(_unlabelled(dataset, reference))
    return [] if ours is None else [paired(ours, groups[_unlabelled(dataset, method)])]


def _cell(dataset: str, keys: Sequence[Key], groups: Groups, reference: str) -> Cell:
    ours = [groups[key] for key in keys]
    figures = {metric: estimate([group.stratum(metric) for group in ours]) for metric in METRICS}
    gains = [
        paired(groups[key], groups[key._replace(k=0)]) for key in keys if key.k > 0 and key._replace(k=0) in groups
    ]
    to_reference = [
        paired(groups[key], groups[other])
        for key in keys
        if key.method != reference and (other := key._replace(method=reference)) in groups
    ]
    return Cell(
        dataset=dataset,
        method=keys[0].method,
        k=keys[0].k,
        tail=keys[0].tail,
        datasets=len(keys),
        machines=sum(len(group.machines) for group in ours),
        clusters=sum(len(set(group.clusters)) for group in ours),
        figures={metric: found for metric, found in figures.items() if found is not None},
        gain=estimate(gains),
        harmed=estimate([_harm(gain) for gain in gains]),
        delta_to_reference=estimate(to_reference),
    )


def _harm(gain: Stratum) -> Stratum:
    return Stratum(gain.dataset, gain.machines, gain.clusters, (gain.values < HARM).astype(np.float64))
