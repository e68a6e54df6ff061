"""Turn what was found of a machine's sensors into alerts: one per channel, beside the machine's own."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from appliance.explain import Usual, describe_sensor
from appliance.incidents import AlertRules, alert_id
from appliance.records import Alert, LabelVerdict, Score, SensorFault


class SensorIncidents:
    """The alerts of one machine's sensors, fed with its scores in order.

    The rules are those of the machine's alerts: N of M windows with a diagnosis open one, quiet windows in a row close
    it. There is no threshold and no peak: a sensor is at fault or it is not.
    """

    def __init__(self, rules: AlertRules) -> None:
        self.rules = rules
        self.usual: Usual = {}
        """What the machine's channels usually read, once it is learned."""
        self.current: dict[str, Alert] = {}
        """Channel → the alert that is open, or was closed less than a cooldown ago."""
        self._recent: dict[str, deque[tuple[bool, float]]] = {}  # channel → (at fault, window start), while it matters
        self._quiet: dict[str, int] = {}
        self._dismissed: set[str] = set()  # whose present diagnosis an operator has called a false alarm

    def update(self, score: Score, latest: Mapping[str, float], known: Collection[str] = ()) -> list[Alert]:
        """Take one window; return the alerts that opened, changed their kind of fault, or closed.

        Parameters
        ----------
        latest
            Channel → its newest reading.
        known
            Channels that operators have called bad already: no alert opens for them.
        """
        told = []
        self._dismissed &= score.sensor_faults.keys()
        for channel in dict.fromkeys((*self._recent, *self.current, *score.sensor_faults)):
            fault = score.sensor_faults.get(channel)
            before = self.current.get(channel)
            if before is not None and before.state == "closed" and self._is_over(before, score):
                del self.current[channel]
                before = None
            if before is not None and before.state != "closed":
                alert = self._while_open(score, before, channel, fault, latest)
            elif channel in known or channel in self._dismissed:
                self._recent.pop(channel, None)
                continue
            else:
                alert = self._while_closed(score, before, channel, fault, latest)
            if alert is not None:
                self.current[channel] = alert
                told.append(alert)
        return told

    def judge(self, channel: str, verdict: LabelVerdict, at: float) -> Alert | None:
        """Take an operator's verdict on a sensor; return its alert where one is open.

        ``bad_sensor`` acknowledges it, ``false_alarm`` closes it until the diagnosis has ended once.

        Parameters
        ----------
        at
            Unix seconds: now, after the last window.
        """
        before = self.current.get(channel)
        if before is None or before.state == "closed":
            return None
        if verdict == "false_alarm":
            self._dismissed.add(channel)
            self._quiet.pop(channel, None)
            alert = replace(before, state="closed", updated_at=at, closed_at=at, verdict=verdict)
        else:
            alert = replace(before, state="acknowledged", updated_at=at, verdict=verdict)
        self.current[channel] = alert
        return alert

    def _while_closed(
        self, score: Score, before: Alert | None, channel: str, fault: SensorFault | None, latest: Mapping[str, float]
    ) -> Alert | None:
        recent = self._recent.setdefault(channel, deque(maxlen=self.rules.of_windows))
        recent.append((fault is not None, score.start))
        if not any(at_fault for at_fault, _ in recent):
            del self._recent[channel]
        if fault is None or sum(at_fault for at_fault, _ in recent) < self.rules.open_windows:
            return None
        since = next(start for at_fault, start in self._recent.pop(channel) if at_fault)
        self._quiet[channel] = 0
        summary = self._describe(score, channel, fault, latest)
        if before is not None:
            return replace(
                before,
                state="open",
                updated_at=score.end,
                closed_at=None,
                summary=summary,
                sensor_fault=fault,
                verdict=None,
            )
        return Alert(
            id=alert_id(f"{score.machine}-{channel}", since),
            machine=score.machine,
            state="open",
            since=since,
            opened_at=score.end,
            updated_at=score.end,
            closed_at=None,
            peak_score=None,
            threshold=None,
            channels={channel: 1.0},
            evidence={},
            summary=summary,
            kind="sensor",
            sensor_fault=fault,
        )

    def _while_open(
        self, score: Score, before: Alert, channel: str, fault: SensorFault | None, latest: Mapping[str, float]
    ) -> Alert | None:
        self._quiet[channel] = 0 if fault is not None else self._quiet[channel] + 1
        if self._quiet[channel] >= self.rules.close_windows:
            del self._quiet[channel]
            return replace(before, state="closed", updated_at=score.end, closed_at=score.end)
        if fault is None or fault == before.sensor_fault:
            return None
        summary = self._describe(score, channel, fault, latest)
        return replace(before, updated_at=score.end, sensor_fault=fault, summary=summary)

    def _is_over(self, closed: Alert, score: Score) -> bool:
        return score.end - closed.updated_at > self.rules.cooldown_secs

    def _describe(self, score: Score, channel: str, fault: SensorFault, latest: Mapping[str, float]) -> str:
        now, signal = latest[channel], score.signals.get(channel)
        if fault == "out_of_range" and signal is not None:  # its newest reading may be a good one
            low, high = self.usual[channel]
            now = signal.max if signal.max - high > low - signal.min else signal.min
        return describe_sensor(score.machine, channel, fault, now)

    def snapshot(self) -> dict[str, Any]:
        """State for a restart."""
        return {
            "current": {channel: msgspec.to_builtins(alert) for channel, alert in self.current.items()},
            "recent": {channel: [list(entry) for entry in recent] for channel, recent in self._recent.items()},
            "quiet": dict(self._quiet),
            "dismissed": sorted(self._dismissed),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a snapshot."""
        self.current = {channel: msgspec.convert(alert, Alert) for channel, alert in state["current"].items()}
        for channel, recent in state["recent"].items():
            entries = ((at_fault, start) for at_fault, start in recent)
            self._recent[channel] = deque(entries, maxlen=self.rules.of_windows)
        self._quiet = dict(state["quiet"])
        self._dismissed = set(state.get("dismissed", ()))
