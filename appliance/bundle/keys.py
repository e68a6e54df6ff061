"""Public keys as people exchange them: 32 bytes in base64, with a short id to compare aloud."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

PUBLIC_BYTES = 32
KEY_ID_BYTES = 8
SIGNATURE_BYTES = 64

Trusted = Mapping[str, bytes]
"""The public keys whose bundles are accepted, by the names that the settings give them."""


def parse_public_key(text: str) -> bytes:
    """Read a public key as ``appliance bundle keygen`` writes it.

    Raises
    ------
    ValueError
        It is no such key.
    """
    try:
        public = base64.b64decode(text, validate=True)
    except (ValueError, TypeError):  # TypeError: the settings may hold anything
        public = b""
    if len(public) != PUBLIC_BYTES:
        raise ValueError("is not 32 bytes in base64; copy the public key that `appliance bundle keygen` wrote")
    return public


def format_public_key(public: bytes) -> str:
    """Write a public key for the settings."""
    return base64.b64encode(public).decode("ascii")


def key_id(public: bytes) -> bytes:
    """Return the first bytes of the key's SHA-256: enough to find it among those trusted, and to read aloud."""
    return hashlib.sha256(public).digest()[:KEY_ID_BYTES]
