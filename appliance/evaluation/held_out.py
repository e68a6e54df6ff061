"""Whether the weights of the time scales hold where they were not chosen: loudness of all machines → here → a table.

For every dataset the weights are chosen again on the *other* datasets only, from a grid of round numbers, and measured
on the one left out, beside the weights that are shipped and the best that could have been chosen in hindsight.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
import numpy as np

from appliance.detect.scales import SCALES
from appliance.errors import ResultsError
from appliance.evaluation.bootstrap import Estimate, Stratum, estimate
from appliance.evaluation.loudness import loudness
from appliance.evaluation.metrics import vus_pr
from appliance.evaluation.trials import Trial
from appliance.records import Floats

Weights = tuple[float, ...]
"""Of each of `SCALES`."""

GRID = [weights for weights in product((0.0, 0.25, 0.5, 1.0), repeat=len(SCALES)) if max(weights) == 1.0]
"""Only their ratios count, so the largest is always 1."""
SHIPPED = tuple(scale.weight for scale in SCALES)
GROUPS = re.compile(r"machine-(\d)-")
"""Machines so named come in groups that share nothing: one group is chosen on another, too."""
_NO_BETTER = 1e-9
"""In VUS-PR: sums in another order."""


class HeldOut(msgspec.Struct, frozen=True):
    """What weights reach on machines on which they were not chosen."""

    tested_on: str
    chosen_on: str
    weights: Weights
    vus_pr: float
    shipped: float
    """VUS-PR of the shipped weights, on the same machines."""
    gain: Estimate
    """Of the chosen over the shipped, machine by machine."""
    best_weights: Weights
    best: float
    """Of the best in hindsight: what nobody could have known."""
    window_only: float
    """Of the window alone, no other scale."""


class Judged(msgspec.Struct, frozen=True):
    """One machine under every choice of weights."""

    dataset: str
    machine: str
    cluster: str
    vus_pr: list[float]
    """[weights], in the order of `GRID`."""


def judge(trial: Trial, cache: Path) -> Judged | None:
    """Measure every choice of weights on one machine; None where there is no event to be found."""
    heard = loudness(trial, cache)
    loud, buffer = np.nan_to_num(heard, nan=0.0), max(1, trial.length // trial.hop)
    figures = [vus_pr(loud @ _shares(weights, heard), trial.test_labels, buffer) for weights in GRID]
    return None if np.isnan(figures[0]) else Judged(trial.dataset, trial.machine, trial.cluster, figures)


def _shares(weights: Weights, heard: Floats) -> Floats:
    """[scale] shares of the scales that are heard at any hop; all alike where the weights leave none of them."""
    there = np.where(np.isfinite(heard).any(axis=0), 1.0, 0.0)
    shares = np.array(weights) * there
    shares = shares if shares.any() else there
    return np.asarray(shares / shares.sum())


def held_out(machines: Iterable[Judged]) -> list[HeldOut]:
    """Choose the weights for each dataset on all others, and for each group of machines on the other groups.

    Raises
    ------
    ResultsError
        There is nothing to choose on beside what is tested.
    """
    splits = splits_of(machines)
    if not splits:
        raise ResultsError("weights are chosen on other datasets than the tested one: name at least two with events")
    return [_tested(name, parts) for parts in splits for name in parts]


class Measured(Protocol):
    """One machine, with whatever was measured on it."""

    @property
    def dataset(self) -> str:
        """Where it was recorded."""

    @property
    def machine(self) -> str:
        """Its name there."""


M = TypeVar("M", bound=Measured)


def splits_of(machines: Iterable[M]) -> list[dict[str, list[M]]]:
    """Return the ways to choose on some machines and test on others: name of a part → its machines.

    By dataset, and of a dataset in groups by group; where there is one part only nothing can be held out.
    """
    datasets: dict[str, list[M]] = {}
    groups: dict[str, dict[str, list[M]]] = {}
    for machine in sorted(machines, key=lambda each: (each.dataset, each.machine)):
        datasets.setdefault(machine.dataset, []).append(machine)
        if group := GROUPS.match(machine.machine):
            groups.setdefault(machine.dataset, {}).setdefault(f"{machine.dataset} group {group[1]}", []).append(machine)
    return [parts for parts in (datasets, *groups.values()) if len(parts) > 1]


def _tested(name: str, parts: Mapping[str, list[Judged]]) -> HeldOut:
    others = {other: _mean(machines) for other, machines in parts.items() if other != name}
    chosen, shipped = _best(np.mean(list(others.values()), axis=0)), GRID.index(SHIPPED)
    own = _mean(parts[name])
    best = _best(own)
    tested = parts[name]
    gains = np.array([machine.vus_pr[chosen] - machine.vus_pr[shipped] for machine in tested])
    names, clusters = (tuple(getattr(each, what) for each in tested) for what in ("machine", "cluster"))
    gain = estimate([Stratum(name, names, clusters, gains)])
    assert gain is not None
    return HeldOut(
        tested_on=name,
        chosen_on=", ".join(others),
        weights=GRID[chosen],
        vus_pr=float(own[chosen]),
        shipped=float(own[shipped]),
        gain=gain,
        best_weights=GRID[best],
        best=float(own[best]),
        window_only=float(own[GRID.index((1.0, *[0.0] * (len(SCALES) - 1)))]),
    )


def _best(figures: Floats) -> int:
    """Return which weights are best; the shipped ones where none is better."""
    best, shipped = int(figures.argmax()), GRID.index(SHIPPED)
    return shipped if figures[shipped] >= figures[best] - _NO_BETTER else best


def _mean(machines: Iterable[Judged]) -> Floats:
    """[weights] mean VUS-PR over machines."""
    return np.asarray(np.mean([machine.vus_pr for machine in machines], axis=0))
