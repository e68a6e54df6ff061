from __future__ import annotations

import gc
import socket
import threading
import time
from pathlib import Path

import pytest

from appliance.ingest.publisher import Publisher, PublishError
from tests.certificates import Certificates
from tests.daemon import free_port
from tests.servers import Mosquitto


def test_every_message_is_acknowledged_on_leaving(broker: Mosquitto) -> None:
    with Publisher(broker.host, broker.port) as publisher:
        for number in range(1000):
            publisher.publish("plant/pump", b"%d" % number)
    assert (publisher.sent, publisher.acked, publisher.unacked) == (1000, 1000, 0)


@pytest.mark.parametrize(("granted", "bound"), [(20, 20), (0, 64)])
def test_unacknowledged_messages_stay_within_what_the_broker_and_the_caller_allow(
    tmp_path: Path, granted: int, bound: int
) -> None:
    broker = Mosquitto(tmp_path / "broker", settings=[f"max_inflight_messages {granted}"])
    broker.start()
    try:
        with Publisher(broker.host, broker.port, max_unacked=64) as publisher:
            most = 0
            for _ in range(500):
                publisher.publish("plant/pump", b"1")
                most = max(most, publisher.unacked)
        assert most == bound
    finally:
        broker.kill()


def test_drain_returns_when_all_is_acknowledged_and_publishing_goes_on(broker: Mosquitto) -> None:
    with Publisher(broker.host, broker.port) as publisher:
        for _ in range(3):
            publisher.publish("plant/pump", b"1")
            publisher.drain(5.0)
            assert publisher.unacked == 0
        publisher.idle(0.05)


def test_a_broker_that_is_not_there_is_named() -> None:
    port = free_port()
    with pytest.raises(PublishError, match=rf"127\.0\.0\.1:{port} cannot be reached"), Publisher("127.0.0.1", port):
        pass


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        with (
            pytest.raises(PublishError, match="did not answer the connection request"),
            Publisher("127.0.0.1", port, timeout_secs=0.3),
        ):
            pass
        assert time.monotonic() - began < 3


def publish_for_ever(publisher: Publisher) -> None:
    while True:
        publisher.publish("plant/pump", b"x" * 100)


def test_a_broker_that_dies_ends_publishing_with_an_error(broker: Mosquitto) -> None:
    killer = threading.Timer(0.2, broker.kill)
    killer.start()
    with pytest.raises(PublishError, match="is gone"), Publisher(broker.host, broker.port) as publisher:
        publish_for_ever(publisher)
    killer.join()
    assert 0 < publisher.acked <= publisher.sent


def test_a_broker_that_dies_while_idle_is_noticed(broker: Mosquitto) -> None:
    killer = threading.Timer(0.2, broker.kill)
    killer.start()
    with pytest.raises(PublishError, match="is gone"), Publisher(broker.host, broker.port) as publisher:
        publisher.idle(5.0)
    killer.join()


def test_user_and_password_are_shown_and_checked(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "broker", users={"line1": "right"})
    broker.start()
    try:
        with Publisher(broker.host, broker.port, user="line1", password="right") as publisher:
            publisher.publish("plant/pump", b"1")
        assert publisher.acked == 1
        with (
            pytest.raises(PublishError, match=r"refused the connection.*check user, password"),
            Publisher(broker.host, broker.port, user="line1", password="wrong"),
        ):
            pass
    finally:
        broker.kill()


def test_a_topic_the_user_may_not_publish_to_is_an_error(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "broker", users={"line1": "right"}, acl="user line1\ntopic write plant/#\n")
    broker.start()
    try:
        with (
            pytest.raises(PublishError, match="refused a message"),
            Publisher(broker.host, broker.port, user="line1", password="right") as publisher,
        ):
            publisher.publish("elsewhere/pump", b"1")
    finally:
        broker.kill()


def test_a_wildcard_topic_is_an_error(broker: Mosquitto) -> None:
    with pytest.raises(PublishError, match="cannot be published to"), Publisher(broker.host, broker.port) as publisher:
        publisher.publish("plant/#", b"1")


def test_tls_publishes_to_a_broker_with_the_right_certificate(tmp_path: Path, certificates: Certificates) -> None:
    broker = Mosquitto(tmp_path / "broker", certificates=certificates)
    broker.start()
    try:
        with Publisher(broker.host, broker.port, cafile=certificates.authority) as publisher:
            for _ in range(200):
                publisher.publish("plant/pump", b"x" * 2000)
        assert publisher.acked == 200
    finally:
        broker.kill()


@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")  # paho, where the handshake fails
def test_tls_refuses_a_broker_with_a_strange_certificate(tmp_path: Path, certificates: Certificates) -> None:
    broker = Mosquitto(tmp_path / "broker", certificates=certificates)
    broker.start()
    stranger = Certificates(tmp_path / "strangers")
    try:
        with (
            pytest.raises(PublishError, match=r"cannot be reached.*certificate"),
            Publisher(broker.host, broker.port, cafile=stranger.authority),
        ):
            pass
    finally:
        broker.kill()
        gc.collect()


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    cafile = tmp_path / "ca.pem"
    cafile.write_text("nothing")
    with pytest.raises(PublishError, match=r"ca\.pem: cannot be used as a certificate authority"):
        Publisher("127.0.0.1", cafile=cafile)
