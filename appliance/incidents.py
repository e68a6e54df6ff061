"""Turn a machine's scores into few alerts: N of M to open, hysteresis to close, one id per incident."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from appliance.explain import Usual, describe
from appliance.records import Alert, LabelVerdict, Score

TOP_CHANNELS = 5
TELL_AGAIN = 1.0
"""An open alert is published again when it has become ten times less likely than when last told."""
HARMLESS: frozenset[LabelVerdict] = frozenset({"false_alarm", "maintenance", "new_normal"})
"""Verdicts that close an alert; the others acknowledge it."""


@dataclass(frozen=True, slots=True)
class AlertRules:
    """When an incident begins and ends."""

    open_windows: int = 2
    """N: strange windows that open an alert..."""
    of_windows: int = 3
    """...out of the last M."""
    close_windows: int = 3
    """Quiet windows in a row that close it."""
    close_ratio: float = 0.8
    """A window is quiet below this share of the threshold: the hysteresis."""
    cooldown_secs: float = 3600.0
    """A new strange stretch this soon after closing is the same incident, opened again."""
    close_stopped_secs: float = 3600.0
    """A machine that has stood for so long is being seen to: its alert closes."""


def alert_id(machine: str, since: float) -> str:
    """Name an incident by machine and beginning: the same after a replay.

    Examples
    --------
    >>> alert_id("pump-1", 0.0)
    'pump-1-19700101T000000Z'
    """
    return f"{machine}-{datetime.fromtimestamp(since, UTC):%Y%m%dT%H%M%SZ}"


class IncidentTracker:
    """One machine's incidents, fed with its scores in order."""

    def __init__(self, rules: AlertRules) -> None:
        self.rules = rules
        self.usual: Usual = {}
        """What the machine's channels usually read, once it is learned."""
        self.current: Alert | None = None
        """The incident that is open, or was closed less than a cooldown ago."""
        self._recent: deque[tuple[bool, float]] = deque(maxlen=rules.of_windows)  # (alarm, window start)
        self._quiet = 0
        self._stopped_since: float | None = None
        self._told_peak = 0.0
        self._dismissed: float | None = None  # up to which score this is a false alarm, by an operator

    @property
    def is_open(self) -> bool:
        """Whether an alert is open now."""
        return self.current is not None and self.current.state != "closed"

    def update(self, score: Score) -> Alert | None:
        """Take one score; return the alert where it opened, changed for the worse, or closed.

        A window without a score is no evidence of health: it neither opens nor closes anything. But while the machine
        stands, alarms from before no longer count, and after a while an open alert closes: whoever repairs the machine
        was told, and what is still wrong when it runs again opens the same alert or another.
        """
        if score.blank == "stopped":
            return self._while_stopped(score)
        self._stopped_since = None
        if score.blank == "maintenance":
            self._recent.clear()
            return self._close(score.end) if self.is_open else None
        if score.score is None or score.threshold is None:
            return None
        if self._is_dismissed(score.score, score.threshold):
            return None
        self._recent.append((score.alarm, score.start))
        if self.is_open:
            return self._while_open(score, score.score)
        if sum(alarm for alarm, _ in self._recent) < self.rules.open_windows or not score.alarm:
            return None
        return self._open(score)

    def _while_stopped(self, score: Score) -> Alert | None:
        self._recent.clear()
        if self._stopped_since is None:
            self._stopped_since = score.end
        if not self.is_open or score.end - self._stopped_since < self.rules.close_stopped_secs:
            return None
        return self._close(score.end)

    def _close(self, at: float) -> Alert:
        assert self.current is not None
        self._recent.clear()
        self.current = replace(self.current, state="closed", updated_at=at, closed_at=at)
        return self.current

    def judge(self, verdict: LabelVerdict, start: float, end: float, at: float) -> Alert | None:
        """Take an operator's verdict on a stretch of time; return the latest alert where it is about that.

        A harmless one closes it. What goes on of a false alarm opens it again only when it has become ten times less
        likely, or after it has been quiet.

        Parameters
        ----------
        at
            Unix seconds: now, after the last window.
        """
        alert = self.current
        if alert is None or alert.since >= end or start >= (at if alert.closed_at is None else alert.closed_at):
            return None
        if self.is_open and verdict in HARMLESS:
            self._close(at)
            if verdict == "false_alarm":
                self._dismissed, self._quiet = _peak(alert), 0
        elif self.is_open:
            self.current = replace(alert, state="acknowledged")
        self.current = replace(self.current or alert, verdict=verdict, updated_at=at)
        return self.current

    def note(self, learned: str) -> Alert | None:
        """Note at the latest alert what was learned from a verdict on it."""
        self.current = None if self.current is None else replace(self.current, learned=learned)
        return self.current

    def _is_dismissed(self, value: float, threshold: float) -> bool:
        """Whether a window still belongs to what an operator has called a false alarm."""
        if self._dismissed is None:
            return False
        self._quiet = self._quiet + 1 if value < self.rules.close_ratio * threshold else 0
        if self._quiet >= self.rules.close_windows or value >= self._dismissed + TELL_AGAIN:
            self._dismissed = None
        return self._dismissed is not None

    def _open(self, score: Score) -> Alert:
        assert score.score is not None
        assert score.threshold is not None
        since = next(start for alarm, start in self._recent if alarm)
        self._quiet = 0
        before = self.current
        ended = None if before is None else before.closed_at
        if before is not None and ended is not None and score.end - ended <= self.rules.cooldown_secs:
            again = replace(before, state="open", closed_at=None, updated_at=score.end, verdict=None, learned=None)
            self.current = self._at_peak(again, score, score.score) if score.score > _peak(before) else again
        else:
            channels = _worst(score.contributions)
            self.current = Alert(
                id=alert_id(score.machine, since),
                machine=score.machine,
                state="open",
                since=since,
                opened_at=score.end,
                updated_at=score.end,
                closed_at=None,
                peak_score=score.score,
                threshold=score.threshold,
                channels=channels,
                evidence=score.evidence,
                summary=describe(score, channels, self.usual, since),
            )
        self._told_peak = _peak(self.current)
        return self.current

    def _while_open(self, score: Score, value: float) -> Alert | None:
        assert self.current is not None
        assert score.threshold is not None
        quiet = value < self.rules.close_ratio * score.threshold
        self._quiet = self._quiet + 1 if quiet else 0
        if self._quiet >= self.rules.close_windows:
            return self._close(score.end)
        if value <= _peak(self.current):
            return None
        self.current = self._at_peak(self.current, score, value)
        if value < self._told_peak + TELL_AGAIN:
            return None
        self._told_peak = value
        return self.current

    def _at_peak(self, alert: Alert, score: Score, value: float) -> Alert:
        """Describe an alert by its strangest window so far."""
        channels = _worst(score.contributions)
        return replace(
            alert,
            updated_at=score.end,
            peak_score=value,
            channels=channels,
            evidence=score.evidence,
            summary=describe(score, channels, self.usual, alert.since),
        )

    def snapshot(self) -> dict[str, Any]:
        """State for a restart."""
        return {
            "current": None if self.current is None else msgspec.to_builtins(self.current),
            "recent": [list(entry) for entry in self._recent],
            "quiet": self._quiet,
            "stopped_since": self._stopped_since,
            "told_peak": self._told_peak,
            "dismissed": self._dismissed,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a snapshot."""
        self.current = None if state["current"] is None else msgspec.convert(state["current"], Alert)
        self._recent.extend((alarm, start) for alarm, start in state["recent"])
        self._quiet = state["quiet"]
        self._stopped_since = state["stopped_since"]
        self._told_peak = state["told_peak"]
        self._dismissed = state.get("dismissed")


def _peak(alert: Alert) -> float:
    assert alert.peak_score is not None  # only a sensor's alert has none
    return alert.peak_score


def _worst(contributions: Mapping[str, float]) -> dict[str, float]:
    ranked = sorted(contributions.items(), key=lambda entry: -entry[1])
    return {name: share for name, share in ranked[:TOP_CHANNELS] if share > 0}
