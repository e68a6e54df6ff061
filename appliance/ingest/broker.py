"""Where the broker is, how we present ourselves, how a connection is opened: what subscriber and probe share."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from appliance.ingest.buffered import BufferedClient

SESSION_EXPIRY_SECS = 7 * 24 * 3600
"""How long the broker keeps our subscription and queue while we are away."""
MAX_PACKET_BYTES = 8 * 2**20
"""A larger message is not delivered to us at all; a sensor has no reason to send one."""
FAILURE = 0x80
"""MQTT reason codes from here on mean no (MQTT 5, 2.4; a 3.1.1 SUBACK failure is 0x80 too)."""


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


def make_client(options: BrokerOptions) -> BufferedClient:
    """Build a paho client that acknowledges nothing by itself and never reconnects by itself."""
    is_v5 = options.protocol == "5"
    client = BufferedClient(
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
