"""A paho client that receives in large pieces: between the broker's socket and the subscriber.

paho reads a packet with three calls of ``recv``, builds a message object with its properties, looks the topic up among
filters nobody registered, and writes every acknowledgement with a ``send`` of its own. Each system call also gives up
Python's lock, which a busy worker thread then holds for milliseconds. Connection, session, keepalive, subscriptions and
publishing stay paho's; receiving at QoS 0 and 1 is ours.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, cast

import paho.mqtt.client as mqtt
from paho.mqtt.enums import MQTTErrorCode

READ_BYTES = 65_536
MOST_UNSENT_BYTES = 1 << 20
PUBACK = struct.Struct("!BBH")
"""Type and flags, remaining length, packet id. Without a reason code it means success (MQTT 5, 3.4.2.1)."""
CONTINUED = 0x80
"""Bit of a variable byte integer that says another byte follows (MQTT 5, 1.5.5)."""


class BufferedSocket:
    """Wraps a connected, non-blocking socket, plain or TLS. What it does not do itself, the socket does."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._read = b""
        self._at = 0
        self._unsent = bytearray()
        self._from_others: deque[bytes] = deque()  # other threads must not touch what a send is under way with

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def fileno(self) -> int:
        """Descriptor of the socket."""
        return self._socket.fileno()

    def recv(self, size: int) -> bytes:
        """Return up to ``size`` bytes out of what was read, and read more only where that is used up."""
        if self._at >= len(self._read):
            self._read, self._at = self._socket.recv(READ_BYTES), 0
        chunk = self._read[self._at : self._at + size]
        self._at += len(chunk)
        return chunk

    def pending(self) -> int:
        """Bytes read and not yet returned, by us or by TLS; select(2) knows nothing of them."""
        ours = len(self._read) - self._at
        return ours or (self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0)

    def send(self, data: bytes | bytearray) -> int:
        """Take bytes to be sent at the next :meth:`flush`; on the loop's thread only."""
        if len(self._unsent) > MOST_UNSENT_BYTES:
            raise BlockingIOError
        self._take_from_others()  # an acknowledgement left before a DISCONNECT would be ignored after it
        self._unsent += data
        return len(data)

    def leave(self, packets: bytes) -> None:
        """Take whole packets to be sent at the next :meth:`flush`; from any thread."""
        self._from_others.append(packets)

    def flush(self) -> bool:
        """Send what was taken; False where the kernel did not take it all."""
        self._take_from_others()
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return False
            del self._unsent[:sent]
        return True

    def _take_from_others(self) -> None:
        while self._from_others:
            self._unsent += self._from_others.popleft()

    def close(self) -> None:
        """Send what was taken, a DISCONNECT above all, and close."""
        with contextlib.suppress(OSError):
            self.flush()
        self._socket.close()


class Doorbell:
    """Wakes a thread that waits in select(2)."""

    def __init__(self) -> None:
        self._outside, self._inside = socket.socketpair()
        self._outside.setblocking(False)

    def __enter__(self) -> Doorbell:
        return self

    def __exit__(self, *_: object) -> None:
        self._outside.close()
        self._inside.close()

    def fileno(self) -> int:
        """Descriptor that becomes readable when the bell has been rung."""
        return self._inside.fileno()

    def ring(self) -> None:
        """Wake the thread; safe from any other."""
        with contextlib.suppress(BlockingIOError, OSError):  # rung often enough already, or nobody lives here any more
            self._outside.send(b"!")

    def answer(self) -> None:
        """Take note of all rings."""
        self._inside.recv(4096)


class BufferedClient(mqtt.Client):
    """A paho client for a loop that flushes; its messages go to :attr:`deliver` instead of ``on_message``."""

    deliver: Callable[[bytes, bytes, bool, int, int], None]
    """Takes topic, payload, retained, QoS and packet id of each message."""

    def acknowledge(self, packet_ids: Iterable[int]) -> None:
        """Leave acknowledgements of QoS 1 messages to be sent, in order; from any thread."""
        sock: Any = self.socket()
        if sock is not None:
            sock.leave(b"".join(PUBACK.pack(mqtt.PUBACK, 2, packet_id) for packet_id in packet_ids))

    def _create_socket(self) -> Any:
        return BufferedSocket(cast("socket.socket", super()._create_socket()))

    def _handle_publish(self) -> MQTTErrorCode:
        """Take a PUBLISH packet apart (MQTT 5, 3.3); a malformed one ends the connection, as the standard asks."""
        packet = bytes(self._in_packet["packet"])
        flags = self._in_packet["command"]
        qos = flags >> 1 & 3
        packet_id = 0
        try:
            at = 2 + (packet[0] << 8 | packet[1])
            topic = packet[2:at]
            if qos:
                packet_id = packet[at] << 8 | packet[at + 1]
                at += 2
            if self.protocol == mqtt.MQTTv5:
                at = _after_properties(packet, at)
        except IndexError:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        if at > len(packet) or qos > 1 or not topic or (qos and not packet_id):
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        self.deliver(topic, packet[at:], bool(flags & 1), qos, packet_id)
        return MQTTErrorCode.MQTT_ERR_SUCCESS


def _after_properties(packet: bytes, at: int) -> int:
    """Step over the properties: none of those a sensor may set changes what it measured."""
    length = shift = 0
    while True:
        byte = packet[at]
        at += 1
        length |= (byte & ~CONTINUED) << shift
        if byte < CONTINUED:
            return at + length
        shift += 7
        if shift > 21:
            raise IndexError
