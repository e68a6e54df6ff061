"""Whatever InfluxDB does, every window is there exactly once in the end."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from appliance.store.influx import score_lines
from tests.faults import plant
from tests.faults.appliance import Appliance, wait_until
from tests.faults.conftest import Install, Reference
from tests.faults.wires import Gatekeeper
from tests.servers import InfluxDB, Mosquitto

QUICK = ("--set", "courier.HELD_PAUSE_SECS=1")
"""Nobody should have to wait half a minute for a test to be tried again."""


@pytest.fixture
def gatekeeper(influxdb: InfluxDB) -> Iterator[Gatekeeper]:
    """Stand between the appliance and InfluxDB."""
    server = Gatekeeper(influxdb.proxy.port)
    yield server
    server.close()


def started(appliance: Appliance, *harness: str) -> Appliance:
    """Start and wait until it listens."""
    appliance.start(*harness)
    wait_until(appliance.is_subscribed, "subscribed")
    return appliance


def test_an_influxdb_that_was_away_gets_everything_in_the_end(
    install: Install, broker: Mosquitto, influxdb: InfluxDB, undisturbed: Reference
) -> None:
    sent = undisturbed.messages
    appliance = started(install(broker.port, influxdb=influxdb))
    plant.publish(broker.port, sent[:3000])
    influxdb.engine.stop()
    plant.publish(broker.port, sent[3000:5000])
    wait_until(lambda: "502" in str(appliance.outlet().get("problem")), "nginx answers 502 for its dead engine")
    influxdb.proxy.kill()
    plant.publish(broker.port, sent[5000:7000])
    wait_until(lambda: "refused" in str(appliance.outlet().get("problem")), "connection refused")
    assert not appliance.outlet()["held"]
    influxdb.start()
    plant.publish(broker.port, sent[7000:])
    appliance.drain(sent)
    plant.assert_exported(influxdb, undisturbed.database)
    assert appliance.outlet()["dead_letters"] == 0


def test_a_refused_token_holds_the_export_and_a_mended_one_resumes_it(
    install: Install, broker: Mosquitto, influxdb: InfluxDB, brief: Reference
) -> None:
    user, password = influxdb.token.split(":")
    influxdb.query(f"SET PASSWORD FOR {user} = 'another'")
    appliance = started(install(broker.port, influxdb=influxdb), *QUICK)
    plant.publish(broker.port, brief.messages)
    wait_until(lambda: appliance.outlet().get("held"), "held")
    assert "401" in appliance.outlet()["problem"]
    assert "token" in appliance.outlet()["problem"]
    assert "401" in appliance.command("status").stdout
    influxdb.query(f"SET PASSWORD FOR {user} = '{password}'")
    appliance.drain(brief.messages)
    wait_until(lambda: appliance.outlet()["problem"] is None and not appliance.outlet()["held"], "resumed")
    plant.assert_exported(influxdb, brief.database)


def test_one_bad_point_among_thousands_is_kept_aside_and_all_others_are_stored(
    install: Install, broker: Mosquitto, influxdb: InfluxDB, gatekeeper: Gatekeeper, undisturbed: Reference
) -> None:
    (line,) = [
        line
        for (machine, end), score in plant.windows(undisturbed.database).items()
        for line in score_lines("hall", score)
        if (machine, end) == ("fan", plant.STARTS_AT + 800) and line.startswith("signal,") and "channel=temp" in line
    ]
    gatekeeper.poison = line.encode()
    appliance = started(install(broker.port, influxdb=influxdb, url=gatekeeper.url))
    plant.publish(broker.port, undisturbed.messages)
    appliance.drain(undisturbed.messages)
    plant.assert_windows_exported(influxdb, undisturbed.database, missing_signals=1)
    assert appliance.rows("SELECT sink, body FROM dead_letters") == [("influxdb/scores", line)]


def test_points_whose_type_influxdb_refuses_are_kept_aside(
    install: Install, broker: Mosquitto, influxdb: InfluxDB, brief: Reference
) -> None:
    # A shard knows each field's type: one point of another type in it, and ours of that field are refused.
    write(influxdb, f'alert,site=other peak_score="text" {int(plant.STARTS_AT)}000000000')
    appliance = started(install(broker.port, influxdb=influxdb))
    plant.publish(broker.port, brief.messages)
    appliance.drain(brief.messages)
    plant.assert_windows_exported(influxdb, brief.database)
    letters = appliance.rows("SELECT sink, reason FROM dead_letters")
    assert len(letters) == brief.database.rows("SELECT count(*) FROM alert_log")[0][0]
    assert all(sink == "influxdb/alerts" and "field type conflict" in reason for sink, reason in letters)


def test_points_older_than_the_bucket_keeps_are_passed_over(
    install: Install, broker: Mosquitto, influxdb: InfluxDB, brief: Reference
) -> None:
    influxdb.query("ALTER RETENTION POLICY autogen ON appliance DURATION 1h SHARD DURATION 1h")
    appliance = started(install(broker.port, influxdb=influxdb))
    plant.publish(broker.port, brief.messages)
    appliance.drain(brief.messages)
    assert appliance.account()["dead_letters"] == 0
    assert "beyond retention policy" in appliance.log()


def test_a_lost_answer_to_an_accepted_write_makes_no_duplicates(
    install: Install, broker: Mosquitto, influxdb: InfluxDB, gatekeeper: Gatekeeper, brief: Reference
) -> None:
    gatekeeper.swallow = 2
    appliance = started(install(broker.port, influxdb=influxdb, url=gatekeeper.url))
    plant.publish(broker.port, brief.messages)
    appliance.drain(brief.messages)
    assert gatekeeper.swallowed == 2
    plant.assert_exported(influxdb, brief.database)


def test_an_overloaded_server_is_left_alone_as_long_as_it_asks(
    install: Install, broker: Mosquitto, influxdb: InfluxDB, gatekeeper: Gatekeeper, brief: Reference
) -> None:
    gatekeeper.answer = (429, {"Retry-After": "4"})
    appliance = started(install(broker.port, influxdb=influxdb, url=gatekeeper.url))
    plant.publish(broker.port, brief.messages)
    wait_until(lambda: "429" in str(appliance.outlet().get("problem")), "told to wait")
    assert gatekeeper.refused <= 3, "one try for each of scores, alerts and vitals"
    gatekeeper.answer = (503, {"Retry-After": "a while"})
    wait_until(lambda: "503" in str(appliance.outlet().get("problem")), "told to wait again")
    assert gatekeeper.refused <= 9
    gatekeeper.answer = None
    appliance.drain(brief.messages)
    plant.assert_exported(influxdb, brief.database)


def write(influxdb: InfluxDB, line: str) -> None:
    """Write a point as somebody else's program would."""
    connection = HTTPConnection("127.0.0.1", influxdb.engine.port, timeout=30)
    user, password = influxdb.token.split(":")
    try:
        connection.request("POST", f"/write?db={influxdb.database}&u={user}&p={password}", line)
        assert connection.getresponse().status == 204
    finally:
        connection.close()
