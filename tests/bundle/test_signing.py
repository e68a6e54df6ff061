from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from appliance.bundle.keys import format_public_key, key_id, parse_public_key
from appliance.bundle.signing import SigningKey, is_signed
from appliance.errors import BundleError
from tests.conftest import need


def test_rfc_8032_test_2_comes_out(tmp_path: Path) -> None:
    """Section 7.1: the one-byte message 72."""
    secret = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    need("openssl")
    path = tmp_path / "key.pem"
    # PKCS #8 of RFC 8410: a fixed beginning, then the 32 bytes.
    der = bytes.fromhex("302e020100300506032b657004220420") + secret
    subprocess.run(["openssl", "pkey", "-inform", "DER", "-out", path], input=der, check=True)
    path.chmod(0o600)
    key = SigningKey.read(path)
    assert key.public == public
    assert key.sign(b"\x72") == signature
    assert is_signed(b"\x72", signature, public)
    assert not is_signed(b"\x73", signature, public)


def test_a_saved_key_is_read_again_and_only_its_owner_may(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    key = SigningKey.create()
    key.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.read(path).public == key.public
    with pytest.raises(BundleError, match=r"key.pem: is there already; name a new file"):
        SigningKey.create().save(path)
    assert SigningKey.read(path).public == key.public
    path.chmod(0o640)
    with pytest.raises(BundleError, match=r"key.pem: others may read this private key; chmod 600"):
        SigningKey.read(path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-algorithm", "ed25519", "-aes256", "-pass", "pass:secret"], "is not an unencrypted private key in PEM"),
        (["-algorithm", "x25519"], "is not an Ed25519 key"),
    ],
)
def test_other_keys_are_refused(tmp_path: Path, options: list[str], says: str) -> None:
    need("openssl")
    path = tmp_path / "key.pem"
    subprocess.run(["openssl", "genpkey", *options, "-out", path], check=True)
    with pytest.raises(BundleError, match=rf"key.pem: {says}; make one: appliance bundle keygen FILE"):
        SigningKey.read(path)


def test_what_holds_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(BundleError, match=r"key.pem: cannot be read: No such file"):
        SigningKey.read(path)
    path.write_text("hello")
    with pytest.raises(BundleError, match=r"is not an unencrypted private key"):
        SigningKey.read(path)


def test_a_public_key_is_text_in_the_settings_and_has_a_short_id() -> None:
    public = bytes(range(32))
    assert parse_public_key(format_public_key(public)) == public
    assert key_id(public).hex() == "630dcd2966c43366"  # the first bytes of its SHA-256
    for wrong in ("", "AAAA", "é" * 44, format_public_key(public)[:-1], format_public_key(public + b"1")):
        with pytest.raises(ValueError, match="is not 32 bytes in base64; copy the public key"):
            parse_public_key(wrong)
