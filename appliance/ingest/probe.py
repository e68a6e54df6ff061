"""Try a broker as the service would use it, without disturbing the service's own session."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from appliance.errors import Refused
from appliance.ingest.broker import BrokerOptions
from appliance.ingest.session import PATIENCE_SECS, Session


class Probe:
    """Connects under another client id, subscribes to every filter, publishes one message and reads it back.

    A broker's access list may let a publish pass at the protocol's level and drop it: only reading it back shows.
    """

    def __init__(self, options: BrokerOptions, filters: Sequence[str], prefix: str) -> None:
        self._options = replace(options, client_id=f"{options.client_id}-check", will_topic=None)
        self._filters = list(filters)
        self._canary = f"{prefix}/canary"

    def run(self) -> str:
        """Return what works; raises ``Retry`` where the broker does not answer, ``Refused`` where it says no."""
        token = os.urandom(8).hex().encode()
        with Session(self._options, token.__eq__) as session:
            for name in self._filters:
                session.subscribe(name)
            session.subscribe(self._canary)
            session.publish(self._canary, token)
            if session.wait(PATIENCE_SECS) is None:
                raise Refused(
                    f"a message published to {self._canary} did not come back; check the broker's access list"
                )
        return f"connected, subscribed to {', '.join(self._filters)}, published and read back {self._canary}"

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish one message over a connection of its own."""
        with Session(self._options) as session:
            session.publish(topic, payload, retain=retain)
