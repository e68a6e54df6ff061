"""Bundles for the tests: packed as they should be, and put together by hand where something is to be wrong."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save

from appliance.bundle.expected import Expected, Ports, Spec
from appliance.bundle.manifest import NETWORK, TENSORS, About, Dataset
from appliance.bundle.packing import pack
from appliance.bundle.sealed import seal
from appliance.bundle.shelf import Shelf
from appliance.bundle.signing import SigningKey

VERSIONS = range(1, 8)
"""Of the bundles on the shelf under test."""
KEY = SigningKey.create()
TRUSTED = {"training": KEY.public}
TENSOR_VALUES: dict[str, NDArray[Any]] = {"mean": np.zeros(3, np.float32), "scale": np.ones((2, 3), np.float32)}
NETWORK_SPECS = Ports({"window": Spec("float32", (None, 4))}, {"embedding": Spec("float32", (None, 2))})
EXPECTED = Expected({"mean": Spec("float32", (3,)), "scale": Spec("float32", (None, 3))})
WITH_NETWORK = EXPECTED._replace(network=NETWORK_SPECS)


def about(name: str = "general", version: int = 1, **more: Any) -> About:
    known: dict[str, Any] = {
        "made_at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        "datasets": (Dataset("smd", "MIT"),),
        "metrics": {"vus_pr": 0.5},
        "training": {"steps": 1000, "optimiser": {"rate": 0.001}},
    }
    return About(name=name, version=version, **(known | more))


def packed(folder: Path, version: int = 1, name: str = "general", key: SigningKey = KEY, **more: Any) -> Path:
    """A sound bundle."""
    out = folder / f"{name}-{version}.bundle"
    options = {"tensors": TENSOR_VALUES} | more
    pack(out, about(name, version), options.pop("tensors"), key, **options)
    return out


def network(weight: float = 1.0, inputs: str = "window", length: int | str = 4, outputs: int = 2) -> bytes:
    """An ONNX network: (batch, length) → (batch, outputs), a product with a constant matrix."""
    rows = length if isinstance(length, int) else 4
    weights = numpy_helper.from_array(np.full((rows, outputs), weight, np.float32), "weights")
    graph = helper.make_graph(
        [helper.make_node("MatMul", [inputs, "weights"], ["embedding"])],
        "encoder",
        [helper.make_tensor_value_info(inputs, TensorProto.FLOAT, ["batch", length])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", outputs])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    serialized: bytes = model.SerializeToString()
    return serialized


def by_hand(
    change: Callable[[dict[str, Any]], Any] = lambda _: None,
    tensors: bytes | None = None,
    members: Callable[[bytes], bytes] = lambda content: content,
    onnx: bytes | None = None,
) -> bytes:
    """A rightly signed bundle with a manifest or members that ``pack`` would not write."""
    files = {TENSORS: save(TENSOR_VALUES) if tensors is None else tensors}
    if onnx is not None:
        files[NETWORK] = onnx
    manifest = {
        **msgspec.to_builtins(about()),
        "tensors": {name: {"dtype": each.dtype.name, "shape": each.shape} for name, each in TENSOR_VALUES.items()},
        "members": [
            {"name": name, "bytes": len(each), "sha256": hashlib.sha256(each).hexdigest()}
            for name, each in files.items()
        ],
    }
    change(manifest)
    return seal(json.dumps(manifest).encode(), members(b"".join(files.values())), KEY)


def version(shelf: Shelf) -> int | None:
    """Return the version in service; None for the software's own."""
    found = shelf.in_service()
    return None if found is None else found.manifest.version
