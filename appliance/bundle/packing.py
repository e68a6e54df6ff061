"""Training's last step: tensors, network and what is known about them → one signed file."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self, get_args

import msgspec
import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from appliance import __version__
from appliance.bundle.durable import replace_file
from appliance.bundle.expected import ADAPTER
from appliance.bundle.keys import key_id
from appliance.bundle.manifest import NETWORK, TENSORS, About, Dataset, Dtype, Manifest, Member
from appliance.bundle.network import try_network
from appliance.bundle.reading import Bundle, parse, spec_of
from appliance.bundle.sealed import MAX_BYTES, seal
from appliance.bundle.signing import SigningKey
from appliance.errors import BundleError, BundleRefused


def pack(
    out: Path,
    about: About,
    tensors: Mapping[str, NDArray[Any]],
    key: SigningKey,
    network: bytes | None = None,
) -> Bundle:
    """Write a bundle's file; the same arguments give the same bytes.

    Versions of the appliance, Python, NumPy and safetensors are added to ``about.software``.

    Parameters
    ----------
    network
        ONNX, or None.

    Returns
    -------
    Bundle
        As an appliance will read it: every check but that of what a version of the software expects was made.

    Raises
    ------
    BundleError
        Something cannot be packed, or the file cannot be written.
    BundleRefused
        No appliance would accept it; nothing was written.
    """
    for name, each in tensors.items():
        if each.dtype.name not in get_args(Dtype):
            known = ", ".join(get_args(Dtype))
            raise BundleError(f"{out.name}: tensor {name} is {each.dtype.name}; convert it to one of {known}")
    # safetensors takes the memory as it lies, in whatever order of axes.
    files = {TENSORS: save({name: np.asarray(each, order="C") for name, each in sorted(tensors.items())})}
    if network is not None:
        files[NETWORK] = network
    manifest = Manifest(
        name=about.name,
        version=about.version,
        made_at=about.made_at,
        datasets=about.datasets,
        metrics=about.metrics,
        software=_software() | about.software,
        training=about.training,
        tensors={name: spec_of(each) for name, each in sorted(tensors.items())},
        members=tuple(Member(name, len(each), hashlib.sha256(each).hexdigest()) for name, each in files.items()),
    )
    raw = seal(_encode(manifest, out.name), b"".join(files.values()), key)
    if len(raw) > MAX_BYTES:
        raise BundleRefused(
            out.name, "oversized", f"has {len(raw)} bytes, the most is {MAX_BYTES}; make the prior smaller"
        )
    bundle = parse(raw, out.name, {key_id(key.public).hex(): key.public})
    try_network(bundle, out.name)
    try:
        replace_file(out, raw)
    except OSError as error:
        raise BundleError(f"{out}: cannot be written: {error.strerror}; name another place") from error
    return bundle


def write_inputs(folder: Path, about: About, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write ``about.json`` and ``prior.safetensors``, which `pack_files` and ``appliance bundle pack`` take."""
    (folder / "about.json").write_bytes(msgspec.json.format(msgspec.json.encode(about), indent=2) + b"\n")
    ordered = {name: np.asarray(each, order="C") for name, each in sorted(tensors.items())}
    (folder / "prior.safetensors").write_bytes(save(ordered))


_START = "model."
"""Of the names of the parameters from which a head descends; every method has some."""


class Trained(NamedTuple):
    """Meta-parameters of a method, out of the prior that ``appliance meta-train`` made."""

    method: str
    tensors: Mapping[str, NDArray[Any]]
    """As a bundle names them."""
    record: dict[str, Any]
    """How they came about."""
    datasets: tuple[Dataset, ...]
    """Of the machines that they have seen."""

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a prior's file.

        Raises
        ------
        BundleError
            It is none, or has no meta-parameters.
        """
        remedy = "make it with appliance meta-train and a --method that descends"
        try:
            with safetensors.safe_open(file, framework="np") as opened:
                record = json.loads((opened.metadata() or {})["record"])
                stored = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no dictionary
            beside = {name: each for name, each in stored.items() if name.startswith(ADAPTER)}  # of a whole model
            found = {name.removeprefix(ADAPTER): each for name, each in (beside or stored).items()}
            method = str(record["options"]["method"])
            seen = {(each["machine"].partition("/")[0], each["licence"]) for each in record["machines"]}
        except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise BundleError(f"{file}: is no trained prior ({error}); {remedy}") from error
        if not any(name.startswith(_START) for name in found):
            raise BundleError(f"{file}: holds no meta-parameters of a head that descends; {remedy}")
        tensors = {f"{ADAPTER}{method}.{name}": each.astype(np.float32) for name, each in found.items()}
        return cls(method, tensors, record, tuple(Dataset(*each) for each in sorted(seen)))


def pack_files(
    out: Path,
    about: Path,
    tensors: Path | Mapping[str, NDArray[Any]],
    key: Path,
    network: Path | None = None,
    adapters: Sequence[Path] = (),
) -> Bundle:
    """Do what ``pack`` does with what stands in files: JSON, safetensors, a private key in PEM and ONNX.

    The JSON holds what ``About`` has; without ``made_at`` it is now. Of ``adapters``, priors of ``appliance
    meta-train``, the meta-parameters are added, and to what is said the datasets and how they were trained.
    """
    try:
        said = msgspec.json.decode(about.read_bytes(), type=dict[str, Any])
        known = msgspec.convert({"made_at": datetime.now(UTC).replace(microsecond=0), **said}, About)
    except msgspec.DecodeError as error:
        raise BundleError(f"{about}: cannot be used: {error}; see `appliance bundle pack --help`") from error
    try:
        arrays = dict(tensors) if isinstance(tensors, Mapping) else load(tensors.read_bytes())
    except (SafetensorError, KeyError) as error:
        raise BundleError(
            f"{tensors}: is not safetensors: {error}; write it with safetensors.numpy.save_file"
        ) from error
    for trained in map(Trained.read, adapters):
        arrays |= trained.tensors
        datasets = known.datasets + tuple(each for each in trained.datasets if each not in known.datasets)
        training = known.training | {trained.method: trained.record}
        known = msgspec.structs.replace(known, datasets=datasets, training=training)
    return pack(out, known, arrays, SigningKey.read(key), None if network is None else network.read_bytes())


def _software() -> dict[str, str]:
    return {
        "appliance": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "safetensors": safetensors.__version__,
    }


def _encode(manifest: Manifest, file: str) -> bytes:
    """Write a manifest so that a person can read it inside the file."""
    try:
        text = json.dumps(msgspec.to_builtins(manifest), allow_nan=False, ensure_ascii=False, indent=1)
        return text.encode()
    except (TypeError, ValueError) as error:
        raise BundleError(
            f"{file}: what is said about it is no JSON: {error}; use numbers, text, lists, tables"
        ) from error
