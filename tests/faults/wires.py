"""Wires that fail: a TCP proxy that goes silent or swallows answers, and brokers and sinks that say the wrong thing."""

from __future__ import annotations

import gzip
import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.daemon import HOST

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ = 0x10, 0x20, 0x30, 0x40, 0x80, 0x90, 0xC0
SESSION_TAKEN_OVER = b"\xe0\x02\x8e\x00"
"""A DISCONNECT that says why (MQTT 5, 3.14.2.1); mosquitto 2.0.11 only hangs up."""


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: that a connection breaks is what these are for."""


class Proxy:
    """Forwards one loopback port to another until told otherwise."""

    def __init__(self, target: int) -> None:
        self._silenced: set[socket.socket] = set()
        self._open: list[socket.socket] = []
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                upstream = socket.create_connection((HOST, target))
                proxy._open += [self.request, upstream]
                back = threading.Thread(target=proxy._pump, args=(upstream, self.request), daemon=True)
                back.start()
                proxy._pump(self.request, upstream)
                back.join()

        self._server = _Listener((HOST, 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                if source not in self._silenced:
                    sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                end.close()

    def hush(self) -> None:
        """Forward nothing more on the open connections and close none: half-open, as after a crashed router."""
        self._silenced.update(self._open)

    def cut(self) -> None:
        """Break every connection; new ones are taken."""
        for end in self._open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._open.clear()

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()
        self.cut()


class FakeBroker:
    """Speaks just enough MQTT 5 to take a subscriber in and send it any bytes at all.

    Parameters
    ----------
    script
        Called with each connection's number (from 1) and a function that sends raw bytes, once it has subscribed.
    """

    def __init__(self, script: Callable[[int, Callable[[bytes], None]], None]) -> None:
        self.connections = 0
        self.acknowledged: list[tuple[int, int]] = []
        """(connection, packet id) of every PUBACK."""
        broker = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                broker.connections += 1
                number, subscriptions = broker.connections, 0
                while (packet := _read(self.request)) is not None:
                    kind, body = packet
                    if kind == CONNECT:
                        self.request.sendall(bytes([CONNACK, 3, number > 1, 0, 0]))
                    elif kind == SUBSCRIBE:
                        self.request.sendall(bytes([SUBACK, 4]) + body[:2] + b"\0\1")
                        subscriptions += 1
                        if subscriptions == 1:
                            script(number, self.request.sendall)
                    elif kind == PUBLISH:  # our own status, at QoS 1
                        at = 2 + int.from_bytes(body[:2])
                        self.request.sendall(bytes([PUBACK, 2]) + body[at : at + 2])
                    elif kind == PUBACK:
                        broker.acknowledged.append((number, int.from_bytes(body[:2])))
                    elif kind == PINGREQ:
                        self.request.sendall(b"\xd0\0")

        self._server = _Listener((HOST, 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()


def published(topic: bytes, payload: bytes, packet_id: int) -> bytes:
    """Return a QoS 1 PUBLISH packet of MQTT 5."""
    body = struct.pack(">H", len(topic)) + topic + struct.pack(">H", packet_id) + b"\0" + payload
    length = bytearray()
    rest = len(body)
    while True:
        rest, low = divmod(rest, 128)
        length.append(low | (0x80 if rest else 0))
        if not rest:
            return bytes([PUBLISH | 2]) + bytes(length) + body


def _read(connection: socket.socket) -> tuple[int, bytes] | None:
    """Read one packet: its kind and its body."""
    first = connection.recv(1)
    if not first:
        return None
    length = shift = 0
    while True:
        (low,) = connection.recv(1)
        length |= (low & 0x7F) << shift
        shift += 7
        if low < 0x80:
            break
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return first[0] & 0xF0, body


class Gatekeeper:
    """An HTTP server before InfluxDB that answers in its place, or after it.

    Attributes
    ----------
    answer
        (status, headers) to give instead of asking InfluxDB; None to ask it.
    poison
        InfluxDB's 400 for every body with these bytes in it; None to refuse nothing.
    swallow
        How many more answers of InfluxDB are lost: the write was accepted, the connection breaks.
    refused, swallowed, passed
        How often each happened.
    """

    def __init__(self, target: int) -> None:
        self.answer: tuple[int, dict[str, str]] | None = None
        self.poison: bytes | None = None
        self.swallow = 0
        self.refused = self.swallowed = self.passed = 0
        gatekeeper = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                gatekeeper._take(self, self.rfile.read(int(self.headers["Content-Length"])), target)

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://{HOST}:{self.port}"

    def _take(self, handler: BaseHTTPRequestHandler, body: bytes, target: int) -> None:
        if self.answer is not None:
            self.refused += 1
            status, headers = self.answer
        elif self.poison is not None and self.poison in gzip.decompress(body):
            status, headers = 400, {}
        else:
            status, headers = _forward(handler, body, target), {}
            if self.swallow > 0:
                self.swallow -= 1
                self.swallowed += 1
                handler.close_connection = True
                handler.connection.shutdown(socket.SHUT_RDWR)
                return
            self.passed += 1
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if status != 204:
            handler.send_header("Content-Length", "0")
        handler.end_headers()

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()


def _forward(handler: BaseHTTPRequestHandler, body: bytes, target: int) -> int:
    connection = HTTPConnection(HOST, target, timeout=30)
    try:
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in {"host", "connection"}}
        connection.request("POST", handler.path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()
