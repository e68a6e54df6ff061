"""What one fit of a machine knows, of what was read: its channels, what is usual, how to judge and how to screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from appliance.detect.detector import Detector, DetectorOptions
from appliance.detect.fitting import fit
from appliance.detect.traces import Traces
from appliance.outcome import HeadRecord, Model
from appliance.records import Floats
from appliance.screening import Screening, StateSource
from appliance.signals import usual_range
from appliance.windows import GridSpec, fill_gaps


@dataclass(frozen=True)
class Learned:
    """What changes all at once when a machine is fitted anew; its parts go on learning by themselves."""

    channels: tuple[str, ...]
    """That the machine had then: the first of its grid's."""
    usual: Floats
    """[2, channel] the range of their readings."""
    detector: Detector
    screening: Screening

    @classmethod
    def of(
        cls,
        channels: Sequence[str],
        series: Floats,
        *,
        grid: GridSpec,
        seed: int,
        options: DetectorOptions,
        state: StateSource,
    ) -> tuple[Self, Traces]:
        """Fit on [channel, time] as received; return also what the detector saw of it, held out.

        Raises
        ------
        ValueError
            Too little of it is there.
        """
        filled = fill_gaps(series.T, grid.fill, grid.hold_cells).T
        detector, warm_up = fit(filled, length=grid.length, hop=grid.hop, seed=seed, options=options)
        screening = Screening.fit(channels, series, filled, grid=grid, state=state)
        return cls(tuple(channels), usual_range(series), detector, screening), warm_up

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Channel → from where to where it usually reads."""
        low, high = self.usual.tolist()
        return dict(zip(self.channels, zip(low, high, strict=True), strict=True))

    def model(self, version: int, warm_up: Traces) -> Model:
        """Return what is stored of it, which never changes."""
        state = {
            "channels": list(self.channels),
            "usual": self.usual,
            "detector": self.detector.snapshot()[0],
            "screening": self.screening.snapshot()[0],
            "warm_up": warm_up.snapshot(),
        }
        return Model(version, state)

    def live(self) -> dict[str, Any]:
        """Return what has moved since."""
        return {"detector": self.detector.snapshot()[1], "screening": self.screening.snapshot()[1]}

    @classmethod
    def restore(cls, model: Model, live: dict[str, Any], head: HeadRecord | None) -> Self:
        """Build it again, with the head that is in service.

        Raises
        ------
        ValueError, KeyError, TypeError
            Another version of the software has stored it.
        """
        fitted = model.state
        screening = Screening.restore(fitted["screening"], live["screening"])
        detector = Detector.restore(fitted["detector"], live["detector"], None if head is None else head.state)
        return cls(tuple(fitted["channels"]), fitted["usual"], detector, screening)
