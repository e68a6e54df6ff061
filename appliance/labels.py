"""What operators have said of one machine: labels in journal order → here → what is learned from, judged and masked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from appliance.errors import DecodeError
from appliance.history import Stretch, without
from appliance.ingest.reasons import Reason, refuse
from appliance.records import Alert, Label

MOST_LABELS = 1000
"""Remembered for each machine; the database keeps all."""
_MOST_ALERTS = 100
"""That a label may name: two years of one a week."""
_HOUR_SECS, _MOST_AN_HOUR = 3600.0, 100
"""More labels than that come from a program, not from people."""
_NOT_LEARNED = {"fault", "maintenance"}
_LAST = {"new_normal", "bad_sensor"}
"""Verdicts that hold until further notice..."""
_SOON_SECS = 3600.0
"""...and may begin so much after the newest reading: now, to a clock that is ahead or about a machine that is slow."""
_TEACHING = {"fault", "false_alarm"}
_OF_A_SENSOR = {"bad_sensor", "false_alarm"}
"""Verdicts on a sensor's alert."""


class Named(NamedTuple):
    """What a label must know of an alert that it names."""

    since: float
    closed_at: float | None
    channel: str | None
    """Of a sensor's alert."""
    spent: float = 0.0
    """Of the fit's budget, in scores."""


class Piece(NamedTuple):
    """A stretch of time and the label that stands there."""

    label: Label
    start: float
    end: float


