"""A broker that denies us something is named, and denies us nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import need
from tests.faults import plant
from tests.faults.appliance import wait_until
from tests.faults.conftest import Install, Reference
from tests.servers import Mosquitto

PLUGIN = Path("/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so")
"""The access list of mosquitto's own configuration never denies a subscription, only what would come of it."""


def rules(denied: str) -> str:
    """Return mosquitto's dynamic security settings: everybody may do anything but one thing."""
    kinds = ("publishClientSend", "publishClientReceive", "subscribe", "unsubscribe")
    acls = [{"acltype": "subscribePattern", "topic": denied, "priority": 9, "allow": False}]
    return json.dumps(
        {
            "defaultACLAccess": dict.fromkeys(kinds, True),
            "roles": [{"rolename": "everybody", "acls": acls}],
            "groups": [{"groupname": "unnamed", "roles": [{"rolename": "everybody"}]}],
            "anonymousGroup": "unnamed",
        }
    )


@pytest.fixture
def deaf(tmp_path: Path) -> Iterator[Mosquitto]:
    """Start a broker that denies subscriptions to the plant's topics."""
    need("mosquitto")
    if not PLUGIN.exists():
        pytest.skip(f"{PLUGIN} is not there: this mosquitto has no dynamic security plugin")
    folder = tmp_path / "deaf"
    settings = [f"plugin {PLUGIN}", f"plugin_opt_config_file {folder / 'security.json'}"]
    server = Mosquitto(folder, settings=settings)
    (folder / "security.json").write_text(rules("plant/#"))
    server.start()
    yield server
    server.kill()


def test_a_denied_subscription_is_named_and_asked_for_again(
    install: Install, deaf: Mosquitto, brief: Reference
) -> None:
    appliance = install(deaf.port)
    appliance.start("--set", "ingest.mqtt.ASK_AGAIN_SECS=1")
    wait_until(lambda: "refuses the subscription to plant/+" in str(appliance.status()), "named in the status")
    status = appliance.command("status")
    assert status.returncode == 1
    assert "refuses the subscription to plant/+" in " ".join(status.stdout.split())
    check = appliance.command("check")
    assert check.returncode == 1
    assert "subscription to plant/+" in " ".join(check.stdout.split())
    (deaf.log_file.parent / "security.json").write_text(rules("another/#"))
    deaf.restart()
    wait_until(appliance.is_subscribed, "subscribed after the rules were mended")
    plant.publish(deaf.port, brief.messages)
    appliance.drain(brief.messages)
    assert appliance.command("status").returncode == 0


def test_a_denied_status_topic_does_not_shake_the_connection(
    install: Install, tmp_path: Path, brief: Reference
) -> None:
    need("mosquitto")
    broker = Mosquitto(tmp_path / "strict", acl="topic readwrite plant/#\n")
    broker.start()
    try:
        appliance = install(broker.port)
        appliance.start()
        wait_until(appliance.is_subscribed, "subscribed")
        wait_until(lambda: "may not publish to appliance/status" in appliance.log(), "the denial named")
        wait_until(appliance.is_subscribed, "subscribed")
        connections = appliance.status()["broker"]["connections"]
        plant.publish(broker.port, brief.messages)
        appliance.drain(brief.messages)
        time.sleep(0.5)  # the status is written every 0.2 seconds
        assert appliance.status()["broker"]["connections"] == connections <= 2
        assert appliance.command("status").returncode == 0
        check = appliance.command("check")
        assert check.returncode == 1
        assert "appliance/canary" in " ".join(check.stdout.split())
        assert appliance.stop() == 0
    finally:
        broker.kill()
