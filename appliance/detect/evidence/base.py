"""What every evidence detector promises: windows in, one number per window out, higher = stranger."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from appliance.detect.state import Fitted
from appliance.detect.windows import Windows
from appliance.records import Floats


class Oddity(NamedTuple):
    """How odd one detector finds each window of a batch, in units of its own."""

    values: Floats
    """[n], higher is odder; only the order matters, and roughly the distance in the tail."""
    by_channel: Floats | None
    """[n, channel] ≥ 0, how much each channel added; None where the detector cannot tell."""


class EvidenceDetector(Fitted, ABC):
    """One cheap unsupervised view of a machine.

    Fitted once on warm-up windows; `energy` never changes the detector or the windows, and treats every window of a
    batch alone. What is the same for all detectors is left to their caller, who has the energies of all of them: a
    call of numpy for each would cost more than it computes.
    """

    counts: ClassVar[Literal["mean", "largest"]] = "mean"
    """Whether the oddity comes from the mean over the channels that are present, or from the strangest of them."""
    blames: ClassVar[bool] = True
    """Whether it can tell the channels apart; if not, its energy is the same for all."""

    weight: ClassVar[float] = 1.0
    """In the mean over the detectors. Those that see level, spread and trend of all channels together weigh double."""
    least_length: ClassVar[int] = 1
    """Cells that a window must have for this view to mean anything."""

    @abstractmethod
    def fit(self, windows: Windows, seed: int) -> None:
        """Learn the machine's normal from its warm-up windows, of which a few per cent may be strange."""

    @abstractmethod
    def energy(self, windows: Windows) -> Floats:
        """[n, channel] ≥ 0, in squared units of its own; anything for a channel without readings."""

    def oddity(self, windows: Windows) -> Oddity:
        """Judge a batch of windows: the log of the mean energy, or of the largest distance."""
        share = self.energy(windows) * windows.present_share
        if self.counts == "mean":
            values = np.log1p(np.add.reduce(share, axis=1))
        else:
            values = np.log1p(np.sqrt(np.maximum.reduce(self.energy(windows) * windows.present, axis=1)))
        return Oddity(values, share if self.blames else None)
