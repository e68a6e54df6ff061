"""Hold alerts against the events that a recording is known to contain: caught or missed, how late, what was blamed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from appliance.recordings import Recording
from appliance.records import Alert

WEEK_SECS = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a machine, as far as its recording knows."""

    machine: str
    kind: str
    start: float
    """Unix seconds."""
    end: float
    channels: tuple[str, ...] = ()
    """Channels that may rightly be blamed, the principal one first; empty where nobody knows."""
    is_sensor: bool = False
    """The sensor is at fault, not the machine: a machine's alert is neither expected nor counted as false."""


@dataclass(frozen=True, slots=True)
class Match:
    """What became of one event."""

    event: Event
    alert: Alert | None
    """The machine's first alert that opened during the event; None: not caught."""
    was_open: bool = False
    """An alert stood already when it began: nobody was told anything new, so it does not count as caught."""
    diagnosis: Alert | None = None
    """The first alert of a sensor that opened during the event: of one of its own channels, where there is one."""

    @property
    def delay_secs(self) -> float | None:
        """From the event's start to the alert."""
        return None if self.alert is None else self.alert.opened_at - self.event.start

    @property
    def blamed(self) -> str | None:
        """The channel with the largest share of the blame."""
        return next(iter(self.alert.channels), None) if self.alert is not None else None

    @property
    def blamed_rightly(self) -> bool | None:
        """Whether that channel is one of the event's; None where either is unknown."""
        if self.blamed is None or not self.event.channels:
            return None
        return self.blamed in self.event.channels

    @property
    def diagnosed_rightly(self) -> bool:
        """Whether an alert named the sensor that was at fault."""
        return self.event.is_sensor and self.diagnosis is not None and _names(self.diagnosis, self.event)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All events and alerts of a stretch of time."""

    matches: list[Match]
    false_alerts: list[Alert]
    """The machines' own."""
    false_sensor_alerts: list[Alert]
    """Those of sensors that were well."""
    machine_weeks: float
    """Time watched with a score, over all machines."""
    alert_hours: float
    """Time with an open alert of the machine, over all machines."""

    @property
    def sensor_events(self) -> list[Match]:
        """Events of a sensor alone."""
        return [match for match in self.matches if match.event.is_sensor]

    @property
    def machine_events(self) -> list[Match]:
        """Events of the machine itself."""
        return [match for match in self.matches if not match.event.is_sensor]

    @property
    def caught(self) -> int:
        """Machine events during which an alert opened."""
        return sum(match.alert is not None for match in self.machine_events)

    @property
    def overshadowed(self) -> int:
        """Machine events that were not caught while an earlier alert was still open."""
        return sum(match.alert is None and match.was_open for match in self.machine_events)

    @property
    def false_per_week(self) -> float:
        """False alerts per machine and week watched."""
        return len(self.false_alerts) / self.machine_weeks if self.machine_weeks else math.nan

    def summary(self) -> dict[str, Any]:
        """Return the figures for a script."""
        delays = [match.delay_secs for match in self.machine_events if match.delay_secs is not None]
        blamed = [match.blamed_rightly for match in self.machine_events if match.blamed_rightly is not None]
        return {
            "events": len(self.machine_events),
            "caught": self.caught,
            "during_an_open_alert": self.overshadowed,
            "recall": self.caught / len(self.machine_events) if self.machine_events else None,
            "median_delay_secs": median(delays) if delays else None,
            "blamed_rightly": sum(blamed) if blamed else None,
            "blamed": len(blamed),
            "false_alerts": len(self.false_alerts),
            "machine_weeks": round(self.machine_weeks, 2),
            "false_alerts_per_machine_week": round(self.false_per_week, 3) if self.machine_weeks else None,
            "alert_hours": round(self.alert_hours, 1),
            "sensor_events": len(self.sensor_events),
            "sensor_events_diagnosed": sum(match.diagnosis is not None for match in self.sensor_events),
            "sensor_events_named_rightly": sum(match.diagnosed_rightly for match in self.sensor_events),
            "sensor_events_that_alerted_the_machine": sum(match.alert is not None for match in self.sensor_events),
            "false_sensor_alerts": len(self.false_sensor_alerts),
        }


