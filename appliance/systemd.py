"""Tell systemd how the service is: the notify protocol of sd_notify(3), a datagram to a socket."""

from __future__ import annotations

import os
import socket


def notify(*assignments: str) -> None:
    """Send assignments such as ``READY=1``; does nothing where no service manager listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        sock.send("\n".join(assignments).encode())
