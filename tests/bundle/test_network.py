from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from appliance.bundle.expected import Expected, Ports, Spec
from appliance.bundle.network import try_network
from appliance.bundle.packing import pack
from appliance.bundle.reading import parse
from appliance.errors import BundleRefused
from tests.bundle.made import KEY, NETWORK_SPECS, TENSOR_VALUES, TRUSTED, WITH_NETWORK, about, by_hand, network, packed

FILE = "general-1.bundle"


def tried(onnx: bytes, expected: Expected | None = WITH_NETWORK) -> None:
    try_network(parse(by_hand(onnx=onnx), FILE, TRUSTED, expected), FILE, expected)


def test_a_network_that_does_what_is_expected_is_accepted() -> None:
    tried(network())
    tried(network(), expected=None)
    tried(network(length="length"))  # takes any length it says, and 4 in truth


@pytest.mark.parametrize(
    ("onnx", "reason", "says"),
    [
        (b"not onnx", "bad_network", "network.onnx does not run: "),
        (network()[:-20], "bad_network", "network.onnx does not run: "),
        (network(inputs="signal"), "bad_network", "window"),
        (network(length=5), "bad_network", "Got: 4 Expected: 5"),
        (network(outputs=3), "wrong_tensors", "embedding is float32 (64, 3) and should be float32 (any, 2)"),
        (network(weight=np.nan), "not_finite", "output embedding of network.onnx is not finite on noise"),
        (network(weight=np.inf), "not_finite", "output embedding of network.onnx is not finite on noise"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_one_that_does_not_is_refused(onnx: bytes, reason: str, says: str) -> None:
    with pytest.raises(BundleRefused) as caught:
        tried(onnx)
    assert caught.value.reason == reason
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_type_that_is_not_expected_is_refused() -> None:
    ports = Ports({"window": Spec("float64", (None, 4))}, NETWORK_SPECS.outputs)
    with pytest.raises(BundleRefused, match="Unexpected input data type"):
        tried(network(), WITH_NETWORK._replace(network=ports))


def test_one_that_does_not_run_is_not_packed(tmp_path: Path) -> None:
    out = tmp_path / FILE
    with pytest.raises(BundleRefused, match=r"general-1.bundle: network.onnx does not run: "):
        pack(out, about(), TENSOR_VALUES, KEY, b"not onnx")
    assert not out.exists()


def test_opening_a_network_reports_to_nobody(tmp_path: Path) -> None:
    """Left to itself onnxruntime keeps a device id and a queue of events in the user's folder, and sends them."""
    file = packed(tmp_path, network=network())
    home = tmp_path / "home"
    home.mkdir()
    script = (
        "from pathlib import Path\n"
        "from appliance.bundle.network import try_network\n"
        "from appliance.bundle.reading import read_shipped\n"
        f"try_network(read_shipped(Path({str(file)!r})), 'a')\n"
    )
    unset = ("XDG_CACHE_HOME", "CI", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY")  # each stops or moves it
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    subprocess.run([sys.executable, "-c", script], env=environment | {"HOME": str(home)}, check=True)
    assert list(home.iterdir()) == []
