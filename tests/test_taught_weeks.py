"""Weeks of a simulated pump with a fault that comes back, and an operator who labels the first three times."""

from __future__ import annotations

import json

from appliance.ingest.codecs import build_codec
from appliance.ingest.topics import Route, TopicPattern
from appliance.pipeline import Source
from appliance.records import Alert, Message
from appliance.simulate.faults import Fault
from appliance.simulate.simulator import simulate_machine
from appliance.windows import GridSpec
from tests.small_plant import BEGIN, Plant

PERIOD, HOUR, DAY = 60.0, 3600.0, 86_400.0
LENGTH_SECS = 16 * PERIOD
LASTS = 2 * HOUR
STARTS = [(10 + 4 * number) * DAY + number % 3 * 5 * HOUR for number in range(7)]
TAUGHT = 3


def lived(*, taught: bool) -> list[Alert]:
    """Alerts of the machine after the third fault, as they stand after the last."""
    faults = [Fault("imbalance", start, LASTS, 0.1, "step", None) for start in STARTS]
    recorded = simulate_machine("pump", "m", hours=36 * 24, period_secs=PERIOD, seed=2, faults=faults)
    grid = GridSpec(period_secs=PERIOD, length=16, hop=8, hold_secs=LENGTH_SECS)
    route = Route("plant", TopicPattern("plant/{machine}"))
    plant = Plant(
        Source(route=route, codec=build_codec({"type": "json"}), grid=grid, warmup_windows=int(5 * DAY / 480))
    )
    alerts: dict[str, Alert] = {}
    to_label = STARTS[: TAUGHT if taught else 0]
    for first in range(0, len(recorded.values), 60):
        sent = []
        for cell in range(first, min(first + 60, len(recorded.values))):
            row = dict(zip(recorded.channels, recorded.values[cell].tolist(), strict=True))
            at = BEGIN + cell * PERIOD
            sent.append(Message(b"plant/m", json.dumps({"time": at, **row}).encode(), at))
        now = (first + 60) * PERIOD
        if to_label and now > to_label[0] + LASTS + HOUR:
            start = BEGIN + to_label.pop(0)
            body = {"verdict": "fault", "name": "imbalance", "from": start, "to": start + LASTS}
            sent.append(Message(b"appliance/machines/m/label", json.dumps(body).encode(), BEGIN + now))
        outcome = plant.send(sent)
        assert not outcome.quarantined
        alerts |= {alert.id: alert for alert in outcome.alerts if alert.kind == "machine"}
    return [alert for alert in alerts.values() if alert.since - BEGIN > STARTS[TAUGHT - 1] + LASTS + 2 * HOUR]


def test_three_labels_have_more_of_the_later_faults_caught_at_no_more_false_alerts() -> None:
    caught, false = [], []
    for taught in (False, True):
        alerts = [alert.since - BEGIN for alert in lived(taught=taught)]
        of_faults = {start for start in STARTS for since in alerts if start - LENGTH_SECS <= since <= start + LASTS}
        caught.append(len(of_faults))
        false.append(
            sum(not any(start - HOUR <= since <= start + LASTS + HOUR for start in STARTS) for since in alerts)
        )
    assert caught[1] >= caught[0] + 2, "of four"
    assert false[1] <= false[0]
