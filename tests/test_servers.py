"""The test servers are what the other tests take them for: real, isolated, and refusing what they should refuse."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue

import paho.mqtt.client as mqtt
import pytest
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS, WriteApi
from influxdb_client.rest import ApiException
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from urllib3.exceptions import HTTPError

from tests.certificates import Certificates
from tests.conftest import WITHOUT_SERVERS, need
from tests.daemon import Daemon, ServerError
from tests.servers import InfluxDB, Mosquitto

WAIT_SECS = 10.0


@contextmanager
def connected(broker: Mosquitto, client_id: str = "", tls: ssl.SSLContext | None = None) -> Iterator[mqtt.Client]:
    """Connect a client that puts what it receives into ``client.user_data_get()``, a queue."""
    admitted: Queue[object] = Queue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, userdata=Queue(), protocol=mqtt.MQTTv5)
    client.on_connect = lambda _client, _userdata, _flags, reason, _properties: admitted.put(reason)
    client.on_message = lambda _client, received, message: received.put((message.topic, message.payload))
    if tls:
        client.tls_set_context(tls)
        client.username_pw_set("operator", "right")
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        assert str(admitted.get(timeout=WAIT_SECS)) == "Success"
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def writer(influxdb: InfluxDB, token: str | None = None) -> Iterator[WriteApi]:
    with InfluxDBClient(influxdb.url, token=token or influxdb.token, org="-", enable_gzip=True) as client:
        yield client.write_api(SYNCHRONOUS)


def shake_hands(broker: Mosquitto, context: ssl.SSLContext) -> None:
    with (
        socket.create_connection((broker.host, broker.port)) as plain,
        context.wrap_socket(plain, server_hostname=broker.host) as secure,
    ):
        secure.settimeout(WAIT_SECS)
        secure.recv(1)  # with TLS 1.3 a client learns that it is refused only when it reads


def publish(client: mqtt.Client, topic: str, payload: str, *, retain: bool = False) -> None:
    client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(WAIT_SECS)


def received(client: mqtt.Client, wait_secs: float = WAIT_SECS) -> tuple[str, bytes]:
    message: tuple[str, bytes] = client.user_data_get().get(timeout=wait_secs)
    return message


def test_a_message_reaches_its_subscriber(broker: Mosquitto) -> None:
    with connected(broker) as client:
        client.subscribe("plant/#", qos=1)
        publish(client, "plant/press", "7")
        assert received(client) == ("plant/press", b"7")


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_the_broker_keeps_its_port_and_its_retained_messages(broker: Mosquitto, end: str) -> None:
    port = broker.port
    with connected(broker) as client:
        publish(client, "plant/press", "7", retain=True)
    database = broker.log_file.parent / "mosquitto.db"
    deadline = time.monotonic() + WAIT_SECS
    while not (database.exists() and b"plant/press" in database.read_bytes()):  # saved once a second
        assert time.monotonic() < deadline
        time.sleep(0.05)

    getattr(broker, end)()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((broker.host, port))
    broker.start()

    assert broker.port == port
    with connected(broker) as client:
        client.subscribe("plant/#", qos=1)
        assert received(client) == ("plant/press", b"7")


@pytest.fixture
def secure_broker(tmp_path: Path, certificates: Certificates) -> Iterator[Mosquitto]:
    need("mosquitto", "mosquitto_passwd")
    acl = "user operator\ntopic readwrite open/#\ntopic write closed/#\n"
    server = Mosquitto(tmp_path / "secure", certificates=certificates, users={"operator": "right"}, acl=acl)
    server.start()
    yield server
    server.kill()


def test_the_access_list_keeps_a_message_from_those_who_may_not_read_it(
    secure_broker: Mosquitto, certificates: Certificates
) -> None:
    with connected(secure_broker, tls=ssl.create_default_context(cafile=certificates.authority)) as client:
        client.subscribe("#", qos=1)
        publish(client, "closed/press", "1")
        publish(client, "open/press", "2")
        assert received(client) == ("open/press", b"2")
        with pytest.raises(Empty):
            received(client, wait_secs=0.2)


def test_a_wrong_password_is_refused(secure_broker: Mosquitto, certificates: Certificates) -> None:
    refused: Queue[str] = Queue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.tls_set_context(ssl.create_default_context(cafile=certificates.authority))
    client.username_pw_set("operator", "wrong")
    client.on_connect = lambda _client, _userdata, _flags, reason, _properties: refused.put(str(reason))
    client.connect(secure_broker.host, secure_broker.port)
    while client.loop(timeout=0.1) == MQTTErrorCode.MQTT_ERR_SUCCESS and refused.empty():
        pass
    assert refused.get(timeout=WAIT_SECS) == "Not authorized"


def test_another_authority_does_not_vouch_for_the_broker(secure_broker: Mosquitto, tmp_path: Path) -> None:
    stranger = ssl.create_default_context(cafile=Certificates(tmp_path / "stranger").authority)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
        shake_hands(secure_broker, stranger)


def test_a_broker_may_show_a_certificate_that_has_expired(tmp_path: Path, certificates: Certificates) -> None:
    need("mosquitto")
    expired = certificates.issue("expired", days=-1)
    server = Mosquitto(tmp_path / "expired", certificates=certificates, server_certificate=expired)
    server.start()
    try:
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            shake_hands(server, ssl.create_default_context(cafile=certificates.authority))
    finally:
        server.kill()


def test_a_client_certificate_opens_the_broker(tmp_path: Path, certificates: Certificates) -> None:
    need("mosquitto")
    server = Mosquitto(tmp_path / "mutual", certificates=certificates, require_client_certificate=True)
    server.start()
    try:
        with pytest.raises(ssl.SSLError, match="certificate required"):
            shake_hands(server, ssl.create_default_context(cafile=certificates.authority))
        known = ssl.create_default_context(cafile=certificates.authority)
        known.load_cert_chain(*certificates.issue("gateway-7"))
        with connected(server, tls=known):
            assert "gateway-7" in server.log()
    finally:
        server.kill()


def test_a_point_written_as_to_influxdb_2_is_read_back(influxdb: InfluxDB) -> None:
    with writer(influxdb) as api:
        api.write(influxdb.database, "-", 'anomaly,machine=press score=1.5,trust="prior" 1700000000000000001')
    rows = influxdb.query('SELECT "score", "trust" FROM "anomaly" GROUP BY "machine"')
    assert rows == [{"machine": "press", "time": 1700000000000000001, "score": 1.5, "trust": "prior"}]


@pytest.mark.parametrize(
    ("token", "database", "line", "status"),
    [
        ("appliance:guessed", "appliance", "anomaly score=1", 401),
        (None, "elsewhere", "anomaly score=1", 404),
        (None, "appliance/no_such_policy", "anomaly score=1", 500),
        (None, "appliance", "anomaly score=", 400),
    ],
)
def test_influxdb_refuses_as_the_real_one(
    influxdb: InfluxDB, token: str | None, database: str, line: str, status: int
) -> None:
    with writer(influxdb, token) as api, pytest.raises(ApiException) as refusal:
        api.write(database, "-", line)
    assert refusal.value.status == status


def test_influxdb_keeps_its_address_and_points_over_a_kill(influxdb: InfluxDB) -> None:
    url = influxdb.url
    with writer(influxdb) as api:
        api.write(influxdb.database, "-", "anomaly score=1 1")
        influxdb.engine.kill()
        with pytest.raises(ApiException) as bad_gateway:
            api.write(influxdb.database, "-", "anomaly score=2 2")
        assert bad_gateway.value.status == 502
        influxdb.kill()
        with pytest.raises(HTTPError):
            api.write(influxdb.database, "-", "anomaly score=2 2")
        influxdb.start()
        api.write(influxdb.database, "-", "anomaly score=3 3")
    assert influxdb.url == url
    assert influxdb.query('SELECT "score" FROM "anomaly"') == [{"time": 1, "score": 1}, {"time": 3, "score": 3}]


def test_a_query_that_fails_says_so(influxdb: InfluxDB) -> None:
    with pytest.raises(ServerError, match="expected FROM"):
        influxdb.query("SELECT 1")


def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    need("mosquitto")
    server = Mosquitto(tmp_path / "broken", settings=["no_such_setting yes"])
    with pytest.raises(ServerError, match="no_such_setting"):
        server.start()


def test_a_port_that_is_taken_is_exchanged_for_a_free_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("mosquitto")
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        taken = occupied.getsockname()[1]
        first, second = Mosquitto(tmp_path / "one"), Mosquitto(tmp_path / "two")
        first.start()
        try:
            first.stop()
            ports = iter([taken, first.port])
            monkeypatch.setattr("tests.daemon.free_port", lambda: next(ports))
            second.start()
            assert second.port == first.port
        finally:
            first.kill()
            second.kill()


def test_a_missing_program_is_named_with_its_remedy(tmp_path: Path) -> None:
    absent = Daemon("no-such-server", tmp_path, [], lambda port: None)
    with pytest.raises(ServerError, match="no-such-server is not installed: run `make setup`"):
        absent.start()


def test_a_server_that_is_not_installed_fails_the_run_unless_that_is_intended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WITHOUT_SERVERS, raising=False)
    with pytest.raises(pytest.fail.Exception, match="run `make setup`"):
        need("no-such-server")
    monkeypatch.setenv(WITHOUT_SERVERS, "1")
    with pytest.raises(pytest.skip.Exception, match="no-such-server is not installed"):
        need("no-such-server")


def test_servers_end_with_the_test_run_that_is_killed(tmp_path: Path) -> None:
    need("mosquitto")
    script = (
        "import os, signal, pathlib, tests.servers as s\n"
        f"server = s.Mosquitto(pathlib.Path({str(tmp_path)!r}) / 'orphan')\n"
        "server.start()\n"
        "print(server.port, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr
    deadline = time.monotonic() + WAIT_SECS
    while True:
        try:
            socket.create_connection(("127.0.0.1", int(run.stdout))).close()
        except ConnectionError:
            break
        assert time.monotonic() < deadline, f"mosquitto outlived {os.getpid()}"
        time.sleep(0.05)
