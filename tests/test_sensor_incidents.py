from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.incidents import AlertRules
from appliance.records import Alert, SensorFault, Signal
from appliance.sensor_incidents import SensorIncidents
from appliance.store import packing
from tests.test_incidents import HOP, LENGTH, score

RULES = AlertRules(cooldown_secs=100.0)
LATEST = {"temp": 54.2, "rpm": 1450.0}
Faults = dict[str, SensorFault]


def told(windows: list[Faults], rules: AlertRules = RULES, latest: dict[str, float] = LATEST) -> list[list[Alert]]:
    incidents = SensorIncidents(rules)
    incidents.usual = {"temp": (40.0, 60.0)}
    return [
        incidents.update(replace(score(number, 0.0), sensor_faults=faults), latest)
        for number, faults in enumerate(windows)
    ]


STUCK: Faults = {"temp": "stuck"}
NOISY: Faults = {"temp": "noise"}
WELL: Faults = {}


def states(faults: str, rules: AlertRules = RULES) -> list[str]:
    alerts = told([{"temp": "stuck"} if letter == "x" else {} for letter in faults], rules)
    return [alert.state for changes in alerts for alert in changes]


def test_two_of_three_windows_open_an_alert_of_that_sensor() -> None:
    assert states("x..x..x") == []
    assert states("x.x") == ["open"]
    ((), (alert,)) = told([STUCK, STUCK])
    assert (alert.kind, alert.sensor_fault, alert.channels) == ("sensor", "stuck", {"temp": 1.0})
    assert (alert.since, alert.opened_at, alert.peak_score, alert.threshold) == (0.0, HOP + LENGTH, None, None)
    assert alert.id == "m-temp-19700101T000000Z"
    assert alert.summary == "m: the sensor temp is stuck at 54.2 while the others move."


def test_it_closes_after_clear_windows_in_a_row() -> None:
    assert states("xx..x...") == ["open", "closed"]
    closed = told([STUCK] * 2 + [WELL] * 3)[-1][0]
    assert closed.closed_at == 4 * HOP + LENGTH


def test_soon_after_closing_the_same_alert_opens_again_and_later_another() -> None:
    for pause, ids in ((3, 1), (20, 2)):
        alerts = told([NOISY] * 2 + [WELL] * pause + [NOISY] * 2)
        assert [alert.state for changes in alerts for alert in changes] == ["open", "closed", "open"]
        assert len({alert.id for changes in alerts for alert in changes}) == ids


def test_each_sensor_has_an_alert_of_its_own() -> None:
    both: Faults = {"temp": "stuck", "rpm": "noise"}
    alerts = told([both, both, {"rpm": "noise"}, {"rpm": "noise"}, {"rpm": "noise"}])
    assert [(alert.state, *alert.channels) for alert in alerts[1]] == [("open", "temp"), ("open", "rpm")]
    assert [(alert.state, *alert.channels) for alert in alerts[4]] == [("closed", "temp")]


def test_another_kind_of_fault_is_told_again() -> None:
    last = told([NOISY, NOISY, {"temp": "unit_change"}])[-1][0]
    assert (last.state, last.sensor_fault) == ("open", "unit_change")


def test_a_sensor_out_of_range_is_shown_with_the_reading_that_is() -> None:
    incidents = SensorIncidents(AlertRules(open_windows=1))
    incidents.usual = {"temp": (40.0, 60.0)}
    for signal, shown in ((Signal(30.0, -999.0, 55.0), "-999"), (Signal(30.0, 45.0, 65535.0), "65535")):
        window = replace(score(0, 0.0), sensor_faults={"temp": "out_of_range"}, signals={"temp": signal})
        incidents.current.clear()
        assert f"reads {shown}, which" in incidents.update(window, LATEST)[0].summary


windows = st.lists(
    st.dictionaries(st.sampled_from(["temp", "rpm"]), st.sampled_from(["stuck", "noise"]), max_size=2), max_size=40
)


@settings(deadline=None)
@given(windows, st.integers(0, 40), st.sampled_from([0.0, 60.0]))
def test_a_restart_at_any_point_changes_nothing(series: list[Faults], cut: int, cooldown: float) -> None:
    rules = AlertRules(cooldown_secs=cooldown)
    scores = [replace(score(number, 0.0), sensor_faults=faults) for number, faults in enumerate(series)]
    first, resumed = SensorIncidents(rules), SensorIncidents(rules)
    first.usual = resumed.usual = {"temp": (40.0, 60.0)}
    before = [first.update(entry, LATEST) for entry in scores[:cut]]
    resumed.restore(packing.unpack(packing.pack(first.snapshot())))
    assert [*before, *(resumed.update(entry, LATEST) for entry in scores[cut:])] == told(series, rules)


@settings(deadline=None)
@given(windows)
def test_alerts_of_a_sensor_open_and_close_in_turn(series: list[Faults]) -> None:
    standing: dict[str, str] = {}
    for alert in (alert for changes in told(series) for alert in changes):
        (channel,) = alert.channels
        assert standing.get(channel) in {None, alert.id}
        if alert.state == "closed":
            del standing[channel]
        else:
            standing[channel] = alert.id
