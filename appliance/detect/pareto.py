"""Block maxima → how rare a level is among them: counted in the sample, generalised Pareto beyond → calibrate."""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from appliance.records import Floats

_TAIL_SHARE = 0.3
"""The share of the block maxima from which the tail beyond them is fitted."""
_CENSORED_SHARE = 0.05
"""The highest block maxima count as "at least this": strange events in the sample do not stretch the tail."""
_SHAPE, _SHAPE_SPREAD = -0.3, 0.05
"""Prior of the shape, normal: strangeness is a mean of logarithms of evidence, whose tail falls faster than an
exponential. Set on recorded and simulated machines: at -0.2 they spend half of a budget of one alert a week, at -0.4
they overspend it more often."""
_SCALE, _SCALE_SPREAD = math.log(0.23), 0.5
"""Prior of the log scale, normal: means of logarithms of evidence are alike on all machines. Of 75 recorded ones half
had a scale between 0.17 and 0.28, nine in ten between 0.12 and 0.39. It decides where few windows were seen, and is
soon outweighed: without it, a jump of sixty spreads after a quarter of an hour's warm-up raised no alarm."""
_SHAPES: Floats = np.linspace(_SHAPE - 3 * _SHAPE_SPREAD, _SHAPE + 3 * _SHAPE_SPREAD, 7)[:, None]  # (shape, 1)
_SCALES: Floats = np.exp(np.linspace(-1.2, 1.8, 13))[None, :]  # (1, scale) in mean exceedances
_EXCEEDANCES: Floats = np.append(np.arange(1, 17) / 4, 4 * 10 ** (np.arange(1, 25) / 24))
"""At which the tail is tabulated, in mean exceedances."""
_LEAST_LOG = -7.0
"""Log share of the exceedances to which the tail is tabulated. From there it goes on as an exponential: light tails
end, and every level needs a finite score."""


def tail_start(n: int) -> int:
    """Return which of ``n`` maxima, counted from the lowest, the tail begins at."""
    return int(n * (1 - _TAIL_SHARE))


class Tail:
    """How rare each level of strangeness is among block maxima.

    Inside the sample it is counted: the next block exceeds the ``r``-th highest of ``n`` with probability
    ``r / (n + 1)``, whatever the distribution, as long as blocks are exchangeable (conformal p: Vovk, Gammerman and
    Shafer 2005, section 2.2).

    Above the 70th percentile exceedances are taken to be generalised Pareto (Pickands 1975; Coles 2001, ch. 4). With
    few of them a plugged-in estimate promises too rare alarms, so what is used is the predictive distribution, the mean
    over the posterior of scale and shape, computed on a grid: normal priors of log scale and shape, to which a
    small sample is shrunk (compare Zhang & Stephens 2009, who average over a posterior for the same reason).
    """

    def __init__(self, maxima: NDArray[np.float32], least_scale: float) -> None:
        """Fit the maxima [n], n ≥ 1; ``least_scale`` bounds the mean exceedance from below, in strangeness."""
        ordered = np.sort(maxima.astype(np.float64))
        n = len(ordered)
        start, end = tail_start(n), max(int(n * (1 - _CENSORED_SHARE)), 1)
        inside = np.log(np.arange(n, 0, -1) / (n + 1))[: start + 1]
        begin = ordered[start]
        exceedances = np.minimum(ordered[start + 1 :], ordered[end - 1]) - begin
        known = np.arange(start + 1, n) < end
        self.scale = max(float(exceedances.sum()) / max(int(known.sum()), 1), least_scale)
        """Mean exceedance inside the sample."""
        beyond = _predictive(exceedances / self.scale, known, math.log(self.scale))
        reached = max(int(np.searchsorted(-beyond, -_LEAST_LOG)), 2)
        self._levels: list[float] = [
            0.0,
            *ordered[: start + 1].tolist(),
            *(begin + self.scale * _EXCEEDANCES[:reached]).tolist(),
        ]
        self._log_shares: list[float] = [0.0, *inside.tolist(), *(inside[-1] + beyond[:reached]).tolist()]
        self.highest = float(ordered[-1])

    def log_share(self, level: float) -> float:
        """Log share of the blocks that reach a level."""
        levels, shares = self._levels, self._log_shares
        above = min(bisect_left(levels, level), len(levels) - 1)
        if above == 0:
            return 0.0
        part = (level - levels[above - 1]) / (levels[above] - levels[above - 1])
        return shares[above - 1] + part * (shares[above] - shares[above - 1])

    def level(self, log_share: float) -> float:
        """Return the level that a share of the blocks reaches: the inverse of `log_share`."""
        levels, shares = self._levels, self._log_shares
        above = min(bisect_left(shares, -log_share, key=lambda share: -share), len(shares) - 1)
        if above == 0:
            return 0.0
        part = (log_share - shares[above - 1]) / (shares[above] - shares[above - 1])
        return levels[above - 1] + part * (levels[above] - levels[above - 1])


def _predictive(exceedances: Floats, known: NDArray[np.bool_], log_mean: float) -> Floats:
    """Log probability that the next exceedance is larger than each of `_EXCEEDANCES`, in mean exceedances.

    ``exceedances`` [k] are exact where ``known`` and else lower bounds, which count with their probability instead of
    their density. ``log_mean`` is the log of the mean exceedance in strangeness.
    """
    ratio = _SHAPES / _SCALES
    with np.errstate(divide="ignore", invalid="ignore"):  # shapes whose tail ends before the sample does
        logs = np.log1p(exceedances[:, None, None] * ratio)  # (exceedance, shape, scale)
        beyond = np.log1p(_EXCEEDANCES[:, None, None] * ratio) / -_SHAPES  # (level, shape, scale)
    posterior = -known.sum() * np.log(_SCALES) - (logs * (known[:, None, None] + 1 / _SHAPES)).sum(axis=0)
    posterior = np.where(np.isfinite(posterior), posterior, -np.inf)
    posterior -= np.square((_SHAPES - _SHAPE) / _SHAPE_SPREAD) / 2
    posterior -= np.square((np.log(_SCALES) + log_mean - _SCALE) / _SCALE_SPREAD) / 2
    weights = np.exp(posterior - posterior.max())
    survival = np.exp(np.where(np.isfinite(beyond), beyond, -np.inf))
    shares = np.einsum("sc,lsc->l", weights / weights.sum(), survival)
    logs_of_shares: Floats = np.log(np.maximum(shares, math.exp(2 * _LEAST_LOG)))
    return logs_of_shares
