r"""The bytes of a bundle: header, manifest, members, signature. Nothing is parsed before the signature is right.

All numbers are little-endian. The signature is over everything before it.

======================  =====================================================================
8 bytes                 ``89 42 55 4e 44 4c 45 0a`` (``\x89BUNDLE\n``)
4 bytes                 format, 1
4 bytes                 length of the manifest
8 bytes                 length of the members
8 bytes                 key id: the first bytes of the SHA-256 of the public key
length of the manifest  the manifest, JSON
length of the members   the members, one after another in the manifest's order
64 bytes                Ed25519 signature
======================  =====================================================================
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from appliance.bundle.keys import SIGNATURE_BYTES, Trusted, key_id
from appliance.errors import BundleError, BundleRefused

if TYPE_CHECKING:
    from appliance.bundle.signing import SigningKey

MAGIC = b"\x89BUNDLE\n"
"""No text begins like this, and a transfer that changes line ends or eighth bits spoils it (like PNG's)."""
FORMAT = 1
HEADER = struct.Struct("<8sIIQ8s")
MAX_BYTES = 32 << 20
"""A gateway holds the file, its tensors and a copy between them at once: half of the 200 MB that it may use."""
MAX_MANIFEST_BYTES = 1 << 20


class Unsealed(NamedTuple):
    """What a bundle holds, not yet parsed."""

    manifest: memoryview
    members: memoryview
    signed_by: str
    """The name that the settings give the key."""


def seal(manifest: bytes, members: bytes, key: SigningKey) -> bytes:
    """Put manifest and members into a signed file's bytes."""
    header = HEADER.pack(MAGIC, FORMAT, len(manifest), len(members), key_id(key.public))
    content = header + manifest + members
    return content + key.sign(content)


def read_limited(path: Path) -> bytes:
    """Read a file that may be a bundle, and never more of it than a bundle may have.

    Raises
    ------
    BundleError
        It cannot be read.
    BundleRefused
        It is too large.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}; name the bundle's file") from error
    if len(raw) > MAX_BYTES:
        limit = f"has more than {MAX_BYTES >> 20} MiB, the most an appliance reads"
        raise BundleRefused(path.name, "oversized", f"{limit}; make the prior smaller, or fetch the right file")
    return raw


def unseal(raw: bytes, file: str, trusted: Trusted | None) -> Unsealed:
    """Check the header, then the signature over all of it, and take the parts apart.

    Parameters
    ----------
    file
        The file's name, for messages.
    trusted
        Keys that are accepted; None asks for no signature.

    Raises
    ------
    BundleRefused
        It is no bundle, of another format, incomplete, or not signed with a key that is trusted.
    """
    again = "fetch the file again"
    if raw[: len(MAGIC)] != MAGIC[: len(raw)] or not raw:
        raise BundleRefused(file, "not_a_bundle", f"is not a bundle, or was changed on the way; {again} as binary")
    if len(raw) < HEADER.size:
        raise BundleRefused(file, "truncated", f"ends after {len(raw)} bytes, inside the header; {again}")
    _, version, manifest_bytes, members_bytes, signer = HEADER.unpack_from(raw)
    if version != FORMAT:
        remedy = "update the appliance, or pack the bundle with the tools of its version"
        raise BundleRefused(file, "wrong_format", f"has format {version}, this version reads {FORMAT}; {remedy}")
    if manifest_bytes > MAX_MANIFEST_BYTES:
        remedy = f"fetch the file again, or keep the manifest below {MAX_MANIFEST_BYTES >> 20} MiB"
        raise BundleRefused(file, "oversized", f"claims a manifest of {manifest_bytes} bytes; {remedy}")
    end = HEADER.size + manifest_bytes + members_bytes
    if len(raw) < end + SIGNATURE_BYTES:
        missing = f"{end + SIGNATURE_BYTES - len(raw)} of {end + SIGNATURE_BYTES} bytes are missing"
        raise BundleRefused(file, "truncated", f"{missing}; {again}")
    if len(raw) > end + SIGNATURE_BYTES:
        surplus = len(raw) - end - SIGNATURE_BYTES
        raise BundleRefused(file, "surplus", f"{surplus} bytes follow the signature; {again}")
    view = memoryview(raw)
    members_at = HEADER.size + manifest_bytes
    signed_by = "" if trusted is None else _signed_by(view[:end], view[end:], signer, file, trusted)
    return Unsealed(view[HEADER.size : members_at], view[members_at:end], signed_by)


def _signed_by(content: memoryview, signature: memoryview, signer: bytes, file: str, trusted: Trusted) -> str:
    """Return the trusted key's name that the content is signed with."""
    from appliance.bundle.signing import is_signed  # noqa: PLC0415 - 9 MB that a service without a bundle should not hold

    for name, public in trusted.items():
        if key_id(public) == signer:
            if not is_signed(content, signature, public):
                remedy = "fetch the file again; if that does not help, ask whoever packed it"
                raise BundleRefused(file, "bad_signature", f"the signature of key {name} does not fit; {remedy}")
            return name
    remedy = "ask its owner for the public key and add it to bundles.trusted_keys, if this is somebody you trust"
    raise BundleRefused(file, "unknown_key", f"is signed with key {signer.hex()}, which is not trusted; {remedy}")
