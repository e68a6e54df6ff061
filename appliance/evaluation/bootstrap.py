"""Values of machines → an estimate with its interval, by drawing whole clusters of machines again.

Machines of one cluster are alike, so the cluster is what was sampled: the cluster bootstrap of Davison and Hinkley,
*Bootstrap Methods and their Application* (1997), section 3.8, with percentile intervals.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from appliance.records import Floats

RESAMPLES = 2000
SEED = 20
LEVEL = 0.95
FEWEST_CLUSTERS = 2
"""Of a single cluster every draw is the same: it says nothing about its variation."""


class Estimate(msgspec.Struct, frozen=True):
    """A figure over machines with its 95 % interval, which is None where no dataset has two clusters."""

    value: float
    low: float | None
    high: float | None
    machines: int
    clusters: int

    def __neg__(self) -> Estimate:
        """Return the estimate of the opposite difference."""
        low = None if self.high is None else -self.high
        high = None if self.low is None else -self.low
        return Estimate(-self.value, low, high, self.machines, self.clusters)


@dataclass(frozen=True)
class Stratum:
    """One figure on the machines of one dataset; datasets are fixed, the machines in them are drawn."""

    dataset: str
    machines: tuple[str, ...]
    clusters: tuple[str, ...]
    """The cluster of each machine."""
    values: Floats
    """[machine], NaN where unknown."""

    def known(self) -> Stratum:
        """Leave out machines where the figure is unknown."""
        keep = np.flatnonzero(~np.isnan(self.values))
        return Stratum(
            self.dataset,
            tuple(self.machines[i] for i in keep),
            tuple(self.clusters[i] for i in keep),
            self.values[keep],
        )


def estimate(strata: Sequence[Stratum]) -> Estimate | None:
    """Average over machines, then over datasets, each of which counts the same.

    A dataset with one cluster enters with its mean, as if it were certain. None where nothing is known.
    """
    filled = [stratum for each in strata if len((stratum := each.known()).machines)]
    if not filled:
        return None
    value = float(np.mean([stratum.values.mean() for stratum in filled]))
    sums = [
        resampled_sums(stratum, np.stack([stratum.values, np.ones(len(stratum.machines))], axis=1))
        for stratum in filled
    ]
    draws = np.mean([each[:, 0] / each[:, 1] for each in sums], axis=0)
    return with_interval(value, draws, filled)


def pooled_ratio(strata: Sequence[Stratum], denominators: Sequence[Floats]) -> Estimate:
    """Sum over all machines of all datasets, divided by the sum of the denominators [machine] of each dataset."""
    columns = [np.stack([s.values, below], axis=1) for s, below in zip(strata, denominators, strict=True)]
    total = np.sum([each.sum(axis=0) for each in columns], axis=0)
    draws = np.sum([resampled_sums(s, each) for s, each in zip(strata, columns, strict=True)], axis=0)
    return with_interval(float(total[0] / total[1]), draws[:, 0] / draws[:, 1], strata)


def with_interval(value: float, draws: Floats, strata: Sequence[Stratum]) -> Estimate:
    """Put the percentile interval of resampled values [draw] around a value."""
    machines = sum(len(stratum.machines) for stratum in strata)
    clusters = [len(set(stratum.clusters)) for stratum in strata]
    if max(clusters) < FEWEST_CLUSTERS:
        return Estimate(value, None, None, machines, sum(clusters))
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high), machines, sum(clusters))


def resampled_sums(stratum: Stratum, columns: Floats) -> Floats:
    """Draw the clusters with replacement and sum over the machines of those drawn.

    Parameters
    ----------
    columns
        [machine, column]

    Returns
    -------
    sums
        [draw, column]
    """
    names, codes = np.unique(stratum.clusters, return_inverse=True)
    per_cluster = np.zeros((len(names), columns.shape[1]))
    np.add.at(per_cluster, codes, columns)
    return cluster_counts(stratum.dataset, len(names)) @ per_cluster


@lru_cache(maxsize=256)
def cluster_counts(dataset: str, clusters: int) -> NDArray[np.float64]:
    """How often each cluster is drawn [draw, cluster]; independent between datasets, the same in every run."""
    rng = np.random.default_rng([SEED, zlib.crc32(dataset.encode())])
    return rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=RESAMPLES).astype(np.float64)
