"""What adaptation goes by: each window's strangeness and traits, kept apart from the readings they were made of.

The **traits** of a window are what its machine's detectors made of it: ln(1 + evidence) of every detector on every
scale, 0 where a scale had nothing to go by, then the window's `standard` features. They cost nothing, because the
score is made of them, and a label can be learned from without the readings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from appliance.detect.state import State
from appliance.records import Floats


@dataclass(frozen=True)
class Traces:
    """Windows of one machine as its detector saw them, in time order."""

    strangeness: Floats
    """[n] combined evidence before calibration."""
    traits: Floats
    """[n, trait] loudness of each detector, then the standard features [kind x channel]."""
    detectors: int
    """How many of the traits are loudness."""

    @property
    def loudness(self) -> Floats:
        """[n, detector] ln(1 + evidence), 0 where a scale had nothing to go by."""
        return self.traits[:, : self.detectors]

    @property
    def features(self) -> Floats:
        """[n, kind x channel] in their usual spreads."""
        return self.traits[:, self.detectors :]

    def __len__(self) -> int:
        return len(self.strangeness)

    def __getitem__(self, which: slice | NDArray[np.intp]) -> Traces:
        return Traces(self.strangeness[which], self.traits[which], self.detectors)

    def kept(self) -> Self:
        """Return them in the precision in which they are kept, and in which heads are made of them.

        In that a head must judge, too: where many normal windows are alike to the last digit, rounding is a rank.
        """
        return self.restore(self.snapshot())

    def snapshot(self) -> State:
        """State to be stored, in the precision that traces are kept in."""
        return {
            "strangeness": self.strangeness.astype(np.float32),
            "traits": halved(self.traits),
            "detectors": self.detectors,
        }

    @classmethod
    def restore(cls, state: State) -> Self:
        """Take them out of the store again."""
        return cls(state["strangeness"].astype(np.float64), state["traits"].astype(np.float64), int(state["detectors"]))


def halved(traits: Floats) -> NDArray[np.float16]:
    """Return traits in the precision in which they are kept; what it cannot hold is as much as it can."""
    return np.clip(traits, -_MOST, _MOST).astype(np.float16)


_MOST = float(np.finfo(np.float16).max)
