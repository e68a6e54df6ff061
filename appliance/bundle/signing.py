"""Ed25519 (RFC 8032): private keys in PEM files, signatures made and checked."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from appliance.errors import BundleError


class SigningKey:
    """A private key; whoever has it signs for every appliance that trusts its public half."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw()

    @classmethod
    def create(cls) -> Self:
        """Make a new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a key from its PEM file (PKCS #8), as ``save`` and ``openssl genpkey -algorithm ed25519`` write it.

        Raises
        ------
        BundleError
            The file cannot be read, others may read it, or it holds no such key.
        """
        try:
            mode = path.stat().st_mode
            private = load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise BundleError(f"{path}: cannot be read: {error.strerror}; name the private key's file") from error
        except (ValueError, TypeError) as error:  # not PEM; encrypted
            raise BundleError(f"{path}: is not an unencrypted private key in PEM; make one: {_KEYGEN}") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise BundleError(f"{path}: is not an Ed25519 key; make one: {_KEYGEN}")
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise BundleError(f"{path}: others may read this private key; chmod 600 {path}")
        return cls(private)

    def save(self, path: Path) -> None:
        """Write the key to a new file that only its owner may read.

        Raises
        ------
        BundleError
            The file is there already, or cannot be written.
        """
        pem = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(pem)
        except FileExistsError as error:
            raise BundleError(f"{path}: is there already; name a new file, a key is never overwritten") from error
        except OSError as error:
            raise BundleError(f"{path}: cannot be written: {error.strerror}") from error

    def sign(self, content: bytes) -> bytes:
        """Return the signature of some content; the same content always gets the same one."""
        return self._private.sign(content)


def is_signed(content: bytes | memoryview, signature: bytes | memoryview, public: bytes) -> bool:
    """Say whether a signature is that of the content, made with the key whose public half is given."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, content)
    except InvalidSignature:
        return False
    return True


_KEYGEN = "appliance bundle keygen FILE"
