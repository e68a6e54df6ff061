"""Start, watchdog and stop, as the service manager sees them."""

from __future__ import annotations

import time
from itertools import pairwise

from appliance.service import HUNG_SECS
from tests.faults import plant
from tests.faults.appliance import Appliance, wait_until
from tests.faults.conftest import Install, Reference
from tests.servers import Mosquitto

HUNG = 3.0
"""Seconds here instead of ``HUNG_SECS``, so that nobody waits for it."""
BEAT_SECS = 1.0
"""Far more than there is between two beats here, even on a loaded machine."""


def beats(appliance: Appliance) -> list[float]:
    """Return when the watchdog was fed."""
    return [at for at, line in appliance.heard if "WATCHDOG=1" in line]


def test_the_watchdog_is_fed_by_progress_and_not_by_a_timer(
    install: Install, broker: Mosquitto, brief: Reference
) -> None:
    appliance = install(broker.port)
    appliance.start("--at", "process", "--hang", "--set", f"service.HUNG_SECS={HUNG}")
    assert appliance.has_said("READY=1")
    time.sleep(2 * BEAT_SECS)
    fed = beats(appliance)
    assert len(fed) > 2, "an idle appliance is a healthy one"
    assert max(later - earlier for earlier, later in pairwise(fed)) < BEAT_SECS
    wait_until(appliance.is_subscribed, "subscribed")
    plant.publish(broker.port, brief.messages[:10])
    hung_at = time.monotonic()
    time.sleep(HUNG + 3 * BEAT_SECS)
    assert appliance.runs
    assert beats(appliance)[-1] < hung_at + HUNG + 2 * BEAT_SECS
    assert HUNG_SECS < 30, "the unit's WatchdogSec"


def test_a_stop_with_a_backlog_is_quick_and_the_next_start_goes_on(
    install: Install, broker: Mosquitto, undisturbed: Reference
) -> None:
    sent = undisturbed.messages
    appliance = install(broker.port)
    appliance.start(as_shipped=True)
    wait_until(appliance.is_subscribed, "subscribed")
    plant.publish(broker.port, sent[:7000])
    wait_until(lambda: appliance.rows("SELECT count(*) FROM scores WHERE score IS NOT NULL")[0][0] > 0, "scores")
    plant.publish(broker.port, sent[7000:9000])
    began = time.monotonic()
    assert appliance.stop() == 0
    stopped_secs = time.monotonic() - began
    scored = appliance.rows("SELECT count(*) FROM scores WHERE score IS NOT NULL")[0][0]
    began = time.monotonic()
    appliance.start(as_shipped=True)
    ready_secs = time.monotonic() - began
    plant.publish(broker.port, sent[9000:])
    scores = "SELECT count(*) FROM scores WHERE score IS NOT NULL"
    wait_until(lambda: appliance.rows(scores)[0][0] > scored, "the first new score")
    first_secs = time.monotonic() - began
    print(
        f"stopped in {stopped_secs:.1f} s, ready in {ready_secs:.1f} s, first new score {first_secs:.1f} s after start"
    )
    assert stopped_secs < 10
    appliance.drain(sent)
    assert appliance.stop() == 0
    assert {model for (model,) in appliance.rows("SELECT DISTINCT model FROM scores WHERE score IS NOT NULL")} == {1}
    plant.assert_same(appliance.database_file, undisturbed.database)
