"""Faults of a sensor apart from faults of its machine: raw window → here → the channels that the detector is to ignore.

The principle: one channel does what no physics would do, while those that usually move with it say that nothing
happened. In doubt it is a fault of the machine, and the detector's to judge. A sensor that drifts cannot be told from a
machine that changes: that too is left to the detector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from appliance.detect.flat import Flags, Holds
from appliance.detect.sensor_limits import FEWEST_ROUGH, LARGEST, Look, SensorLimits, trend_of
from appliance.detect.state import Fitted, State
from appliance.detect.units import CONVERSIONS, conversion_at_jump
from appliance.detect.windows import hold
from appliance.records import Floats, SensorFault

KINDS: tuple[SensorFault, ...] = ("stuck", "dropout", "out_of_range", "noise", "unit_change")
_STUCK, _DROPOUT, _OUT_OF_RANGE, _NOISE, _UNIT_CHANGE = range(len(KINDS))
_WELL = -1

_ALSO_ROUGH = 1.2
"""Another channel this many times rougher than in its roughest hours: it is the machine that shakes."""
_MEMORY = 0.5
"""Autocorrelation from cell to cell from which roughness is no noise but a machine that hunts."""
_LOPSIDED = 4.0
"""Reach to one side against the other from which roughness is no noise, which goes both ways, but work that comes in
bursts."""
_LEVEL_DOUBT = 0.5
"""How little noise that steps over the whole usual range lets one know of its level, in mean steps. Below that no doubt
is allowed: a worn bearing raises roughness and level together."""
_FEWEST_FAR = 2
"""Readings out of range that are more than one spoilt message."""
_QUIET = 1.5
"""Others say that nothing happened if they change by no more than this many times their largest usual change."""
_NINES = (-99999.0, -9999.0, -999.0, -99.0, 99.0, 999.0, 9999.0, 99999.0)
_ENDS = (65535.0, 65534.0, 32767.0, -32768.0, 6553.5, 3276.7, -3276.8, 2147483647.0, -2147483648.0)
_SENTINELS = np.array([*_NINES, *_ENDS])
"""What transmitters and gateways send for "no value": runs of nines and the ends of number ranges."""


class SensorCheck(Fitted):
    """Names the channels whose sensor is at fault, and masks them until the window is free of what they read.

    ``stuck``: repeats one value as it never did while the others moved. ``dropout``: readings are missing that never
    were, while others are there. ``out_of_range``: jumps from one cell to the next to an end of the scale far beyond
    anything known, or to a number that means "no value". ``noise``: steps from cell to cell far more than ever around
    the same level, without a rhythm, alone. ``unit_change``: jumps by a power of ten or from °C to °F, alone.

    Only the newest two hops of a window are judged, so a fault is named in the second window that holds a part of it:
    before an alert rule of two windows can take it for the machine's.
    """

    LIVE: ClassVar[tuple[str, ...]] = ("kind", "unit", "tainted")

    def __init__(self, series: Floats, *, length: int, hop: int, ignored: Sequence[int] = ()) -> None:
        """Fit on the warm-up.

        Parameters
        ----------
        series
            [channel, time] on the grid in raw units as received: NaN where nothing came, no gap filled.
        length, hop
            Cells per window, and from window to window.
        ignored
            Channels that are never judged, such as one that tells the operating state.
        """
        series = np.where(np.abs(series) < LARGEST, series, np.nan)
        self.limits = SensorLimits(series, length=length, hop=hop, ignored=ignored)
        moving = np.repeat(self.limits.moving, self.limits.pace, axis=1)
        newest = series[:, max(length - self.limits.pace, 0) :]
        cells = min(moving.shape[1], newest.shape[1])
        self.holds = Holds(newest[:, :cells], moving[:, :cells])
        self.kind = np.full(len(series), _WELL)
        self.unit = np.zeros(len(series), dtype=np.int64)
        self.tainted = np.zeros(len(series), dtype=np.int64)

    holds: Holds
    """How long each channel has repeated its value."""
    kind: NDArray[np.int64]
    """[channel] index into `KINDS` of what was last diagnosed, -1 for a sensor that is well."""
    unit: NDArray[np.int64]
    """[channel] index into `CONVERSIONS`, of a changed unit."""
    tainted: NDArray[np.int64]
    """[channel] windows that may yet hold cells of the fault."""

    @property
    def masked(self) -> Flags:
        """[channel] whose cells the detector is not to see: at fault now, or not longer ago than a window."""
        masked: Flags = self.tainted > 0
        return masked

    @property
    def latest(self) -> Floats:
        """[channel] newest reading, NaN where there never was one."""
        return self.holds.value

    def snapshot(self) -> tuple[State, State]:
        """Return (fitted, live) values."""
        _, live = super().snapshot()
        fitted_holds, live_holds = self.holds.snapshot()
        fitted: State = {"limits": self.limits.snapshot()[0], "holds": fitted_holds}
        return fitted, live | {"holds": live_holds}

    @classmethod
    def restore(cls, fitted: State, live: State) -> Self:
        """Build the check again."""
        restored = super().restore(fitted, live)
        restored.limits = SensorLimits.restore(fitted["limits"], {})
        restored.holds = Holds.restore(fitted["holds"], live["holds"])
        return restored

    def judge(self, window: Floats) -> dict[int, SensorFault]:
        """Take in the next window [channel, time] as received; return the channels whose sensor is at fault."""
        limits = self.limits
        with np.errstate(over="ignore", invalid="ignore"):  # anything may be read
            look = limits.look(window)
            others_move = limits.others_move(look)
            goes_on = self.holds.take(window[:, -limits.hop :], others_move)
        flat, off, missing = self.holds.too_long(), limits.may_be_off(look), look.counts < limits.least_counts
        if not (flat | off | missing | self.masked).any():
            return {}
        found = np.full(len(window), _WELL)
        if 2 * int(missing.sum()) <= len(window):
            found[missing & limits.judged] = _DROPOUT
        inside = (self.holds.value > limits.inner_low) & (self.holds.value < limits.inner_high)
        stuck = (flat & others_move & inside & limits.judged) | ((self.kind == _STUCK) & goes_on)
        found[stuck & ~missing] = _STUCK
        suspects = (off | (self.kind >= _OUT_OF_RANGE)) & limits.judged & (found == _WELL)
        with np.errstate(over="ignore", invalid="ignore"):
            self._look_closer(window, look, np.flatnonzero(suspects).tolist(), found)
        if 2 * int((found != _WELL).sum()) > len(window):  # too many at once to be anything but the machine
            found[:] = _WELL
        self.kind = found
        windows = -(-limits.length // limits.hop) + 1
        self.tainted = np.where(found != _WELL, windows, np.maximum(self.tainted - 1, 0))
        return {channel: KINDS[found[channel]] for channel in np.flatnonzero(found != _WELL).tolist()}

    def _look_closer(self, window: Floats, look: Look, suspects: list[int], found: NDArray[np.int64]) -> None:
        """Decide on channels that left their range or became rough, which needs all readings of the window."""
        others = self.limits.judged & (found == _WELL) & ~self.masked
        diagnosed = {channel: kind for channel in suspects if (kind := self._kind(window, look, channel)) != _WELL}
        news = [channel for channel in diagnosed if self.kind[channel] < _OUT_OF_RANGE]
        for channel, kind in diagnosed.items():
            if channel not in news or (len(news) == 1 and self._is_alone(window, look, channel, others, kind)):
                found[channel] = kind

    def _kind(self, window: Floats, look: Look, channel: int) -> int:
        """Name what a channel's own readings look like."""
        limits = self.limits
        readings = window[channel][np.isfinite(window[channel])]
        recent = readings[len(readings) - int(look.counts[channel]) :]
        if not len(recent):
            return _WELL
        level, rough = float(np.median(recent)), float(look.rough[channel])
        near = limits.near_low[channel] <= level <= limits.near_high[channel]
        if not near and self._in_other_unit(readings, recent, channel):
            return _UNIT_CHANGE
        spoilt = self._spoilt(readings, channel)
        if np.count_nonzero(spoilt[len(readings) - len(recent) :]) >= _FEWEST_FAR:
            known = self.kind[channel] == _OUT_OF_RANGE
            return _OUT_OF_RANGE if known or self._jumped(readings, spoilt, channel) else _WELL
        if rough <= limits.rough_limit[channel] or len(recent) < FEWEST_ROUGH:
            return _WELL
        doubt = _LEVEL_DOUBT * rough if rough > limits.span[channel] else 0.0
        stays = limits.near_low[channel] - doubt <= level <= limits.near_high[channel] + doubt
        known = self.kind[channel] == _NOISE
        scatters = stays and _autocorrelation(recent) < _MEMORY and _lopsidedness(recent) < _LOPSIDED
        return _NOISE if known or scatters else _WELL

    def _spoilt(self, readings: Floats, channel: int) -> Flags:
        """Return which readings [n] are no readings: a number that stands for none, or an end of the scale.

        What lies far beyond anything and yet varies is measured, not made up: a blow can be that large.
        """
        limits = self.limits
        spoilt: Flags = (readings < limits.out_low[channel]) | (readings > limits.out_high[channel])
        if spoilt.any():
            spoilt &= np.isin(readings, _SENTINELS)
        for beyond in (readings < limits.far_low[channel], readings > limits.far_high[channel]):
            if beyond.any() and np.ptp(readings[beyond]) == 0:
                spoilt |= beyond
        if limits.never_zero[channel]:
            spoilt |= readings == 0
        return spoilt

    def _jumped(self, readings: Floats, spoilt: Flags, channel: int) -> bool:
        """Whether the window begins well and the readings [n] beside the spoilt ones are usual.

        Then nothing lies on a way from the one to the other; a channel that has long been elsewhere did not jump now.
        """
        limits, rest = self.limits, readings[~spoilt]
        unusual = (rest < limits.out_low[channel]) | (rest > limits.out_high[channel])
        unknown = (rest < limits.least[channel]) | (rest > limits.most[channel])
        return not spoilt[0] and not unusual[0] and not (unusual & unknown).any()

    def _in_other_unit(self, readings: Floats, recent: Floats, channel: int) -> bool:
        if self.kind[channel] == _UNIT_CHANGE:
            limits, (scale, offset, _) = self.limits, CONVERSIONS[self.unit[channel]]
            meant = (float(np.median(recent)) - offset) / scale
            span = limits.span[channel]
            return bool(limits.least[channel] - span <= meant <= limits.most[channel] + span)
        which = conversion_at_jump(readings, float(self.limits.step[channel]))
        if which is not None:
            self.unit[channel] = which
        return which is not None

    def _is_alone(self, window: Floats, look: Look, channel: int, others: Flags, kind: int) -> bool:
        """Whether the ``others`` [channel] say that nothing happened, all over the window."""
        limits, others = self.limits, others & (np.arange(len(others)) != channel)
        if not others.any():
            return False
        if kind == _NOISE:
            return not (look.rough[others] > _ALSO_ROUGH * limits.rough_ever[others]).any()
        cells = window[others]
        steps = np.abs(np.diff(hold(cells, np.isfinite(cells)))).max(axis=1)
        trend = np.abs(trend_of(cells))
        return not ((steps > _QUIET * limits.step[others]) | (trend > _QUIET * limits.trend[others])).any()


def _lopsidedness(readings: Floats) -> float:
    """How many times further readings [n] reach to one side of their median than to the other."""
    below, above = np.median(readings) - readings.min(), readings.max() - np.median(readings)
    return float(max(below, above) / max(min(below, above), np.finfo(float).tiny))


def _autocorrelation(readings: Floats) -> float:
    """Correlation of each reading [n] with the next; 0 where they do not vary."""
    offsets = readings - readings.mean()
    energy = float(offsets @ offsets)
    return float(offsets[1:] @ offsets[:-1]) / energy if energy > 0 else 0.0