class Labels:
    """One machine's labels. Where two contradict each other the later one stands, and both are kept.

    Later means later in the journal: operators' clocks are not to be trusted, and a replay must decide the same way.
    What is about one channel only, a bad sensor or a false alarm of one, contradicts nothing.
    """

    def __init__(self) -> None:
        self._labels: dict[str, Label] = {}  # by id, in journal order
        self._standing: list[Piece] | None = None  # worked out once for all windows between two labels
        self._bad: dict[str, list[Stretch]] | None = None
        self._arrivals: list[float] = []  # of the last hour
        self._alerts: dict[str, Named] = {}

    def __contains__(self, label: Label) -> bool:
        return label.id in self._labels

    def note(self, alerts: Iterable[Alert], *, spent: float = 0.0) -> None:
        """Remember alerts, so that a label may name them, and what they have just spent of the budget: in scores."""
        for alert in alerts:
            channel = next(iter(alert.channels)) if alert.kind == "sensor" else None
            known = self._alerts.pop(alert.id, None)
            before = 0.0 if known is None else known.spent
            self._alerts[alert.id] = Named(alert.since, alert.closed_at, channel, before + spent)
            if len(self._alerts) > _MOST_ALERTS:
                del self._alerts[next(iter(self._alerts))]

    def add(self, label: Label, *, newest: float, received_at: float) -> Label:
        """Take in a label; return it with the stretch and channel that its alert names put in.

        Parameters
        ----------
        newest
            Unix seconds of the machine's newest reading.

        Raises
        ------
        DecodeError
            ``unknown_alert``, ``no_such_time``, ``too_many_labels`` or ``bad_label``: nothing was taken in.
        """
        self._arrivals = [at for at in self._arrivals if at > received_at - _HOUR_SECS]
        if len(self._arrivals) >= _MOST_AN_HOUR:
            raise _refuse("too_many_labels", label, f"more than {_MOST_AN_HOUR} in an hour; wait, or send fewer")
        found = self._filled(label, newest)
        assert found.start is not None
        ahead = math.inf if found.verdict == "maintenance" else _SOON_SECS if found.verdict in _LAST else 0.0
        if found.start > newest + ahead:
            raise _refuse("no_such_time", label, "it begins after the newest reading; label what has been")
        self._arrivals.append(received_at)
        self._labels[found.id] = found
        self._standing = self._bad = None
        if len(self._labels) > MOST_LABELS:
            del self._labels[next(iter(self._labels))]
        return found

    def _filled(self, label: Label, newest: float) -> Label:
        if label.alert is None:
            return label if label.start is not None else replace(label, start=newest)
        named = self._alerts.get(label.alert)
        if named is None:
            raise _refuse("unknown_alert", label, f'no alert "{label.alert}" of late; give from and to instead')
        channel = label.channel or named.channel
        if label.verdict == "bad_sensor" and channel is None:
            raise _refuse("bad_label", label, "that alert is of the machine, not of a sensor; name the channel")
        if named.channel is not None and label.verdict not in _OF_A_SENSOR:
            detail = f"that alert is of the sensor {named.channel}; say bad_sensor or false_alarm, or give from and to"
            raise _refuse("bad_label", label, detail)
        end = None if label.verdict in _LAST else newest if named.closed_at is None else named.closed_at
        return replace(label, start=named.since, end=end, channel=channel)

    def standing(self) -> list[Piece]:
        """Return what stands of every label on the whole machine after those that came later, in order of time."""
        if self._standing is None:
            self._standing = self._work_out()
        return self._standing

    def _work_out(self) -> list[Piece]:
        pieces: list[Piece] = []
        taken: list[Stretch] = []
        for label in reversed([*self._labels.values()]):
            if label.channel is not None:
                continue
            stretch = _stretch(label)
            pieces += [Piece(label, *part) for part in without([stretch], taken)]
            taken.append(stretch)
        return sorted(pieces, key=lambda piece: piece.start)

    def not_learned(self) -> list[Stretch]:
        """Return the stretches that no normal is to be learned from."""
        return [(piece.start, piece.end) for piece in self.standing() if piece.label.verdict in _NOT_LEARNED]

    def teaching(self, since: float, until: float) -> list[Stretch]:
        """Return the parts of what lies between two times that say what is a fault and what is none."""
        found = [(max(piece.start, since), min(piece.end, until), piece.label) for piece in self.standing()]
        return [(start, end) for start, end, label in found if start < end and label.verdict in _TEACHING]

    def suspected(self) -> list[Stretch]:
        """Return the stretches of the machine's remembered alerts; the last one may have no end (infinity)."""
        return [
            (alert.since, math.inf if alert.closed_at is None else alert.closed_at)
            for alert in self._alerts.values()
            if alert.channel is None
        ]

    def rightly_spent(self) -> float:
        """Return what the alerts about something that operators call a fault have spent of the budget: in scores."""
        faults = [piece for piece in self.standing() if piece.label.verdict == "fault"]
        return sum(
            alert.spent
            for alert in self._alerts.values()
            if any(
                alert.since < fault.end and (alert.closed_at is None or fault.start < alert.closed_at)
                for fault in faults
            )
        )

    def settle(self) -> None:
        """Forget what alerts have spent: a new fit has a budget of its own."""
        self._alerts = {name: alert._replace(spent=0.0) for name, alert in self._alerts.items()}

    def maintained(self, start: float, end: float) -> bool:
        """Whether the machine is under maintenance anywhere between two times."""
        return any(
            piece.label.verdict == "maintenance" and piece.start < end and piece.end > start
            for piece in self.standing()
        )

    def bad_sensors(self) -> dict[str, list[Stretch]]:
        """Return each channel's stretches under a bad sensor; the last one may have no end (infinity)."""
        if self._bad is not None:
            return self._bad
        found: dict[str, list[Stretch]] = {}
        for label in self._labels.values():
            if label.verdict != "bad_sensor" or label.channel is None:
                continue
            start, end = _stretch(label)
            if label.cleared:  # a sensor that is well again was not bad from then on
                found[label.channel] = without(found.get(label.channel, []), [(start, math.inf)])
            else:
                found[label.channel] = [*without(found.get(label.channel, []), [(start, end)]), (start, end)]
        self._bad = found
        return found

    def bad_at(self, start: float, end: float) -> set[str]:
        """Return the channels whose sensor is bad anywhere between two times."""
        return {
            channel
            for channel, stretches in self.bad_sensors().items()
            if any(first < end and last > start for first, last in stretches)
        }

    def snapshot(self) -> dict[str, Any]:
        """State for a restart."""
        return {
            "labels": [msgspec.to_builtins(label) for label in self._labels.values()],
            "arrivals": list(self._arrivals),
            "alerts": {name: list(alert) for name, alert in self._alerts.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a snapshot."""
        labels = [msgspec.convert(label, Label) for label in state["labels"]]
        self._labels = {label.id: label for label in labels}
        self._standing = self._bad = None
        self._arrivals = list(state["arrivals"])
        self._alerts = {name: Named(*alert) for name, alert in state["alerts"].items()}


def _stretch(label: Label) -> Stretch:
    assert label.start is not None
    return label.start, math.inf if label.end is None else label.end


def _refuse(reason: Reason, label: Label, detail: str) -> DecodeError:
    return refuse(reason, f"label on {label.machine}: {detail}")
