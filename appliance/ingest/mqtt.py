"""The MQTT connection: takes QoS 1 messages off the wire and acknowledges them once they are stored.

The network loop is ours, on paho's calls for foreign event loops: it outlives whatever ends a connection, and reads and
writes in bursts where paho's own waits in select(2) for every packet. Every connection has its own client and its own
epoch, so no acknowledgement can reach a connection other than the one its message came over.
"""

from __future__ import annotations

import contextlib
import logging
import random
import select
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.subscribeoptions import SubscribeOptions

from appliance.errors import Refused, Retry
from appliance.ingest.broker import FAILURE, BrokerOptions, connect, make_client
from appliance.ingest.buffered import BufferedClient, Doorbell
from appliance.ingest.inbox import Arrival
from appliance.records import Message

log = logging.getLogger(__name__)

LONGEST_PAUSE_SECS = 60.0
DOUBLINGS = 7
"""From half a second to more than the longest pause."""
ASK_AGAIN_SECS = 30.0
"""How often a refused subscription is tried again: brokers change their access lists without closing connections."""
SESSION_TAKEN_OVER = 0x8E
SELECT_SECS = 1.0
"""Longest wait before keepalive and stop are looked at."""
CHOKED_SECS = 0.02
"""How soon to look again whether there is room."""
BURST_PACKETS = 100
"""Messages read before anything is written: bounds how long acknowledgements wait."""


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


