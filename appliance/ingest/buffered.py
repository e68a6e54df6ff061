"""A socket that reads and writes in large pieces, between paho and the kernel.

paho reads a packet with three calls of ``recv`` and writes every acknowledgement with a ``send`` of its own. Each is a
system call, and each gives up Python's lock, which a busy worker thread then holds for milliseconds.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any, cast

import paho.mqtt.client as mqtt

READ_BYTES = 65_536
MOST_UNSENT_BYTES = 1 << 20


class BufferedSocket:
    """Wraps a connected, non-blocking socket, plain or TLS. What it does not do itself, the socket does."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._read = b""
        self._at = 0
        self._unsent = bytearray()

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
        """Take bytes to be sent at the next :meth:`flush`."""
        if len(self._unsent) > MOST_UNSENT_BYTES:
            raise BlockingIOError
        self._unsent += data
        return len(data)

    def flush(self) -> bool:
        """Send what was taken; False where the kernel did not take it all."""
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return False
            del self._unsent[:sent]
        return True

    def close(self) -> None:
        """Send what was taken, a DISCONNECT above all, and close."""
        with contextlib.suppress(OSError):
            self.flush()
        self._socket.close()


class BufferedClient(mqtt.Client):
    """A paho client on a :class:`BufferedSocket`, for a loop that flushes."""

    def _create_socket(self) -> Any:
        return BufferedSocket(cast("socket.socket", super()._create_socket()))
