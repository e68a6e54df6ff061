"""What every evidence detector promises: windows in, one number per window out, higher = stranger."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

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

    Fitted once on warm-up windows; `oddity` never changes the detector or the windows, and treats every window of a
    batch alone. A channel without readings adds nothing.
    """

    weight: ClassVar[float] = 1.0
    """In the mean over the detectors. Those that see level, spread and trend of all channels together weigh double."""
    least_length: ClassVar[int] = 1
    """Cells that a window must have for this view to mean anything."""

    @abstractmethod
    def fit(self, windows: Windows, seed: int) -> None:
        """Learn the machine's normal from its warm-up windows, of which a few per cent may be strange."""

    @abstractmethod
    def oddity(self, windows: Windows) -> Oddity:
        """Judge a batch of windows."""