class Subscriber:
    """Keeps one connection alive, hands every message to ``deliver`` and acknowledges on request.

    Parameters
    ----------
    deliver
        Called on the network thread with each arrival; False says that there is no room for it.
    has_room
        While it is False nothing is read, so that the broker waits. It does not wait for ever: in time the rest is read
        and refused, which only a new connection brings again.
    """

    def __init__(
        self,
        options: BrokerOptions,
        filters: Sequence[str],
        deliver: Callable[[Arrival], bool],
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._options = options
        self._has_room = has_room
        self._had_room = time.monotonic()
        self._filters = list(filters)
        self._deliver = deliver
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._lock = threading.Lock()  # between acknowledging and the change of connection
        self._client: BufferedClient | None = None
        self._bell: Doorbell | None = None
        self._epoch = 0
        self._live = False  # between CONNACK and disconnect
        self._asked: dict[int, str] = {}  # packet id → filter, until the broker answers
        self._granted: set[str] = set()
        self._denied: set[str] = set()
        self._ask_again_at = 0.0
        self._served = False  # this connection came as far as its subscriptions
        self._problem: str | None = "not connected yet"
        self._connections = 0
        self._sessions_lost = 0
        self._refused = 0
        self._overflowed = False  # a message was turned away on this connection
        self._left = 0  # the latest epoch that we ended on purpose
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
            if self._options.will_topic is not None and self._live and self._may_say_online:
                with contextlib.suppress(RuntimeError, ValueError):  # the connection ended meanwhile: the will says it
                    client.publish(self._options.will_topic, b"offline", qos=1, retain=True).wait_for_publish(1.0)
            client.disconnect()
        self._thread.join(timeout_secs)
        self._abandoned.set()  # a broker that does not take our leave is left without

    @property
    def alive(self) -> bool:
        """Whether the network thread runs; paho's own ``is_connected`` stays true after its loop has died."""
        return self._thread.is_alive()

    def health(self) -> Health:
        """Return how the connection stands."""
        subscribed = self._live and self._granted == set(self._filters)
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
            epoch = self._epoch
            self._client.acknowledge(
                arrival.packet_id for arrival in arrivals if arrival.epoch == epoch and arrival.qos == 1
            )
            if self._bell is not None:
                self._bell.ring()

    def resume(self) -> None:
        """Ask again for what was refused to us, and connect anew if messages were turned away and there is room now."""
        with self._lock:
            if self._client is None or not self._live:
                return
            if self._overflowed and self._left != self._epoch:
                self._left = self._epoch
                self._client.disconnect()
            elif self._denied and time.monotonic() >= self._ask_again_at:
                self._subscribe(self._client, self._denied)

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
            self._served = False
            try:
                self._connect_once()
            except Exception as error:
                self._problem = f"{type(error).__name__}: {error}"
                log.warning("MQTT connection to %s:%d: %s", self._options.host, self._options.port, self._problem)
            finally:
                with self._lock:
                    self._live = False
                    self._client = self._bell = None
            failures = 0 if self._served else min(failures + 1, DOUBLINGS)
            # Full jitter, so that forty gateways do not return to a restarted broker in the same second.
            self._stopping.wait(random.uniform(0, min(0.5 * 2**failures, LONGEST_PAUSE_SECS)))

    def _connect_once(self) -> None:
        client = make_client(self._options)
        client.user_data_set({})
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.deliver = self._on_message
        with Doorbell() as bell:
            # With a write registrar paho leaves all writing to our loop, whichever thread has something to send.
            client.on_socket_register_write = lambda *_: bell.ring()
            connect(client, self._options)
            with self._lock:
                self._client, self._bell = client, bell
                self._epoch += 1
                self._overflowed = False
            while not self._abandoned.is_set() and self._exchange(client, bell):
                pass

    def _exchange(self, client: mqtt.Client, bell: Doorbell) -> bool:
        """Wait for something to read or write, and do all of it; False where the connection is over."""
        sock: Any = client.socket()
        if sock is None:
            return False
        writers = [sock] if client.want_write() or not sock.flush() else []
        choked = self._choked()
        waiting = not choked and sock.pending()
        patience = 0.0 if waiting else CHOKED_SECS if choked else SELECT_SECS
        readable, _, _ = select.select([bell] if choked else [sock, bell], writers, [], patience)
        if bell in readable:
            bell.answer()
        if waiting or sock in readable:
            for _ in range(BURST_PACKETS):
                if client.loop_read() != mqtt.MQTT_ERR_SUCCESS:
                    return False
                if not sock.pending():
                    break
        if client.want_write() and client.loop_write() != mqtt.MQTT_ERR_SUCCESS:
            return False
        return client.loop_misc() == mqtt.MQTT_ERR_SUCCESS

    def _choked(self) -> bool:
        """Whether to leave the broker waiting; not so long that it takes us for dead."""
        now = time.monotonic()
        if self._has_room():
            self._had_room = now
        return 0 < now - self._had_room < self._options.keepalive_secs / 2

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
        self._problem = "waiting for the broker to accept the subscriptions"
        with self._lock:
            self._live = True
            self._asked, self._granted = {}, set()
            self._subscribe(client, set(self._filters))
        if self._options.will_topic is not None and self._may_say_online:
            self._online_id = client.publish(self._options.will_topic, b"online", qos=1, retain=True).mid

    def _subscribe(self, client: mqtt.Client, filters: set[str]) -> None:
        """Ask for filters; the caller holds the lock, so that no answer comes before we know the question."""
        self._denied = set()
        for name in sorted(filters):
            options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
            is_v5 = self._options.protocol == "5"
            _, packet_id = client.subscribe(name, options=options) if is_v5 else client.subscribe(name, 1)
            if packet_id is not None:
                self._asked[packet_id] = name

    def _on_disconnect(
        self, client: mqtt.Client, userdata: object, flags: object, code: Any, properties: object
    ) -> None:
        with self._lock:  # waits for acknowledgements under way; none goes out between here and the next CONNACK
            self._live = False
        if not self._stopping.is_set():
            if code.value == SESSION_TAKEN_OVER:  # two that return at once would end each other's connection for ever
                self._served = False
            self._problem = f"disconnected: {code}"
            log.warning("MQTT: %s", self._problem)

    def _on_subscribe(self, client: mqtt.Client, userdata: object, mid: int, codes: Any, properties: object) -> None:
        self._last_packet = time.monotonic()
        with self._lock:
            name = self._asked.pop(mid, "")
            refused = [str(code) for code in codes if code.value >= FAILURE]
            if refused:
                self._denied.add(name)
                self._ask_again_at = time.monotonic() + ASK_AGAIN_SECS
                self._problem = f"the broker refuses the subscription to {name}: {refused[0]}; check its access list"
                log.error("MQTT: %s", self._problem)
            else:
                self._granted.add(name)
                self._served = True

    def _on_publish(self, client: mqtt.Client, userdata: Any, mid: int, code: Any, properties: object) -> None:
        userdata[mid] = code
        if mid == self._online_id and code.value >= FAILURE:
            # mosquitto also closes the connection of a client that publishes where it may not: never try again.
            self._may_say_online = False
            log.error("MQTT: we may not publish to %s: %s; check the access list", self._options.will_topic, code)

    def _on_message(self, topic: bytes, payload: bytes, retained: bool, qos: int, packet_id: int) -> None:
        self._last_packet = time.monotonic()
        message = Message(topic, payload, time.time(), retained)
        # What follows a refused message is refused too: it must not overtake what the next connection brings again.
        if self._overflowed or not self._deliver(Arrival(message, qos, packet_id, self._epoch)):
            self._refused += 1
            self._overflowed = True
