"""Whatever the broker and the wire to it do, nothing that was acknowledged is lost and the appliance listens again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.faults import plant
from tests.faults.appliance import Appliance, wait_until
from tests.faults.conftest import Install, Reference
from tests.faults.wires import SESSION_TAKEN_OVER, FakeBroker, Proxy, published
from tests.servers import Mosquitto

AUTOSAVE_SECS = 1.5
"""The broker writes its queues to disk every second; what it loses in a second is beyond us."""


@pytest.fixture
def proxy(broker: Mosquitto) -> Iterator[Proxy]:
    """Stand between the appliance and the broker."""
    server = Proxy(broker.port)
    yield server
    server.close()


def started(appliance: Appliance) -> Appliance:
    """Start and wait until it listens."""
    appliance.start()
    wait_until(appliance.is_subscribed, "subscribed")
    return appliance


def connections(appliance: Appliance) -> int:
    """Return how often it has connected."""
    return int(appliance.status()["broker"]["connections"])


def listens_again(appliance: Appliance, before: int) -> None:
    """Wait until it has connected anew and is subscribed."""
    wait_until(lambda: connections(appliance) > before and appliance.is_subscribed(), "connected anew")


def test_a_broker_that_is_stopped_or_killed_costs_nothing(
    install: Install, broker: Mosquitto, undisturbed: Reference
) -> None:
    sent = undisturbed.messages
    appliance = started(install(broker.port))
    plant.publish(broker.port, sent[:3000])
    broker.restart()
    plant.publish(broker.port, sent[3000:6000])
    time.sleep(AUTOSAVE_SECS)
    broker.kill()
    broker.start()
    plant.publish(broker.port, sent[6000:])
    appliance.drain(sent)
    assert appliance.status()["broker"]["sessions_lost"] == 0
    assert appliance.stop() == 0
    plant.assert_same(appliance.database_file, undisturbed.database)
    plant.assert_accounted(appliance.account(), plant.readings(sent))


def test_a_lost_session_is_counted_and_begun_anew(install: Install, broker: Mosquitto, brief: Reference) -> None:
    sent = brief.messages
    appliance = started(install(broker.port))
    plant.publish(broker.port, sent[:700])
    wait_until(lambda: appliance.has(sent[:700]), "the first half")
    before = connections(appliance)
    broker.stop()
    (broker.log_file.parent / "mosquitto.db").unlink()
    broker.start()
    listens_again(appliance, before)
    assert appliance.status()["broker"]["sessions_lost"] == 1
    plant.publish(broker.port, sent[700:])
    appliance.drain(sent)
    assert appliance.stop() == 0
    plant.assert_same(appliance.database_file, brief.database)


def test_what_a_second_client_with_our_id_took_comes_back(
    install: Install, broker: Mosquitto, brief: Reference
) -> None:
    sent = brief.messages
    appliance = started(install(broker.port))
    before = connections(appliance)
    plant.publish(broker.port, sent[:700])
    other = mqtt.Client(CallbackAPIVersion.VERSION2, "appliance", protocol=mqtt.MQTTv5, manual_ack=True)
    stays = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    stays.SessionExpiryInterval = 3600
    other.connect("127.0.0.1", broker.port, clean_start=False, properties=stays)
    other.loop_start()
    plant.publish(broker.port, sent[700:])
    listens_again(appliance, before)
    other.disconnect()
    other.loop_stop()
    appliance.drain(sent)
    assert appliance.stop() == 0
    plant.assert_same(appliance.database_file, brief.database)


def test_fifty_quick_flaps_lose_nothing(
    install: Install, broker: Mosquitto, proxy: Proxy, undisturbed: Reference
) -> None:
    sent = undisturbed.messages
    appliance = started(install(proxy.port))
    for number in range(50):
        plant.publish(broker.port, sent[number * 150 : (number + 1) * 150])
        proxy.cut()
        time.sleep(0.05)
    plant.publish(broker.port, sent[50 * 150 :])
    appliance.drain(sent)
    assert connections(appliance) > 3
    assert appliance.stop() == 0
    plant.assert_same(appliance.database_file, undisturbed.database)
    plant.assert_accounted(appliance.account(), plant.readings(sent))


def test_a_half_open_connection_is_noticed_and_made_anew(
    install: Install, broker: Mosquitto, proxy: Proxy, brief: Reference
) -> None:
    appliance = started(install(proxy.port))
    plant.publish(broker.port, brief.messages[:700])
    before = connections(appliance)
    proxy.hush()
    plant.publish(broker.port, brief.messages[700:])
    listens_again(appliance, before)
    appliance.drain(brief.messages)
    assert appliance.stop() == 0
    plant.assert_same(appliance.database_file, brief.database)


def test_a_malformed_packet_costs_a_connection_and_no_message(install: Install, brief: Reference) -> None:
    sent = brief.messages
    half = len(sent) // 2

    def script(connection: int, send: Callable[[bytes], None]) -> None:
        part = sent[:half] if connection == 1 else sent[half:]
        for packet_id, message in enumerate(part, start=1):
            send(published(message.topic, message.payload, packet_id))
        if connection == 1:
            send(b"\x32\x05\xff\xff\x00\x01\x02")  # a topic of 65,535 bytes in a packet of five

    fake = FakeBroker(script)
    try:
        appliance = install(fake.port)
        appliance.start()
        appliance.drain(sent)
        assert fake.connections == 2
        assert appliance.is_subscribed()
        assert appliance.stop() == 0
        plant.assert_same(appliance.database_file, brief.database)
        assert [packet for connection, packet in fake.acknowledged if connection == 2] == [*range(1, half + 1)]
    finally:
        fake.close()


def test_a_broker_that_gives_our_session_to_another_is_quoted_and_tried_again(install: Install) -> None:
    fake = FakeBroker(lambda connection, send: send(SESSION_TAKEN_OVER) if connection < 3 else None)
    try:
        appliance = install(fake.port)
        appliance.start()
        wait_until(lambda: fake.connections == 3 and appliance.is_subscribed(), "the third connection")
        assert "Session taken over" in appliance.log()
    finally:
        fake.close()


@pytest.mark.slow
def test_a_thousand_flaps_lose_nothing(
    install: Install, broker: Mosquitto, proxy: Proxy, undisturbed: Reference
) -> None:
    sent = undisturbed.messages
    appliance = started(install(proxy.port))
    for number in range(1000):
        plant.publish(broker.port, sent[number * 10 : (number + 1) * 10])
        proxy.cut()
        time.sleep(0.3)
    appliance.drain(sent)
    assert connections(appliance) > 100
    assert appliance.stop() == 0
    plant.assert_same(appliance.database_file, undisturbed.database)
