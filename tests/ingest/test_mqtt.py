from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from appliance.ingest.broker import BrokerOptions, Tls
from appliance.ingest.buffered import BufferedClient, BufferedSocket
from appliance.ingest.inbox import Arrival
from appliance.ingest.mqtt import Subscriber
from appliance.ingest.publisher import Publisher
from tests.certificates import Certificates
from tests.conftest import need
from tests.servers import Mosquitto

WAIT_SECS = 10.0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


@contextmanager
def subscribed(options: BrokerOptions, arrivals: list[Arrival]) -> Iterator[Subscriber]:
    def deliver(arrival: Arrival) -> bool:
        arrivals.append(arrival)
        return True

    subscriber = Subscriber(options, ["plant/#"], deliver)
    subscriber.start()
    try:
        wait_until(lambda: subscriber.health().subscribed)
        yield subscriber
    finally:
        subscriber.stop()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_what_is_not_acknowledged_comes_again_and_what_is_does_not(broker: Mosquitto, protocol: Any) -> None:
    options = BrokerOptions(broker.host, broker.port, "gateway", protocol=protocol)
    first: list[Arrival] = []
    with subscribed(options, first) as subscriber, Publisher(broker.host, broker.port) as publisher:
        for number in range(10):
            publisher.publish("plant/press", str(number).encode())
        wait_until(lambda: len(first) == 10)
        assert [arrival.message.payload for arrival in first] == [b"%d" % number for number in range(10)]
        subscriber.acknowledge(first[:6])
    again: list[Arrival] = []
    with subscribed(options, again) as subscriber:
        assert subscriber.health().sessions_lost == 0
        wait_until(lambda: len(again) == 4)
        subscriber.acknowledge(again)
        time.sleep(0.2)
    assert [arrival.message.payload for arrival in again] == [b"6", b"7", b"8", b"9"]
    nothing: list[Arrival] = []
    with subscribed(options, nothing):
        time.sleep(0.3)
    assert nothing == []


def test_what_was_left_before_a_packet_is_sent_before_it() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        sock = BufferedSocket(ours)
        sock.leave(b"acknowledgement")
        sock.send(b", disconnect")
        sock.close()
        assert theirs.recv(100) == b"acknowledgement, disconnect"


def test_an_acknowledgement_never_reaches_another_connection(broker: Mosquitto) -> None:
    options = BrokerOptions(broker.host, broker.port, "gateway")
    arrivals: list[Arrival] = []
    with subscribed(options, arrivals) as subscriber, Publisher(broker.host, broker.port) as publisher:
        publisher.publish("plant/press", b"1")
        wait_until(lambda: len(arrivals) == 1)
        broker.restart()
        wait_until(lambda: len(arrivals) == 2)
        subscriber.acknowledge(arrivals[:1])  # its connection is gone, though the packet id may live again
        time.sleep(0.2)
        broker.restart()
        wait_until(lambda: len(arrivals) == 3)
        subscriber.acknowledge(arrivals[2:])
        time.sleep(0.2)
        broker.restart()
        wait_until(lambda: subscriber.health().subscribed)
        time.sleep(0.3)
        assert len(arrivals) == 3
        publisher.sent = publisher.acked  # its broker went away under it


def test_tls_with_a_password_and_a_certificate_of_our_own(tmp_path: Path, certificates: Certificates) -> None:
    need("mosquitto", "mosquitto_passwd")
    own = certificates.issue("gateway-7")
    tls = Tls(certificates.authority, own.certificate, own.key)
    big = b"x" * 200_000  # many TLS records
    for server, username in (
        (Mosquitto(tmp_path / "password", certificates=certificates, users={"gateway": "right"}), "gateway"),
        (Mosquitto(tmp_path / "mutual", certificates=certificates, require_client_certificate=True), None),
    ):
        server.start()
        try:
            password = "right" if username else None
            options = BrokerOptions("localhost", server.port, "gateway", username=username, password=password, tls=tls)
            arrivals: list[Arrival] = []
            with subscribed(options, arrivals) as subscriber:
                subscriber.publish("plant/press", big, timeout_secs=WAIT_SECS)
                subscriber.publish("plant/press", b"last", timeout_secs=WAIT_SECS)
                wait_until(lambda found=arrivals: len(found) == 2)  # type: ignore[misc]
                assert [arrival.message.payload for arrival in arrivals] == [big, b"last"]
        finally:
            server.kill()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves the socket to be collected
