"""Killed at any moment, the appliance goes on as if nothing had happened."""

from __future__ import annotations

import random
import time

import pytest

from appliance.store.logs import Logs
from tests.faults import plant
from tests.faults.appliance import Appliance, wait_until
from tests.faults.conftest import Install, Reference
from tests.servers import InfluxDB, Mosquitto

CHECKPOINTS = "worker.CHECKPOINT_MESSAGES=1500"
"""Far more often than in service, so that a short run has kills on both sides of many checkpoints."""
STEPS = ("before-journal", "after-journal", "after-ack", "in-commit", "after-commit", "after-post")


def survive(appliance: Appliance, broker: Mosquitto, reference: Reference, kills: int, seed: int) -> int:
    """Publish in as many parts as there are kills, each killed at a random moment; return how many struck at work."""
    chance = random.Random(seed)
    appliance.start(as_shipped=True)
    wait_until(appliance.is_subscribed, "subscribed")
    part = len(reference.messages) // (kills + 1)
    at_work = 0
    for number in range(kills):
        plant.publish(broker.port, reference.messages[number * part : (number + 1) * part])
        time.sleep(chance.uniform(0.0, 0.6))
        at_work += appliance.account()["messages"]["processed"] < (number + 1) * part
        if number % 11 == 10:  # an orderly stop leaves a checkpoint, so that later kills do not start from nothing
            assert appliance.stop() == 0
        else:
            appliance.kill()
        appliance.start(as_shipped=True)
    plant.publish(broker.port, reference.messages[kills * part :])
    return at_work


def check(appliance: Appliance, influxdb: InfluxDB, reference: Reference) -> None:
    """Drain, stop, and compare everything with the undisturbed run."""
    appliance.drain(reference.messages)
    assert appliance.stop() == 0
    plant.assert_same(appliance.database_file, reference.database)
    plant.assert_accounted(appliance.account(), plant.readings(reference.messages))
    plant.assert_exported(influxdb, reference.database)


def test_twenty_kills_at_random_moments_change_nothing(
    install: Install, broker: Mosquitto, influxdb: InfluxDB, undisturbed: Reference
) -> None:
    appliance = install(broker.port, influxdb=influxdb)
    at_work = survive(appliance, broker, undisturbed, kills=22, seed=3)
    assert at_work >= 10, "kills must strike while messages wait, or nothing was tested"
    check(appliance, influxdb, undisturbed)


def test_kills_around_labels_change_nothing(
    install: Install, broker: Mosquitto, influxdb: InfluxDB, labelled: Reference
) -> None:
    appliance = install(broker.port, influxdb=influxdb)
    at_work = survive(appliance, broker, labelled, kills=11, seed=5)
    assert at_work >= 3, "kills must strike while messages wait, or nothing was tested"
    check(appliance, influxdb, labelled)
    points = influxdb.query("SELECT verdict, machine FROM label")
    told = [(label.machine, label.verdict) for _, label in Logs(labelled.database).labels(0, 99)]
    assert sorted((str(point["machine"]), str(point["verdict"])) for point in points) == sorted(told)
    assert len(told) == 6
    attempts = [attempt for _, attempt in Logs(labelled.database).attempts(0, 99)]
    points = influxdb.query("SELECT machine, label, head, promoted FROM adaptation")
    assert sorted((point["machine"], point["label"], point["head"], point["promoted"]) for point in points) == sorted(
        (each.machine, each.label, each.head, each.vetoed is None) for each in attempts
    )
    assert labelled.database.rows("SELECT DISTINCT machine FROM heads"), (
        "labels must have taught, or nothing was compared"
    )


def test_a_kill_at_any_named_step_changes_nothing(
    install: Install, broker: Mosquitto, influxdb: InfluxDB, undisturbed: Reference
) -> None:
    appliance = install(broker.port, influxdb=influxdb)
    part = len(undisturbed.messages) // (len(STEPS) + 1)
    appliance.start("--at", STEPS[0], "--set", CHECKPOINTS)
    wait_until(appliance.is_subscribed, "subscribed")
    for number, step in enumerate(STEPS):
        plant.publish(broker.port, undisturbed.messages[number * part : (number + 1) * part])
        assert appliance.wait() == -9, step
        following = ["--at", STEPS[number + 1]] if number + 1 < len(STEPS) else []
        appliance.start("--set", CHECKPOINTS, *following, ready=False)
    plant.publish(broker.port, undisturbed.messages[len(STEPS) * part :])
    check(appliance, influxdb, undisturbed)


@pytest.mark.parametrize("step", ["in-label", "in-head", "after-commit"])
def test_a_kill_as_a_label_puts_a_head_into_service_leaves_the_old_or_the_new(
    install: Install, broker: Mosquitto, labelled: Reference, step: str
) -> None:
    appliance = install(broker.port)
    first = next(n for n, message in enumerate(labelled.messages) if b'"fault"' in message.payload)
    appliance.start("--set", CHECKPOINTS)
    wait_until(appliance.is_subscribed, "subscribed")
    plant.publish(broker.port, labelled.messages[:first])
    appliance.drain(labelled.messages[:first])
    assert appliance.stop() == 0
    appliance.start("--at", step, ready=False)
    plant.publish(broker.port, labelled.messages[first : first + 1])
    assert appliance.wait() == -9
    in_service = appliance.rows("SELECT count(*) FROM heads")
    assert in_service == [(int(step == "after-commit"),)]
    appliance.start()
    plant.publish(broker.port, labelled.messages[first + 1 :])
    appliance.drain(labelled.messages)
    assert appliance.stop() == 0
    plant.assert_same(appliance.database_file, labelled.database)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_hundred_kills_at_random_moments_change_nothing(
    install: Install, broker: Mosquitto, influxdb: InfluxDB, undisturbed: Reference, seed: int
) -> None:
    appliance = install(broker.port, influxdb=influxdb)
    survive(appliance, broker, undisturbed, kills=22, seed=100 + seed)
    check(appliance, influxdb, undisturbed)
