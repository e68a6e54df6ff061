"""What a window must pass before it is scored: window → sensor check, operating state → cells that can be trusted."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from appliance.detect.operation import Operating, Operation, StateChannel
from appliance.detect.sensors import SensorCheck
from appliance.detect.state import State
from appliance.records import Floats, SensorFault, Window
from appliance.windows import GridSpec


@dataclass(frozen=True, slots=True)
class StateSource:
    """What tells whether a source's machines run."""

    channel: str | None = None
    """Its name; None where it is seen from all of them."""
    running_above: float = 0.5
    may_stop: bool = True
    """False for machines that never stand in order: then they are judged whatever they do."""


class Screened(NamedTuple):
    """What is left of a window."""

    values: Floats
    """[channel, time] of the learned channels, NaN for those whose sensor is bad or just was."""
    sensor_faults: dict[str, SensorFault]
    latest: dict[str, float]
    """Channel → its newest reading, NaN where there never was one."""
    operating: Operating
    spoilt: bool
    """Whether there are readings of a sensor that is or just was at fault and that nobody has called bad yet."""
    familiar: bool
    """Whether the machine's stops and starts were learned with its other states."""


class Screening:
    """One machine's sensor check and operating state. Made by `fit` or `restore`; `take` wants every window in turn."""

    def __init__(self, channels: Sequence[str], sensors: SensorCheck, operation: Operation) -> None:
        self.channels = tuple(channels)
        self._sensors = sensors
        self._operation = operation

    @classmethod
    def fit(
        cls, channels: Sequence[str], series: Floats, filled: Floats, *, grid: GridSpec, state: StateSource
    ) -> Self:
        """Fit on the warm-up, [channel, time] as received and with its gaps filled."""
        names = dict(zip(channels, range(len(channels)), strict=True))
        row = None if state.channel is None else names.get(state.channel)
        told = None if row is None else StateChannel(row, state.running_above)
        sensors = SensorCheck(series, length=grid.length, hop=grid.hop, ignored=() if row is None else (row,))
        with np.errstate(over="ignore", invalid="ignore"):  # anything may have been read
            operation = Operation(filled, length=grid.length, hop=grid.hop, state=told, may_stop=state.may_stop)
        return cls(channels, sensors, operation)

    def take(self, window: Window, bad: Collection[str] = ()) -> Screened:
        """Take in the next window; ``bad`` are channels whose sensor operators have called bad."""
        values = window.values[: len(self.channels)]
        received = values if window.received is None else window.received[: len(self.channels)]
        faults = self._sensors.judge(received)
        with np.errstate(over="ignore", invalid="ignore"):
            operating = self._operation.judge(values)
        found = masked = unknown = self._sensors.masked
        if bad:
            told = np.isin(self.channels, list(bad))
            masked, unknown = found | told, found & ~told
        return Screened(
            values=np.where(masked[:, None], np.nan, values) if masked.any() else values,
            sensor_faults={self.channels[channel]: fault for channel, fault in faults.items()},
            latest=dict(zip(self.channels, self._sensors.latest.tolist(), strict=True)),
            operating=operating,
            spoilt=bool(unknown.any() and np.isfinite(received[unknown]).any()),
            familiar=self._operation.taught,
        )

    def snapshot(self) -> tuple[State, State]:
        """Return (fitted, live) values."""
        sensors, operation = self._sensors.snapshot(), self._operation.snapshot()
        return (
            {"channels": list(self.channels), "sensors": sensors[0], "operation": operation[0]},
            {"sensors": sensors[1], "operation": operation[1]},
        )

    @classmethod
    def restore(cls, fitted: State, live: State) -> Self:
        """Build the screening again."""
        return cls(
            fitted["channels"],
            SensorCheck.restore(fitted["sensors"], live["sensors"]),
            Operation.restore(fitted["operation"], live["operation"]),
        )
