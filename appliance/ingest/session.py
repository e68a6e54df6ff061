"""A short-lived connection of a command's own: publish, subscribe, wait for an answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from appliance.errors import Refused, Retry
from appliance.ingest.broker import FAILURE, BrokerOptions

PATIENCE_SECS = 5.0


class Session:
    """A connection with a clean session, for as long as the context lasts.

    Parameters
    ----------
    awaited
        Which payload :meth:`wait` waits for.

    Raises
    ------
    Retry, Refused
        Entering it: the broker does not answer, or says no.
    """

    def __init__(self, options: BrokerOptions, awaited: Callable[[bytes], bool] = lambda payload: False) -> None:
        self._options = options
        self._awaited = awaited
        self._place = f"{options.host}:{options.port}"
        self._connected = threading.Event()
        self._subscribed = threading.Event()
        self._codes: list[Any] = []
        self._heard = threading.Event()
        self._answer: bytes | None = None
        protocol = mqtt.MQTTv5 if options.protocol == "5" else mqtt.MQTTv311
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=options.client_id, protocol=protocol, reconnect_on_failure=False
        )
        self._client.username_pw_set(options.username, options.password)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._refusal: str | None = None

    def __enter__(self) -> Session:
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

    def wait(self, secs: float) -> bytes | None:
        """Return the payload that was awaited, from a topic subscribed to; None where it does not come in time."""
        self._heard.wait(secs)
        return self._answer

    def _on_connect(self, client: mqtt.Client, userdata: object, flags: object, code: Any, properties: object) -> None:
        self._refusal = str(code) if code.is_failure else None
        self._connected.set()

    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        if self._answer is None and self._awaited(bytes(message.payload)):
            self._answer = bytes(message.payload)
            self._heard.set()

    def _on_subscribe(self, client: mqtt.Client, userdata: object, mid: int, codes: Any, properties: object) -> None:
        self._codes = list(codes)
        self._subscribed.set()
