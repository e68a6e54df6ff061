"""Publishes MQTT messages as a fleet of sensors does and sees to every acknowledgement: feeds replay, demo, tests."""

from __future__ import annotations

import select
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from appliance.errors import ApplianceError

MAX_KEEPALIVE_SECS = 65_535
"""The longest MQTT allows. Nothing pings while the caller computes between two messages; a dead broker shows in the
acknowledgements that stay away."""
FIRST_ERROR_CODE = 0x80
"""MQTT 5 reason codes from here on mean failure (OASIS MQTT 5.0, 2.4)."""


class PublishError(ApplianceError):
    """The broker cannot be reached, went away, or refused a message."""


class Publisher:
    """A QoS 1, MQTT 5 publisher without a thread: the caller's own calls move the bytes.

    paho's network thread costs a wake-up per message and its outbound queue is unbounded. Here `publish` writes to the
    socket at once and reads acknowledgements when as many messages are on their way as ``max_unacked`` and the
    broker's Receive Maximum (which paho does not honour) allow.

    Parameters
    ----------
    max_unacked
        Upper bound on messages sent and not yet acknowledged.
    timeout_secs
        How long to wait for a connection, and for the next acknowledgement, before giving the broker up.
    cafile
        PEM file of the authority that signed the broker's certificate; TLS is used where it is given.

    Raises
    ------
    PublishError
        On entering the context, where the broker cannot be reached or refuses the connection.
    """

    def __init__(
        self,
        host: str,
        port: int = 1883,
        *,
        client_id: str = "",
        user: str | None = None,
        password: str | None = None,
        cafile: Path | None = None,
        max_unacked: int = 500,
        timeout_secs: float = 10.0,
    ) -> None:
        self._address = f"{host}:{port}"
        self._host, self._port = host, port
        self._timeout_secs = timeout_secs
        self._window = max_unacked
        self._connected = False
        self._refusal: str | None = None
        self.sent = 0
        self.acked = 0
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5, reconnect_on_failure=False
        )
        self._client.connect_timeout = timeout_secs
        self._client.max_inflight_messages_set(max_unacked)
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish
        if user is not None:
            self._client.username_pw_set(user, password)
        if cafile is not None:
            try:
                self._client.tls_set(ca_certs=str(cafile))
            except (OSError, ValueError) as error:
                raise PublishError(f"{cafile}: cannot be used as a certificate authority: {error}") from error

    def __enter__(self) -> Publisher:
        """Connect and wait for the broker's CONNACK."""
        try:
            self._client.connect(self._host, self._port, keepalive=MAX_KEEPALIVE_SECS)
        except (OSError, ValueError) as error:
            raise PublishError(
                f"broker {self._address} cannot be reached ({error}): check the address and that the broker runs"
            ) from error
        self._socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        give_up_at = time.monotonic() + self._timeout_secs
        while not self._connected:
            self._exchange(give_up_at, "did not answer the connection request")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect, after every acknowledgement has come if nothing went wrong."""
        try:
            if kind is None:
                self.drain()
        finally:
            self._client.disconnect()

    @property
    def unacked(self) -> int:
        """Messages sent and not yet acknowledged."""
        return self.sent - self.acked

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send one message; blocks while too many are unacknowledged.

        Raises
        ------
        PublishError
            If the broker is gone, silent for ``timeout_secs``, or refused this or an earlier message.
        """
        if self.unacked >= self._window:
            # Half the window at a time: one wait then serves many messages.
            self._wait_until_at_most(self._window // 2, self._timeout_secs)
        try:
            info = self._client.publish(topic, payload, qos=1, retain=retain)
        except ValueError as error:
            raise PublishError(f"topic {topic!r} cannot be published to: {error}") from error
        if info.rc not in {MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN}:
            raise self._lost(mqtt.error_string(info.rc))
        self.sent += 1

    def drain(self, timeout_s: float | None = None) -> None:
        """Wait until every message is acknowledged, at most ``timeout_s`` from one acknowledgement to the next."""
        self._wait_until_at_most(0, self._timeout_secs if timeout_s is None else timeout_s)

    def idle(self, secs: float) -> None:
        """Spend ``secs`` reading acknowledgements, and notice a broker that goes away.

        Raises
        ------
        PublishError
            If the connection ends.
        """
        until = time.monotonic() + secs
        while (left := until - time.monotonic()) > 0:
            self._move_bytes(left)

    def _wait_until_at_most(self, unacked: int, timeout_secs: float) -> None:
        acked = self.acked
        give_up_at = time.monotonic() + timeout_secs
        while self.unacked > unacked:
            self._exchange(give_up_at, f"left {self.unacked} messages unacknowledged for {timeout_secs:g} s")
            if self.acked > acked:
                acked = self.acked
                give_up_at = time.monotonic() + timeout_secs
        if self._refusal is not None:
            raise PublishError(f"broker {self._address} {self._refusal}")

    def _exchange(self, give_up_at: float, complaint: str) -> None:
        left = give_up_at - time.monotonic()
        if left <= 0:
            raise PublishError(f"broker {self._address} {complaint}")
        self._move_bytes(left)

    def _move_bytes(self, wait_secs: float) -> None:
        connection = self._socket()
        writers = [connection] if self._client.want_write() else []
        readable, writable, _ = select.select([connection], writers, [], wait_secs)
        if writable:
            self._check(self._client.loop_write())
        if readable:
            self._check(self._client.loop_read())
        if self._refusal is not None and not self._connected:
            raise PublishError(f"broker {self._address} {self._refusal}")

    def _check(self, code: MQTTErrorCode) -> None:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS and self._refusal is None:
            raise self._lost(mqtt.error_string(code))

    def _socket(self) -> Any:
        connection = self._client.socket()
        if connection is None:
            raise self._lost("connection closed")
        return connection

    def _lost(self, reason: str) -> PublishError:
        return PublishError(
            f"broker {self._address} is gone ({reason}): {self.acked} of {self.sent} messages were acknowledged"
        )

    def _on_connect(self, client: mqtt.Client, userdata: object, flags: object, code: Any, properties: Any) -> None:
        if code.is_failure:
            self._refusal = f"refused the connection ({code}): check user, password and client id"
            return
        self._connected = True
        self._window = max(1, min(self._window, getattr(properties, "ReceiveMaximum", self._window)))

    def _on_publish(self, client: mqtt.Client, userdata: object, mid: int, code: Any, properties: object) -> None:
        self.acked += 1
        if code.value >= FIRST_ERROR_CODE and self._refusal is None:
            self._refusal = f"refused a message ({code}): check what this user may publish to"
