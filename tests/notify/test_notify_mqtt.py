from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from appliance.errors import Retry
from appliance.ingest.broker import BrokerOptions
from appliance.ingest.mqtt import Subscriber
from appliance.notify import build_notifier, parse_options
from appliance.records import Alert
from tests.servers import Mosquitto

ALERT = Alert("m-1", "line 1/m", "open", 0.0, 60.0, 61.0, None, 5.0, 4.0, {"t": 1.0}, {"level": 9.0}, "Hot.")
CLOSED = replace(ALERT, state="closed", closed_at=99.0)
TOPIC = "works/machines/line 1_m/alert"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


@pytest.fixture
def subscriber(broker: Mosquitto) -> Iterator[Subscriber]:
    connection = Subscriber(BrokerOptions(broker.host, broker.port, "appliance"), ["plant/#"], lambda _: True)
    connection.start()
    wait_until(lambda: connection.health().subscribed)
    yield connection
    connection.stop()


@contextmanager
def listening(broker: Mosquitto) -> Iterator[list[mqtt.MQTTMessage]]:
    """Collect what a newcomer gets to see, retained messages first."""
    received: list[mqtt.MQTTMessage] = []
    ready = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _client, _data, message: received.append(message)
    client.connect(broker.host, broker.port)
    client.subscribe("works/#", qos=1)
    client.loop_start()
    assert ready.wait(5)
    try:
        yield received
    finally:
        client.disconnect()
        client.loop_stop()


def test_an_open_alert_is_retained_and_a_closed_one_cleared(broker: Mosquitto, subscriber: Subscriber) -> None:
    notifier = build_notifier(parse_options({"type": "mqtt", "prefix": "works"}), subscriber.publish)
    notifier.write([ALERT])
    with listening(broker) as late:
        wait_until(lambda: len(late) == 1)
        assert (late[0].topic, late[0].retain) == (TOPIC, True)
        assert json.loads(late[0].payload)["summary"] == "Hot."
        notifier.write([CLOSED])
        wait_until(lambda: len(late) == 3)
        assert (late[1].topic, json.loads(late[1].payload)["state"]) == (f"{TOPIC}/log", "closed")
        assert (late[2].topic, late[2].payload) == (TOPIC, b"")
    with listening(broker) as later:
        time.sleep(0.2)
        assert later == []


def test_a_sensor_s_alert_stands_beside_the_machine_s_own(broker: Mosquitto, subscriber: Subscriber) -> None:
    notifier = build_notifier(parse_options({"type": "mqtt", "prefix": "works"}), subscriber.publish)
    sensor = replace(ALERT, id="m-t-1", kind="sensor", sensor_fault="stuck", channels={"line/t": 1.0})
    notifier.write([ALERT, sensor, replace(sensor, state="closed", closed_at=99.0)])
    with listening(broker) as late:
        wait_until(lambda: len(late) == 1)
        assert (late[0].topic, json.loads(late[0].payload)["kind"]) == (TOPIC, "machine")
        notifier.write([sensor])
        wait_until(lambda: len(late) == 3)
        topic = "works/machines/line 1_m/sensors/line_t/alert"
        assert {message.topic for message in late[1:]} == {topic, f"{topic}/log"}
    notifier.write([CLOSED, replace(sensor, state="closed")])


def test_the_probe_leaves_nothing_behind(broker: Mosquitto, subscriber: Subscriber) -> None:
    notifier = build_notifier(parse_options({"type": "mqtt", "prefix": "works"}), subscriber.publish)
    assert notifier.probe() == "may publish to works/canary"
    with listening(broker) as late:
        time.sleep(0.2)
        assert late == []


def test_without_a_connection_it_is_tried_again(broker: Mosquitto, subscriber: Subscriber) -> None:
    notifier = build_notifier(parse_options({"type": "mqtt"}), subscriber.publish)
    broker.kill()
    wait_until(lambda: not subscriber.health().connected)
    with pytest.raises(Retry):
        notifier.write([ALERT])
