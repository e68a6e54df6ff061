"""What is known before a machine's first label: how far labels are to be trusted, learned on other machines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np

from appliance.records import Floats

PREFIX = "adaptation."
"""Of the names of a bundle's tensors that are a prior of adaptation."""
KNOTS = (1, 2, 5, 10)
"""Numbers of labelled faults for which a weight is kept; between them they are interpolated in log k."""


@dataclass(frozen=True)
class Prior:
    """Meta-parameters of adaptation. The defaults are those that come with the package."""

    share: tuple[float, ...] = (0.3, 0.5, 0.5, 0.75)
    """[knot] of the labelled parts against the prior's strangeness."""
    by_rank: tuple[float, ...] = (0.0, 0.75, 0.75, 0.75)
    """[knot] of the parts made of ranks among all normal windows so far, against those of the warm-up's ranks."""
    by_logistic: tuple[float, ...] = (0.0, 0.75, 0.75, 0.75)
    """[knot] of the logistic regression among the parts made of ranks, against the discriminant."""
    boost: tuple[float, ...] = (2.0, 2.0, 2.0, 2.0)
    """[knot] of likeness to a labelled event beyond ``certain``."""
    certain: float = 2.2
    """ln(1 + -ln tail rank) of likeness from which it is no accident."""
    surprise: float = 2.4
    """ln(1 + -ln tail rank) of labelled events under the prior from which labels add nothing, because it knew."""
    look: tuple[float, ...] = (0.3, 0.5, 0.5, 0.5)
    """[knot] of looking like a labelled event, where detectors are blind to the events and the events look alike."""
    ordinary: float = 1.2
    """ln(1 + -ln tail rank) of labelled events under the parts that were made to find them, below which detectors are
    blind to them: one normal window in ten is as odd."""
    alike: float = 1.3
    """ln(1 + -ln tail rank) of labelled events under similarity to each other from which they are alike."""
    ridge: float = 10.0
    """Penalty on weights by loudness, in variances of the normal windows."""
    ridge_by_rank: float = 5.0
    """The same on weights by rank."""
    logistic: float = 0.3
    """Penalty of the logistic regression for one labelled fault; k faults have the k-th part of it."""

    def tensors(self) -> dict[str, Floats]:
        """Return its numbers by name, for a bundle: [knot], or [1]."""
        return {f"{PREFIX}{name}": np.atleast_1d(np.array(value)) for name, value in asdict(self).items()}

    @classmethod
    def of(cls, tensors: Mapping[str, Floats]) -> Self:
        """Build it from what `tensors` returned."""
        found: dict[str, list[float]] = {field.name: tensors[f"{PREFIX}{field.name}"].tolist() for field in fields(cls)}
        values: dict[str, Any] = {name: tuple(each) if len(each) > 1 else each[0] for name, each in found.items()}
        return cls(**values)

    def trust(self, surprise: float) -> float:
        """Return how far labels count, 0 to 1, whose events the prior found so surprising."""
        return _step((self.surprise - surprise) / _SOFTNESS)

    def blindness(self, found: float) -> float:
        """Return how far detectors are blind to events that the parts made of them find so odd, 0 to 1."""
        blind = _step((self.ordinary - found) / _ORDINARY_SOFTNESS)
        return blind if blind > _LEAST_BLINDNESS else 0.0

    def recurrence(self, resemblance: float) -> float:
        """Return how far events that resemble each other so much are the same fault again, 0 to 1."""
        return _step((resemblance - self.alike) / _SOFTNESS)


_SOFTNESS = 0.1
"""Of the steps at `Prior.surprise` and `Prior.alike`."""
_ORDINARY_SOFTNESS = 0.05
"""Of the step at `Prior.ordinary`."""
_LEAST_BLINDNESS = 0.02
"""Less is nothing: a part that hardly counts must not cost time with every window."""
_FAR = 100.0
"""Beyond that an exponential would overflow."""


def _step(by: float) -> float:
    return 1.0 / (1.0 + math.exp(min(-by, _FAR)))


def at(weights: tuple[float, ...], k: int) -> float:
    """Interpolate a weight between the knots.

    Examples
    --------
    >>> at((0.2, 0.4, 0.5, 0.6), 2), at((0.2, 0.4, 0.5, 0.6), 40)
    (0.4, 0.6)
    """
    return float(np.interp(np.log(max(k, 1)), np.log(KNOTS), weights))
