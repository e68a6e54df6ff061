"""Whether what labels bring holds where nothing was chosen: traces of all machines → here → priors and a table.

For every dataset the prior of adaptation is chosen again on the *other* datasets only, from a grid of round numbers,
and measured on the one left out, beside the prior that is shipped and the hand-set blend.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from itertools import product

import msgspec
import numpy as np

from appliance.adapt.adapters.base import assembled, blended, examples_of, grounds_of
from appliance.adapt.adapters.ridge import Ridge, shares_of
from appliance.adapt.prior import KNOTS, Prior
from appliance.detect.head import oddities
from appliance.errors import ResultsError
from appliance.evaluation.adapted import Traced, known_at
from appliance.evaluation.bootstrap import Estimate, Stratum, estimate
from appliance.evaluation.held_out import splits_of
from appliance.evaluation.methods import Support
from appliance.evaluation.metrics import vus_pr
from appliance.evaluation.summary import HARM
from appliance.evaluation.trials import Trial
from appliance.records import Floats

_SHIPPED = Prior()
_MOST_HARMED = 0.1
"""Share of machines with any number of labels, but one machine always: a gain in the mean must not be bought with many
that get worse."""
_MOST_GAIN = 0.3
"""Of one machine with one number of labels: none may choose the prior for all."""


NEVER = 1000.0
"""Surprise that no event has."""
_NOTHING = (0.0,) * len(KNOTS)
_SHARES = (
    *(tuple(min(0.95, by * share) for share in _SHIPPED.share) for by in (2 / 3, 1.0, 4 / 3)),
    *(tuple(by * share for share in (0.3, 0.5, 0.75, 0.9)) for by in (2 / 3, 1.0)),
)
"""Of the labelled parts, rising to ten labels or to five."""
FITS = (((3.0, 2.0), 0.3), *product(((10.0, 5.0),), (0.1, 0.3, 1.0)))
"""Penalties of the discriminants, by loudness and by rank, and of the logistic regression."""
_HALF = (0.0, 0.5, 0.5, 0.5)
_MIXES = (
    (_NOTHING, _NOTHING),
    ((0.5,) * len(KNOTS), _NOTHING),
    *product((_HALF, _SHIPPED.by_rank, (0.0, 1.0, 1.0, 1.0)), (_NOTHING, _HALF, _SHIPPED.by_logistic)),
)
"""Share of the parts made of ranks, and of the logistic regression in them."""
_LIKENESS = (_NOTHING, _SHIPPED.boost)
_LOOKS = (
    (_NOTHING, 1.2, 1.3),
    ((0.15, 0.3, 0.3, 0.3), 1.2, 1.3),
    *product((_SHIPPED.look,), (1.2, 1.3), (0.0, 1.3)),
)
"""Share of the look of events, up to which surprise they are ordinary, and from where they are alike."""
GRID: list[Prior] = [
    Prior(
        share=share,
        by_rank=by_rank,
        by_logistic=by_logistic,
        boost=boost,
        surprise=surprising,
        look=look_share,
        ordinary=ordinary,
        alike=alike,
        ridge=ridge,
        ridge_by_rank=ridge_by_rank,
        logistic=logistic,
    )
    for (
        ((ridge, ridge_by_rank), logistic),
        share,
        (by_rank, by_logistic),
        boost,
        surprising,
        (look_share, ordinary, alike),
    ) in product(FITS, _SHARES, _MIXES, _LIKENESS, (2.4, NEVER), _LOOKS)
    if any(by_logistic) or logistic == _SHIPPED.logistic
]

_BLINDEST = max(GRID, key=lambda prior: prior.ordinary)
_ALL_PARTS = replace(_SHIPPED, by_rank=(0.5,) * len(KNOTS), by_logistic=(0.5,) * len(KNOTS))


class Gains(msgspec.Struct, frozen=True):
    """What each prior of the grid would have brought on one machine."""

    dataset: str
    machine: str
    cluster: str
    licence: str
    by_k: dict[int, list[float]]
    """Number of labelled faults → [prior] VUS-PR on the common tail less that without labels."""


class HeldOutPrior(msgspec.Struct, frozen=True):
    """What a prior reaches on machines on which it was not chosen."""

    tested_on: str
    chosen_on: str
    prior: dict[str, object]
    gain: dict[int, Estimate]
    """k → gain over no labels of the prior that was chosen elsewhere."""
    harmed: dict[int, float]
    """k → share of machines that lose more than 0.02."""
    shipped: dict[int, float]
    """k → mean gain of the shipped prior, on the same machines."""
    best: dict[int, float]
    """k → mean gain of the prior that is best on these machines: what nobody could have known."""


def gains(trial: Trial, traced: Traced, supports: Mapping[int, Support], start: int) -> Gains:
    """Measure every prior of the grid on one machine.

    Parameters
    ----------
    supports
        Number of labelled faults → what is known then.
    start
        First hop of the common tail.
    """
    tail, buffer = traced.test[slice(start, None)], max(1, trial.length // trial.hop)
    labels = trial.test_labels[start:]
    without = vus_pr(np.nan_to_num(tail.strangeness), labels, buffer)
    by_k = {}
    for k, support in supports.items():
        known = known_at(trial, traced, support)
        gained: dict[Prior, float] = {}
        if known.k:
            examples, ranks = examples_of(known)
        for (ridge, ridge_by_rank), logistic in FITS if known.k else ():
            fit = replace(_ALL_PARTS, ridge=ridge, ridge_by_rank=ridge_by_rank, logistic=logistic)
            parts, _ = Ridge().parts(fit, examples)
            head = assembled(examples, ranks, parts)
            grounds = grounds_of(_BLINDEST, known, examples, head)
            assert head.likeness is not None
            assert head.tails is not None
            energy = np.log1p(head.tails.energies(oddities(ranks, head.parts, head.likeness, tail)))
            energy[np.isnan(tail.strangeness)] = 0.0
            figures = cache(lambda blend, energy=energy: vus_pr(blend.of(energy), labels, buffer) - without)
            for prior in GRID:
                if (prior.ridge, prior.ridge_by_rank, prior.logistic) == (ridge, ridge_by_rank, logistic):
                    gained[prior] = figures(blended(prior, grounds, shares_of(prior, k)))
        by_k[k] = [gained.get(prior, 0.0) for prior in GRID]
    return Gains(trial.dataset, trial.machine, trial.cluster, trial.licence or "unknown", by_k)


def held_out_priors(machines: Iterable[Gains]) -> list[HeldOutPrior]:
    """Choose the prior for each dataset on all others, and for each group of machines on the other groups.

    Raises
    ------
    ResultsError
        There is nothing to choose on beside what is tested.
    """
    splits = splits_of(machines)
    if not splits:
        raise ResultsError("a prior is chosen on other datasets than the tested one: name at least two with events")
    return [_tested(name, parts) for parts in splits for name in parts]


def chosen_on_all(machines: Iterable[Gains]) -> Prior:
    """Return the prior that is best on all datasets, to be used where none of them is tested on."""
    datasets: dict[str, list[Gains]] = {}
    for machine in machines:
        datasets.setdefault(machine.dataset, []).append(machine)
    return GRID[chosen(datasets.values())]


def chosen(parts: Iterable[Sequence[Gains]]) -> int:
    """Return which prior of the grid is best on some datasets, each of which counts the same, of those that do no harm.

    Those that harm more than a tenth of the machines come after all others, the worst last. The shipped one where none
    is better.
    """
    datasets = list(parts)
    harm = _excess_harm([machine for machines in datasets for machine in machines])
    worth = np.mean([np.mean([_worth(machine) for machine in machines], axis=0) for machines in datasets], axis=0)
    best, shipped = int(np.lexsort((-worth, harm))[0]), GRID.index(_SHIPPED)
    return shipped if harm[shipped] <= harm[best] and worth[shipped] >= worth[best] - 1e-9 else best


def _worth(machine: Gains) -> Floats:
    """[prior] what a prior is worth on one machine, in VUS-PR."""
    return np.asarray(np.mean(np.minimum(list(machine.by_k.values()), _MOST_GAIN), axis=0))


def _excess_harm(machines: Sequence[Gains]) -> Floats:
    """[prior] share of machines that a prior harms beyond those that it may, summed over the numbers of labels."""
    excess = np.zeros(len(GRID))
    for k in {k for machine in machines for k in machine.by_k}:
        harmed = np.array([machine.by_k[k] for machine in machines if k in machine.by_k]) < HARM
        excess += np.maximum(harmed.sum(axis=0) - max(1, int(_MOST_HARMED * len(harmed))), 0) / len(harmed)
    return excess


def _tested(name: str, parts: Mapping[str, Sequence[Gains]]) -> HeldOutPrior:
    prior = chosen(machines for other, machines in parts.items() if other != name)
    shipped, best = GRID.index(_SHIPPED), chosen([parts[name]])
    ks = sorted({k for machine in parts[name] for k in machine.by_k})
    gain: dict[int, Estimate] = {}
    harmed, of_shipped, of_best = {}, {}, {}
    for k in ks:
        tested = [machine for machine in parts[name] if k in machine.by_k]
        values = np.array([machine.by_k[k] for machine in tested])
        names, clusters = (tuple(getattr(each, what) for each in tested) for what in ("machine", "cluster"))
        found = estimate([Stratum(name, names, clusters, values[:, prior])])
        assert found is not None
        gain[k] = found
        harmed[k] = float(np.mean(values[:, prior] < HARM))
        of_shipped[k], of_best[k] = float(values[:, shipped].mean()), float(values[:, best].mean())
    others = ", ".join(other for other in parts if other != name)
    return HeldOutPrior(name, others, asdict(GRID[prior]), gain, harmed, of_shipped, of_best)
