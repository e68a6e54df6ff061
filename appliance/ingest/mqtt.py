"""The MQTT connection: takes QoS 1 messages off the wire and acknowledges them once they are stored.

paho's network loop runs in a thread of our own that outlives whatever ends it. Every connection has its own client and
its own epoch, so no acknowledgement can reach a connection other than the one its message came over.
"""

from __future__ import annotations

import logging
import random
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from appliance.errors import Refused, Retry
from appliance.ingest.inbox import Arrival
from appliance.records import Message

log = logging.getLogger(__name__)

SESSION_EXPIRY_SECS = 7 * 24 * 3600
"""How long the broker keeps our subscription and queue while we are away."""
MAX_PACKET_BYTES = 8 * 2**20
"""A larger message is not delivered to us at all; a sensor has no reason to send one."""
FAILURE = 0x80
"""MQTT reason codes from here on mean no (MQTT 5, 2.4; a 3.1.1 SUBACK failure is 0x80 too)."""
LONGEST_PAUSE_SECS = 60.0


@dataclass(frozen=True, slots=True)
class Tls:
    """How the broker proves itself to us and, with a certificate of our own, we to it."""

    cafile: Path | None = None
    """None: the certificates the system trusts."""
    certfile: Path | None = None
    keyfile: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Build the context; TLS 1.2 at least, certificate and name always checked."""
        context = ssl.create_default_context(cafile=self.cafile)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certfile is not None:
            context.load_cert_chain(self.certfile, self.keyfile)
        return context


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """Where the broker is and how we present ourselves."""

    host: str
    port: int
    client_id: str
    protocol: Literal["5", "3.1.1"] = "5"
    username: str | None = None
    password: str | None = None
    tls: Tls | None = None
    keepalive_secs: int = 30
    receive_maximum: int = 1000
    will_topic: str | None = None
    """Retained status topic: ``online`` while connected, ``offline`` by the broker when we vanish."""


@dataclass(frozen=True, slots=True)
class Health:
    """How the connection stands."""

    connected: bool
    subscribed: bool
    problem: str | None
    """Why not, for the operator."""
    connections: int
    sessions_lost: int
    """Connections on which the broker no longer knew us: what was published meanwhile is missing."""
    refused: int
    silent_secs: float
    """Since the last packet from the broker."""


def make_client(options: BrokerOptions) -> mqtt.Client:
    """Build a paho client that acknowledges nothing by itself and never reconnects by itself."""
    is_v5 = options.protocol == "5"
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id=options.client_id,
        protocol=mqtt.MQTTv5 if is_v5 else mqtt.MQTTv311,
        clean_session=None if is_v5 else False,
        manual_ack=True,
        reconnect_on_failure=False,
    )
    client.username_pw_set(options.username, options.password)
    if options.tls is not None:
        client.tls_set_context(options.tls.context())
    if options.will_topic is not None:
        client.will_set(options.will_topic, b"offline", qos=1, retain=True)
    return client


def connect(client: mqtt.Client, options: BrokerOptions) -> None:
    """Open the TCP connection and send CONNECT for a persistent session."""
    if options.protocol == "3.1.1":
        client.connect(options.host, options.port, options.keepalive_secs)
        return
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_EXPIRY_SECS
    properties.ReceiveMaximum = options.receive_maximum
    properties.MaximumPacketSize = MAX_PACKET_BYTES
    client.connect(options.host, options.port, options.keepalive_secs, clean_start=False, properties=properties)


class Subscriber:
    """Keeps one connection alive, hands every message to ``deliver`` and acknowledges on request.

    Parameters
    ----------
    deliver
        Called on the network thread with each arrival; False says that there is no room for it.
    """

    def __init__(self, options: BrokerOptions, filters: Sequence[str], deliver: Callable[[Arrival], bool]) -> None:
        self._options = options
        self._filters = list(filters)
        self._deliver = deliver
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # between acknowledging and the change of connection
        self._client: mqtt.Client | None = None
        self._epoch = 0
        self._live = False  # between CONNACK and disconnect
        self._granted: set[int] = set()
        self._asked: set[int] = set()
        self._problem: str | None = "not connected yet"
        self._connections = 0
        self._sessions_lost = 0
        self._refused = 0
        self._overflowed = False
        self._online_id: int | None = None
        self._may_say_online = True
        self._last_packet = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def start(self) -> None:
        """Begin to connect, and go on trying until :meth:`stop`."""
        self._thread.start()

    def stop(self, timeout_secs: float = 5.0) -> None:
        """Disconnect in order, so that the broker keeps the session but does not publish our will."""
        self._stopping.set()
        with self._lock:
            client = self._client
        if client is not None:
            if self._options.will_topic is not None and self._live:
                client.publish(self._options.will_topic, b"offline", qos=1, retain=True).wait_for_publish(1.0)
            client.disconnect()
        self._thread.join(timeout_secs)

    @property
    def alive(self) -> bool:
        """Whether the network thread runs; paho's own ``is_connected`` stays true after its loop has died."""
        return self._thread.is_alive()

    def health(self) -> Health:
        """Return how the connection stands."""
        subscribed = self._live and self._asked == self._granted
        return Health(
            connected=self._live,
            subscribed=subscribed,
            problem=None if subscribed else self._problem,
            connections=self._connections,
            sessions_lost=self._sessions_lost,
            refused=self._refused,
            silent_secs=time.monotonic() - self._last_packet,
        )

    def acknowledge(self, arrivals: Sequence[Arrival]) -> None:
        """Acknowledge stored messages in the order they came; those of an earlier connection will come again."""
        with self._lock:
            if not self._live or self._client is None:
                return
            ack, epoch = self._client.ack, self._epoch
            for arrival in arrivals:
                if arrival.epoch == epoch and arrival.qos == 1:
                    ack(arrival.packet_id, 1)

    def resume(self) -> None:
        """Connect anew if messages were turned away and there is room now: the broker then sends them again."""
        if self._overflowed:
            self._overflowed = False
            with self._lock:
                if self._client is not None:
                    self._client.disconnect()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, timeout_secs: float = 10.0) -> None:
        """Publish at QoS 1 and wait for the broker's word.

        Raises
        ------
        Retry
            Not connected, or no answer in time.
        Refused
            The broker does not let us publish there.
        """
        with self._lock:
            client = self._client if self._live else None
        if client is None:
            raise Retry(f"broker {self._options.host}:{self._options.port}: {self._problem}")
        info = client.publish(topic, payload, qos=1, retain=retain)
        try:
            info.wait_for_publish(timeout_secs)
        except (RuntimeError, ValueError) as error:
            raise Retry(f"broker {self._options.host}:{self._options.port}: {error}") from error
        if not info.is_published():
            raise Retry(f"broker {self._options.host}:{self._options.port}: no answer to a publish in {timeout_secs} s")
        code = client.user_data_get().pop(info.mid, None)
        if code is not None and code.value >= FAILURE:
            raise Refused(f"{topic}: the broker refuses our publish: {code}; check its access list")

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._connect_once()
            except Exception as error:
                self._problem = f"{type(error).__name__}: {error}"
                log.warning("MQTT connection to %s:%d: %s", self._options.host, self._options.port, self._problem)
            finally:
                with self._lock:
                    self._live = False
                    self._client = None
            failures = 0 if time.monotonic() - began > LONGEST_PAUSE_SECS else failures + 1
            # Full jitter, so that forty gateways do not return to a restarted broker in the same second.
            self._stopping.wait(random.uniform(0, min(0.5 * 2**failures, LONGEST_PAUSE_SECS)))

    def _connect_once(self) -> None:
        client = make_client(self._options)
        client.user_data_set({})
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        # With a write registrar paho leaves all socket writes to the network thread, instead of writing from ours.
        client.on_socket_register_write = _leave_to_network_thread
        connect(client, self._options)
        with self._lock:
            self._client = client
            self._epoch += 1
        if not self._stopping.is_set():
            client.loop_forever()

    def _on_connect(self, client: mqtt.Client, userdata: object, flags: Any, code: Any, properties: object) -> None:
        self._last_packet = time.monotonic()
        if code.is_failure:
            self._problem = f"the broker refuses us: {code}; check user, password and client_id"
            log.error("MQTT: %s", self._problem)
            return
        self._connections += 1
        if not flags.session_present:
            self._sessions_lost += self._connections > 1
            log.info("MQTT: connected with a new session")
        with self._lock:
            self._live = True
            self._granted, self._asked = set(), set()
        self._problem = "waiting for the broker to accept the subscriptions"
        for name in self._filters:
            options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
            is_v5 = self._options.protocol == "5"
            _, packet_id = client.subscribe(name, options=options) if is_v5 else client.subscribe(name, 1)
            if packet_id is not None:
                self._asked.add(packet_id)
        if self._options.will_topic is not None and self._may_say_online:
            self._online_id = client.publish(self._options.will_topic, b"online", qos=1, retain=True).mid

    def _on_disconnect(
        self, client: mqtt.Client, userdata: object, flags: object, code: Any, properties: object
    ) -> None:
        with self._lock:  # waits for acknowledgements under way; none goes out between here and the next CONNACK
            self._live = False
        if not self._stopping.is_set():
            self._problem = f"disconnected: {code}"
            log.warning("MQTT: %s", self._problem)

    def _on_subscribe(self, client: mqtt.Client, userdata: object, mid: int, codes: Any, properties: object) -> None:
        self._last_packet = time.monotonic()
        refused = [str(code) for code in codes if code.value >= FAILURE]
        if refused:
            self._problem = f"the broker refuses a subscription of {self._filters}: {', '.join(refused)}"
            log.error("MQTT: %s; check its access list", self._problem)
        else:
            self._granted.add(mid)

    def _on_publish(self, client: mqtt.Client, userdata: Any, mid: int, code: Any, properties: object) -> None:
        userdata[mid] = code
        if mid == self._online_id and code.value >= FAILURE:
            # mosquitto also closes the connection of a client that publishes where it may not: never try again.
            self._may_say_online = False
            log.error("MQTT: we may not publish to %s: %s; check the access list", self._options.will_topic, code)

    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        self._last_packet = time.monotonic()
        # `.topic` raises on invalid UTF-8, and an exception here ends paho's loop: take the bytes as they came.
        arrived = Message(message._topic, bytes(message.payload), time.time(), message.retain)
        if not self._deliver(Arrival(arrived, message.qos, message.mid, self._epoch)):
            self._refused += 1
            self._overflowed = True


def _leave_to_network_thread(client: mqtt.Client, userdata: object, sock: object) -> None:
    """Do nothing: that a registrar is set is what paho looks at."""
