"""Fixtures every test may use: a running broker, a running InfluxDB, certificates, a plant with a past."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Certificates
from tests.daemon import ServerError, executable
from tests.lived_plant import live
from tests.servers import InfluxDB, Mosquitto
from tests.small_plant import Plant

WITHOUT_SERVERS = "APPLIANCE_TESTS_WITHOUT_SERVERS"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As where a script runs the tests in its background: what they start would inherit it, and be deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def need(*programs: str) -> None:
    """Fail, with the remedy, where a server is not installed; skip where the environment says that is intended."""
    for program in programs:
        try:
            executable(program)
        except ServerError as missing:
            if os.environ.get(WITHOUT_SERVERS) == "1":
                pytest.skip(f"{missing} ({WITHOUT_SERVERS}=1)")
            pytest.fail(f"{missing}; or set {WITHOUT_SERVERS}=1 to skip the tests that need it", pytrace=False)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return a certificate authority that lasts as long as the test run."""
    need("openssl")
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """Start a plain broker on loopback; it persists, and the test may stop, kill or restart it."""
    need("mosquitto")
    server = Mosquitto(tmp_path / "mosquitto")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def influxdb(tmp_path: Path) -> Iterator[InfluxDB]:
    """Start an InfluxDB with a database and a token; the test may stop, kill or restart it."""
    need("influxd", "nginx")
    server = InfluxDB(tmp_path / "influxdb")
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def lived() -> Plant:
    """A plant that labels are tried on; copy it before anything is sent."""
    return live()
