"""A message that cannot be read is counted, kept with its reason, and keeps nobody waiting."""

from __future__ import annotations

import json
from collections.abc import Callable

from appliance.ingest.reasons import REASONS
from appliance.records import Message
from tests.faults import plant
from tests.faults.appliance import JSON_SOURCE, wait_until
from tests.faults.conftest import Install, Reference
from tests.faults.wires import FakeBroker, published
from tests.servers import Mosquitto

SOURCES = (
    JSON_SOURCE
    + """
[[source]]
name = "numbers"
topic = "values/{machine}/{channel}"
format = { type = "value" }

[[source]]
name = "lines"
topic = "lines/{machine}"
format = { type = "influx" }

[[source]]
name = "vibration"
topic = "bursts/{machine}"
format = { type = "burst" }

[[source]]
name = "sparkplug"
topic = "spBv1.0/{group}/{type}/{node}"
machine = "{group}-{node}"
format = { type = "sparkplug" }
"""
)
TOPICS = (b"plant/pump", b"values/pump/temp", b"lines/pump", b"bursts/pump", b"spBv1.0/hall/NDATA/gateway")
"""One for every codec."""
UNREADABLE = 1000


def poison() -> list[Message]:
    """Return messages that no codec can read, in turn for each of them."""
    return [Message(TOPICS[number % len(TOPICS)], b"\xff\xfe{%d" % number, 0.0) for number in range(UNREADABLE)]


def test_a_thousand_unreadable_messages_hold_up_no_good_one(
    install: Install, broker: Mosquitto, undisturbed: Reference
) -> None:
    appliance = install(broker.port, sources=SOURCES)
    appliance.start()
    wait_until(appliance.is_subscribed, "subscribed")
    good, bad = undisturbed.messages, poison()
    step = len(good) // len(bad)
    mixed = [message for number, one in enumerate(bad) for message in (*good[number * step : (number + 1) * step], one)]
    plant.publish(broker.port, mixed)
    appliance.drain(mixed)
    assert appliance.stop() == 0
    plant.assert_same(appliance.database_file, undisturbed.database)
    account = appliance.account()
    assert account["readings"]["quarantined"] == UNREADABLE
    assert sum(account["refused"].values()) == UNREADABLE
    plant.assert_accounted(account, plant.readings(good) + UNREADABLE)
    listing = appliance.command("quarantine", "--json", "--limit", str(2 * UNREADABLE))
    assert listing.returncode == 1
    listed = json.loads(listing.stdout)
    assert len(listed) == UNREADABLE
    assert {entry["topic"].encode() for entry in listed} == set(TOPICS)
    assert {entry["reason"] for entry in listed} <= REASONS.keys()


def test_topics_that_no_broker_should_pass_on_are_quarantined_too(install: Install, brief: Reference) -> None:
    hostile = [
        b"plant/\xff\xfe",
        b"plant/a\x00b",
        b"plant/" + b"x" * 60_000,
        b"plant/" + b"/".join([b"l"] * 1000),
        b"other",
    ]

    def script(connection: int, send: Callable[[bytes], None]) -> None:
        sent = [Message(topic, b'{"temp": 1}', 0.0) for topic in hostile] + brief.messages
        for packet_id, message in enumerate(sent, start=1):
            send(published(message.topic, message.payload, packet_id))

    fake = FakeBroker(script)
    try:
        appliance = install(fake.port)
        appliance.start()
        appliance.drain(brief.messages)
        assert appliance.stop() == 0
        assert fake.connections == 1
        plant.assert_same(appliance.database_file, brief.database)
        refused = appliance.account()["refused"]
        assert sum(refused.values()) == len(hostile)
        assert refused["topic_not_utf8"] == 1
    finally:
        fake.close()