@pytest.mark.parametrize("fault", ["authority", "name", "expired", "plaintext"])
def test_a_broker_that_cannot_prove_itself_gets_nothing(tmp_path: Path, certificates: Certificates, fault: str) -> None:
    need("mosquitto")
    shown = {
        "name": certificates.issue("elsewhere", alt_names="DNS:elsewhere"),
        "expired": certificates.issue("old", days=-1),
    }
    server = Mosquitto(
        tmp_path / "server",
        certificates=None if fault == "plaintext" else certificates,
        server_certificate=shown.get(fault),
    )
    server.start()
    authority = Certificates(tmp_path / "stranger").authority if fault == "authority" else certificates.authority
    subscriber = Subscriber(
        BrokerOptions("localhost", server.port, "gateway", tls=Tls(authority)), ["plant/#"], lambda _: True
    )
    subscriber.start()
    try:
        said = "Connection reset" if fault == "plaintext" else "CERTIFICATE_VERIFY_FAILED"
        wait_until(lambda: said in (subscriber.health().problem or ""))
        assert not subscriber.health().connected
        assert "gateway" not in server.log()
    finally:
        subscriber.stop()
        server.kill()


def publish_packet(topic: bytes, packet_id: int, properties: bytes, payload: bytes) -> bytes:
    return struct.pack("!H", len(topic)) + topic + struct.pack("!H", packet_id) + properties + payload


def taken_apart(packet: bytes, *, flags: int = 0x32, protocol: Any = mqtt.MQTTv5) -> tuple[MQTTErrorCode, list[Any]]:
    client = BufferedClient(CallbackAPIVersion.VERSION2, protocol=protocol, manual_ack=True)
    delivered: list[Any] = []
    client.deliver = lambda *message: delivered.append(message)
    client._in_packet["command"] = flags
    client._in_packet["packet"] = bytearray(packet)
    return client._handle_publish(), delivered


@pytest.mark.parametrize("length", [0, 1, 127, 128, 300, 16_384])
def test_properties_are_stepped_over_whatever_their_length(length: int) -> None:
    more = bytes([length & 127 | 128, length >> 7]) if length > 127 else bytes([length])
    if length == 16_384:
        more = bytes([0x80, 0x80, 0x01])
    code, delivered = taken_apart(publish_packet(b"plant/a", 7, more + b"p" * length, b"21.5"))
    assert (code, delivered) == (MQTTErrorCode.MQTT_ERR_SUCCESS, [(b"plant/a", b"21.5", False, 1, 7)])


def test_retained_and_quality_are_read_from_the_flags() -> None:
    assert taken_apart(publish_packet(b"t", 7, b"\0", b""), flags=0x33)[1] == [(b"t", b"", True, 1, 7)]
    assert taken_apart(b"\0\1t" + b"x", flags=0x30, protocol=mqtt.MQTTv311)[1] == [(b"t", b"x", False, 0, 0)]


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\0",
        b"\0\7pla",
        b"\0\0" + b"\0\7\0x",  # an empty topic
        b"\0\1t",  # no packet id
        b"\0\1t\0\0\0x",  # packet id 0
        b"\0\1t\0\7",  # no properties
        b"\0\1t\0\7\5ab",  # properties longer than the packet
        b"\0\1t\0\7\x80\x80\x80\x80\0x",  # a length of more than four bytes, though it says 0
    ],
)
def test_a_malformed_packet_is_an_error_and_no_message(packet: bytes) -> None:
    assert taken_apart(packet) == (MQTTErrorCode.MQTT_ERR_PROTOCOL, [])


def test_quality_of_service_two_is_not_accepted() -> None:
    assert taken_apart(publish_packet(b"t", 7, b"\0", b"x"), flags=0x34) == (MQTTErrorCode.MQTT_ERR_PROTOCOL, [])
