"""Try a broker as the service would use it, without disturbing the service's own session."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from appliance.errors import Refused, Retry
from appliance.ingest.broker import FAILURE, BrokerOptions

PATIENCE_SECS = 5.0


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
        with _Session(self._options) as session:
            for name in self._filters:
                session.subscribe(name)
            session.subscribe(self._canary)
            session.publish(self._canary, session.token)
            if not session.heard.wait(PATIENCE_SECS):
                raise Refused(
                    f"a message published to {self._canary} did not come back; check the broker's access list"
                )
        return f"connected, subscribed to {', '.join(self._filters)}, published and read back {self._canary}"

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish one message over a connection of its own."""
        with _Session(self._options) as session:
            session.publish(topic, payload, retain=retain)


class _Session:
    """A clean, short-lived connection."""

    def __init__(self, options: BrokerOptions) -> None:
        self._options = options
        self._place = f"{options.host}:{options.port}"
        self._connected = threading.Event()
        self._subscribed = threading.Event()
        self._codes: list[Any] = []
        self.heard = threading.Event()
        protocol = mqtt.MQTTv5 if options.protocol == "5" else mqtt.MQTTv311
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=options.client_id, protocol=protocol, reconnect_on_failure=False
        )
        self._client.username_pw_set(options.username, options.password)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self.token = os.urandom(8).hex().encode()
        self._refusal: str | None = None

    def __enter__(self) -> _Session:
        try:
            if self._options.tls is not None:
                self._client.tls_set_context(self._options.tls.context())
            self._client.connect(self._options.host, self._options.port, self._options.keepalive_secs)
        except (OSError, ValueError) as error:
            raise Retry(f"{error}; check host, port and certificates") from error
        self._client.loop_start()
        if not self._connected.wait(PATIENCE_SECS):
            self._close()
            raise Retry(f"{self._place} took the connection but did not answer it")
        if self._refusal is not None:
            self._close()
            raise Refused(f"{self._refusal}; check username, password_file and client_id")
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def subscribe(self, name: str) -> None:
        """Subscribe at QoS 1 and read the broker's code."""
        self._subscribed.clear()
        self._client.subscribe(name, 1)
        if not self._subscribed.wait(PATIENCE_SECS):
            raise Retry(f"no answer to the subscription of {name}")
        if any(code.value >= FAILURE for code in self._codes):
            raise Refused(f"subscription to {name}: {self._codes[0]}; check the broker's access list")

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait for the answer."""
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        try:
            info.wait_for_publish(PATIENCE_SECS)
        except (RuntimeError, ValueError) as error:
            raise Retry(str(error)) from error
        if not info.is_published():
            raise Retry(f"no answer to a publish to {topic}")

    def _on_connect(self, client: mqtt.Client, userdata: object, flags: object, code: Any, properties: object) -> None:
        self._refusal = str(code) if code.is_failure else None
        self._connected.set()

    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        if bytes(message.payload) == self.token:
            self.heard.set()

    def _on_subscribe(self, client: mqtt.Client, userdata: object, mid: int, codes: Any, properties: object) -> None:
        self._codes = list(codes)
        self._subscribed.set()