def events_of(recording: Recording) -> list[Event]:
    """Read the events out of a recording's meta data, or out of its labels where it has none."""
    times, period = recording.times, recording.period_secs
    truth = recording.meta.get("truth")
    if truth is not None:
        return [
            Event(
                machine=recording.machine,
                kind=fault["kind"],
                start=float(times[fault["start"]]),
                end=float(times[fault["end"] - 1]) + period,
                channels=tuple(fault["channels"]),
                is_sensor=fault["kind_of_fault"] == "sensor",
            )
            for fault in truth
        ]
    spans = recording.meta.get("events", [])
    return [
        Event(recording.machine, "event", float(times[start]), float(times[end - 1]) + period) for start, end in spans
    ]


def compare(
    events: Iterable[Event], alerts: Sequence[Alert], watched: dict[str, tuple[float, float]], grace_secs: float
) -> Comparison:
    """Match alerts with events.

    An event is caught if an alert opens from its start to ``grace_secs`` after its end: the window that shows its last
    reading ends later. An alert that opens at any other time is false, however long it stands: otherwise one alert that
    never closes would catch everything. The alert of a sensor never catches a machine's event, and is never a false
    alert of the machine; it is false by itself where that sensor was well.

    Parameters
    ----------
    watched
        Machine → first and last time with a score. Events that began before it or on other machines are left out.
    """
    seen = [event for event in events if event.machine in watched and _within(event, watched[event.machine])]
    in_order = sorted(alerts, key=lambda alert: alert.opened_at)
    ordered = [alert for alert in in_order if alert.kind == "machine"]
    of_sensors = [alert for alert in in_order if alert.kind == "sensor" and alert.machine in watched]
    matches = [
        Match(
            event,
            next((alert for alert in ordered if _opens_in(alert, event, grace_secs)), None),
            any(_stands_at(alert, event) for alert in ordered),
            _diagnosis(event, of_sensors, grace_secs),
        )
        for event in seen
    ]
    ours = [alert for alert in ordered if alert.machine in watched]
    false_alerts = [alert for alert in ours if not any(_opens_in(alert, event, grace_secs) for event in seen)]
    false_of_sensors = [
        alert
        for alert in of_sensors
        if not any(event.is_sensor and _names(alert, event) and _opens_in(alert, event, grace_secs) for event in seen)
    ]
    weeks = sum(last - first for first, last in watched.values()) / WEEK_SECS
    open_secs = sum(min(_closed(alert), watched[alert.machine][1]) - alert.opened_at for alert in ours)
    return Comparison(matches, false_alerts, false_of_sensors, weeks, open_secs / 3600)


def _diagnosis(event: Event, of_sensors: Sequence[Alert], grace_secs: float) -> Alert | None:
    during = [alert for alert in of_sensors if _opens_in(alert, event, grace_secs)]
    return next((alert for alert in during if _names(alert, event)), next(iter(during), None))


def _names(alert: Alert, event: Event) -> bool:
    return not event.channels or next(iter(alert.channels)) in event.channels


def _within(event: Event, span: tuple[float, float]) -> bool:
    return span[0] <= event.start < span[1]


def _closed(alert: Alert) -> float:
    return math.inf if alert.closed_at is None else alert.closed_at


def _opens_in(alert: Alert, event: Event, grace_secs: float) -> bool:
    return alert.machine == event.machine and event.start <= alert.opened_at <= event.end + grace_secs


def _stands_at(alert: Alert, event: Event) -> bool:
    return alert.machine == event.machine and alert.opened_at < event.start <= _closed(alert)
