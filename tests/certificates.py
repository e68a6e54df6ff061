"""Throw-away certificates for tests of TLS, made by the openssl program."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.daemon import ServerError, executable


class Certificate(NamedTuple):
    """The files of one party to a TLS connection."""

    certificate: Path
    key: Path


class Certificates:
    """A throw-away certificate authority in ``folder``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.authority = folder / "authority.pem"
        self._key = folder / "authority.key"
        _openssl("req", "-x509", *_NEW_KEY, "-keyout", self._key, "-out", self.authority, "-subj", "/CN=test authority")

    def issue(self, name: str, alt_names: str = "DNS:localhost,IP:127.0.0.1", days: int = 2) -> Certificate:
        """Sign a certificate with common name ``name``; negative ``days`` make one that has expired."""
        certificate, key, request = (self.folder / f"{name}.{suffix}" for suffix in ("pem", "key", "csr"))
        subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName={alt_names}")
        _openssl("req", *_NEW_KEY, "-keyout", key, "-out", request, *subject)
        signer = ("-CA", self.authority, "-CAkey", self._key, "-copy_extensions", "copy", "-days", str(days))
        _openssl("x509", "-req", "-in", request, "-out", certificate, *signer)
        return Certificate(certificate, key)


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run([executable("openssl"), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServerError(f"openssl {' '.join(map(str, arguments))}: {done.stderr.strip()}")
