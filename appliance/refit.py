"""When a machine is fitted again, and from what: judged windows → here → machine.py fits from its history."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from appliance.detect.drift import Drift
from appliance.detect.scales import LONGEST
from appliance.records import Alert, RefitReason, Score
from appliance.reservoir import Reservoir, Span
from appliance.routine import DAY_SECS, Routine
from appliance.windows import GridSpec

_LEAST_PROOF_SECS, _MOST_PROOF_SECS = DAY_SECS, 7 * DAY_SECS
"""Bounds of the probation, which is otherwise as long as the warm-up: a day holds both shifts, and after a week without
an alert there is no more to wait for."""
_PAUSE_SECS = DAY_SECS
"""Of normal operation after an alert before the machine is followed again: a fault may show in one shift only."""
_MEMORY_SECS = 30 * DAY_SECS
"""Over which older operation fades from the reservoir."""
_SHORTEST_WINDOWS = 4
_STRETCHES = 32
"""Into which older operation is divided at least: enough for some of everything, few enough to be saved often..."""
_FEWEST_STRETCHES, _LONG = 4, 4
"""...or into fewer, so that each holds this many of the slowest scale."""
_MEANS = 256
"""Numbers that ADWIN hears in the time of the probation: it needs about a hundred to tell a tenth of the threshold."""


_MOST_CELLS = 12_000_000
"""Cells that a refit reads, 96 MB and a few copies: a day at one reading a second of 130 channels."""


@dataclass(frozen=True, slots=True)
class RefitRules:
    """When a machine is fitted again."""

    every_secs: float = 30 * DAY_SECS
    """From one refit to the next; 0: never, not for any other reason either."""


class Refits:
    """One machine's refits. Nothing is learned while something is suspected, and least of all what led to an alert.

    A refit needs a whole probation (a warm-up's length) of normal operation since the last alert. It is due

    * by schedule, at a time of the machine's own, so that forty of them are not fitted in the same minute;
    * on drift: ADWIN saw the scores of normal windows change, and a whole probation later there was neither an alert
      nor another change, nor were they still rising. A slow fault goes on growing until it alerts; a benign change
      stays where it is;
    * on routine, at once: the alerts of a day were those of the day before, see `appliance.routine`.
    """

    def __init__(self, rules: RefitRules, *, grid: GridSpec, warmup_windows: int, seed: int) -> None:
        self._every = rules.every_secs
        self._hop_secs = grid.hop * grid.period_secs
        self._hop_cells = grid.hop
        self._seed = seed
        window_hops = -(-grid.length // grid.hop)
        warmup_secs = warmup_windows * self._hop_secs
        recent = self._hops(min(max(warmup_secs, _LEAST_PROOF_SECS), _MOST_PROOF_SECS))
        self._pause = self._hops(_PAUSE_SECS)
        older = max(warmup_windows + window_hops, 2 * recent)
        self.reservoir = Reservoir(
            recent=recent,
            older=older,
            memory=self._hops(_MEMORY_SECS),
            shortest=_SHORTEST_WINDOWS * window_hops,
            longest=max(older // _STRETCHES, min(older // _FEWEST_STRETCHES, _LONG * LONGEST * window_hops)),
            seed=seed,
        )
        self._proof = recent
        self._drift = Drift(max(1, recent // _MEANS))
        self._routine = Routine(grid.length * grid.period_secs)
        self._alerted = False  # since the last refit, or since it was found to be nothing
        self._quiet = 0  # hops of normal operation since the last alert
        self._since_change: int | None = None  # hops of normal operation
        self._next_at: float | None = None
        self.begun = False
        """Whether the machine was learned once."""
        self.refitted_at: float | None = None
        """Unix seconds of the newest reading at the last refit; None before the first."""
        self.reason: RefitReason | None = None
        """Why it was."""

    def spans(self, channels: int) -> list[Span]:
        """Return what to learn from: no more than can be held at once."""
        return self.reservoir.spans(max(1, _MOST_CELLS // (max(channels, 1) * self._hop_cells)))

    def _hops(self, secs: float) -> int:
        return max(1, round(secs / self._hop_secs))

    def first_fitted(self, at: float, reason: RefitReason | None = None) -> None:
        """Note the end of the warm-up: it was normal, and from here on the next refit is counted.

        Parameters
        ----------
        reason
            Of a warm-up that was not the machine's first.
        """
        self.begun = True
        if reason is not None:
            self.refitted_at, self.reason = at, reason
        self.reservoir.accept_recent()
        self._routine.begin(at)
        self._plan(at)

    def refitted(self, at: float, reason: RefitReason | None) -> None:
        """Note a refit and why it was; None: it could not be done, and the next one is due in its time."""
        if reason is not None:
            self.refitted_at, self.reason = at, reason
            self._alerted = False
        self._plan(at)

    def _plan(self, at: float) -> None:
        """Find the next time that is the machine's own, half a turn away at least."""
        if self._every:
            own = self._seed % 2**16 / 2**16
            self._next_at = (math.ceil((at + self._every / 2) / self._every - own) + own) * self._every
        self._drift.reset()
        self._since_change = None

    def take(
        self, score: Score, alert: Alert | None, *, suspected: bool, overspent: bool, sound: bool, running: bool
    ) -> RefitReason | None:
        """Take in a judged window; return why a refit is due now, if one is.

        Parameters
        ----------
        alert
            The machine's, where it changed with this window.
        suspected
            Whether an alert of the machine is open.
        overspent
            Whether alerts have raised the threshold: what is below it now would have alerted before.
        sound
            Whether all sensors are well and no data is known to be missing.
        running
            Whether the machine runs at the window's end: an alert that ended as it stopped did not end by itself.
        """
        if suspected:
            self.reservoir.forget_recent()
            self._alerted = True
            self._quiet = 0
            self._since_change = None
            return None
        if alert is not None and alert.state == "closed" and running:
            episodes = self._routine.ended(alert)
            self.reservoir.keep(Span(round(e.start / self._hop_secs), round(e.end / self._hop_secs)) for e in episodes)
            return "routine" if episodes and self._every else None
        if score.alarm or not sound or score.blank not in {None, "learning"}:
            return None
        self._quiet += 1
        if overspent:
            return None
        self.reservoir.add(round(score.start / self._hop_secs))
        if score.score is None or score.threshold is None:
            return None
        if self._drift.take(min(1.0, max(0.0, score.score / score.threshold))):
            self._since_change = 0
        elif self._since_change is not None:
            self._since_change += 1
        return self._due(score.end)

    def rescaled(self) -> None:
        """Note that scores mean something else from here on: a change in them is no drift."""
        self._drift.reset()
        self._since_change = None

    def vouch(self, start: float, end: float) -> None:
        """Take in a stretch that an operator calls normal, Unix seconds: what was suspected there no longer is."""
        self._alerted = False
        self.reservoir.keep([self._span(start, end)])

    def doubt(self, end: float, now: float) -> None:
        """Note a fault that an operator has seen, Unix seconds: what was on probation about then may be part of it."""
        if now - end <= self._proof * self._hop_secs:
            self.reservoir.forget_recent()
            self._alerted, self._quiet, self._since_change = True, 0, None

    def _span(self, start: float, end: float) -> Span:
        return Span(math.floor(start / self._hop_secs), math.ceil(end / self._hop_secs))

    @property
    def calm(self) -> bool:
        """Whether the machine may be followed: a fault that comes and goes must not be learned in its pauses."""
        return not self._alerted or self._quiet >= self._pause

    def _due(self, now: float) -> RefitReason | None:
        if self.reservoir.held < self._proof or not self._every:
            return None
        if self._since_change is not None and self._since_change >= self._proof:
            if not self._drift.rises(self._since_change):
                return "drift"
            self._since_change = 0
        return "schedule" if self._next_at is not None and now >= self._next_at else None

    def snapshot(self) -> dict[str, Any]:
        """State for a restart."""
        return {
            "reservoir": self.reservoir.snapshot(),
            "drift": self._drift.snapshot(),
            "routine": self._routine.snapshot(),
            "alerted": self._alerted,
            "quiet": self._quiet,
            "since_change": self._since_change,
            "next_at": self._next_at,
            "begun": self.begun,
            "refitted_at": self.refitted_at,
            "reason": self.reason,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a snapshot."""
        self.reservoir.restore(state["reservoir"])
        self._drift.restore(state["drift"])
        self._routine.restore(state["routine"])
        self._alerted, self._quiet = state["alerted"], state["quiet"]
        self._since_change, self._next_at = state["since_change"], state["next_at"]
        self.refitted_at, self.reason = state["refitted_at"], state["reason"]
        self.begun = state.get("begun", self._next_at is not None)
