"""What operators change in a machine's life: label or command → here → alerts, learning, head."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from appliance.adaptation import Adapted, Fit
from appliance.archive import Archive
from appliance.detect.traces import Traces
from appliance.ingest.reasons import likely, refuse
from appliance.machine import Machine
from appliance.outcome import AttemptCause
from appliance.records import Alert, Label, LabelVerdict


class Heeded(NamedTuple):
    """What came of a label."""

    label: Label
    alerts: list[Alert]
    """That it has changed."""
    adapted: Adapted | None
    """What was learned from it; None where there was nothing to learn."""


class TaughtMachine(Machine):
    """A machine of which operators speak."""

    def label(self, asked: Label, received_at: float, archive: Archive) -> Heeded:
        """Take in an operator's label, and learn from it.

        Raises
        ------
        DecodeError
            Why it cannot be used; nothing has changed.
        """
        newest = self.grid.newest_time
        assert newest is not None  # there is no machine without a reading
        if asked.channel is not None and asked.channel not in self.grid.channels:
            detail = f'label on {self.name}: channel "{asked.channel}"{likely(asked.channel, self.grid.channels)}'
            raise refuse("bad_label", detail)
        spent = self._labels.rightly_spent()
        label = self._labels.add(asked, newest=newest, received_at=received_at)
        given_back = 0.0
        if self._learned is not None:
            given_back = self._learned.detector.calibrator.give_back(self._labels.rightly_spent() - spent)
        assert label.start is not None
        # Between two windows: no other change of an alert has this time, and in InfluxDB takes its place.
        cells = self._spec.length - self._spec.hop + 0.5
        at = newest if self._next_start is None else self._next_start + cells * self._spec.period_secs
        end = math.inf if label.end is None else label.end
        if label.channel is not None:
            changed = None if label.cleared else self.sensor_incidents.judge(label.channel, label.verdict, at)
        else:
            changed = self.incidents.judge(label.verdict, label.start, end, at)
            self._heed(label.verdict, label.start, min(end, newest), newest)
        adapted = self.adapt(archive, label.id, given_back) if label.channel is None else None
        if adapted is not None and changed is not None:
            changed = self.incidents.note(adapted.words)
        alerts = [] if changed is None else [changed]
        self._labels.note(alerts)
        return Heeded(label if adapted is None else replace(label, learned=adapted.words), alerts, adapted)

    def adapt(self, archive: Archive, said: str | None = None, given_back: float = 0.0) -> Adapted | None:
        """Make a head of all labels, ``said`` the id of the last; None where there is nothing to learn from."""
        fit = self._in_service(archive)
        cause: AttemptCause = "command" if said is None else "label"
        adapted = None if fit is None else self._adaptation.adapt(fit, self._labels, cause, said, given_back)
        return self._rescaled(adapted)

    def roll_back(self, archive: Archive) -> Adapted | None:
        """Go back to the head before the present one; None while the machine learns."""
        fit = self._in_service(archive)
        adapted = None if fit is None else self._adaptation.roll_back(fit, self._labels, archive.head)
        return self._rescaled(adapted)

    def _in_service(self, archive: Archive) -> Fit | None:
        model = None if self._learned is None else archive.model(self.name)
        if self._learned is None or model is None or model.version != self._version:
            return None
        return Fit(self._learned.detector, model.version, Traces.restore(model.state["warm_up"]), archive.traces)

    def _rescaled(self, adapted: Adapted | None) -> Adapted | None:
        if adapted is not None and adapted.record is not None:
            self._refits.rescaled()
        return adapted

    def knows(self, label: Label) -> bool:
        """Whether this very label was taken in before."""
        return label in self._labels

    def _heed(self, verdict: LabelVerdict, start: float, end: float, newest: float) -> None:
        """Learn, or stop learning, from what a label says of a stretch up to the newest reading."""
        if verdict == "false_alarm":
            self._refits.vouch(start, end)
        elif verdict == "fault":
            self._refits.doubt(end, newest)
        elif verdict == "new_normal" and self._next_start is not None:
            hop_secs = self._spec.hop * self._spec.period_secs
            begin = min(max(math.floor(start / hop_secs) * hop_secs, self._began or 0.0), self._next_start)
            self._adaptation.forget()
            self._learned = self._screened = None
            self._began = begin
            self._refits = self._new_refits()
            self._refits.vouch(begin, self._next_start)
            self._warm = round((self._next_start - begin) / hop_secs)
