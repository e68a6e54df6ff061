"""A bundle's file → its tensors and network, after every check that can be made without opening the network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from appliance.bundle.expected import SOFTWARE, Expected, check_tensors
from appliance.bundle.keys import Trusted
from appliance.bundle.manifest import NETWORK, TENSORS, Manifest, Member, TensorSpec
from appliance.bundle.sealed import read_limited, unseal
from appliance.errors import BundleRefused

ASK = "ask whoever packed it to pack it again"


@dataclass(frozen=True, eq=False)
class Bundle:
    """A prior that may come into service."""

    manifest: Manifest
    tensors: Mapping[str, NDArray[Any]]
    """Read-only arrays."""
    network: bytes | None
    """ONNX, not opened yet."""
    signed_by: str
    """The name that the settings give the key; empty for what came with the software."""
    size: int
    """Of the file, in bytes."""
    sha256: str
    """Of the file."""

    def __str__(self) -> str:
        return f"{self.manifest.name} version {self.manifest.version}"


def read(path: Path, trusted: Trusted, expected: Expected | None = None) -> Bundle:
    """Read a bundle's file.

    Parameters
    ----------
    trusted
        Public keys that are accepted, by name.
    expected
        What the tensors must be; None accepts any.

    Raises
    ------
    BundleError
        The file cannot be read.
    BundleRefused
        The bundle must not come into service.
    """
    return parse(read_limited(path), path.name, trusted, expected)


def read_shipped(path: Path, expected: Expected | None = None) -> Bundle:
    """Read the prior that is part of the software: trusted by being installed with it, so nobody asks who signed it."""
    return parse(read_limited(path), path.name, None, expected)


def parse(raw: bytes, file: str, trusted: Trusted | None, expected: Expected | None = None) -> Bundle:
    """Do what ``read`` does, on the bytes of a file."""
    unsealed = unseal(raw, file, trusted)
    try:
        manifest = msgspec.json.decode(unsealed.manifest, type=Manifest)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BundleRefused(file, "bad_manifest", f"the manifest cannot be used: {error}; {ASK}") from error
    contents = _members(unsealed.members, manifest.members, file)
    try:
        tensors = load(bytes(contents[TENSORS]))
    except (SafetensorError, KeyError) as error:  # KeyError: a type that NumPy does not have
        raise BundleRefused(file, "bad_tensors", f"{TENSORS} cannot be read: {error}; {ASK}") from error
    for each in tensors.values():
        each.flags.writeable = False
    _agree(tensors, manifest, file)
    check_tensors(tensors, expected, file)
    network = contents.get(NETWORK)
    if expected is not None and (network is None) != (expected.network is None):
        there = "is missing" if network is None else "is not known here"
        raise BundleRefused(file, "wrong_tensors", f"{NETWORK} {there}; {SOFTWARE}")
    return Bundle(
        manifest,
        tensors,
        None if network is None else bytes(network),
        unsealed.signed_by,
        len(raw),
        hashlib.sha256(raw).hexdigest(),
    )


def _members(content: memoryview, members: tuple[Member, ...], file: str) -> dict[str, memoryview]:
    """Take the members apart, and compare each with its sum."""
    names = [member.name for member in members]
    if names not in ([TENSORS], [TENSORS, NETWORK]) or sum(member.bytes for member in members) != len(content):
        wrong = f"the manifest's members, {', '.join(names) or 'none'}, are not those in the file"
        raise BundleRefused(file, "bad_manifest", f"{wrong}; {ASK}")
    contents: dict[str, memoryview] = {}
    at = 0
    for member in members:
        contents[member.name] = content[at : at + member.bytes]
        at += member.bytes
        if hashlib.sha256(contents[member.name]).hexdigest() != member.sha256:
            raise BundleRefused(
                file, "hash_mismatch", f"{member.name} is not the one whose SHA-256 the manifest has; {ASK}"
            )
    return contents


def _agree(tensors: Mapping[str, NDArray[Any]], manifest: Manifest, file: str) -> None:
    """Refuse a manifest that describes other tensors than there are."""
    found = {name: spec_of(each) for name, each in tensors.items()}
    for name in sorted(found.keys() | manifest.tensors.keys()):
        here, there = found.get(name), manifest.tensors.get(name)
        if here != there:
            are = f"tensor {name} is {here or 'missing'} and the manifest says {there or 'nothing of it'}"
            raise BundleRefused(file, "bad_manifest", f"{are}; {ASK}")


def spec_of(tensor: NDArray[Any]) -> TensorSpec:
    """Describe a tensor as the manifest does; its type may be one that no manifest can hold."""
    return TensorSpec(np.dtype(tensor.dtype).name, tensor.shape)  # type: ignore[arg-type] # decoding checks it
