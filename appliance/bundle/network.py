"""Try a bundle's network before it comes into service: it loads, takes and gives what is expected, and stays finite."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.bundle.expected import Expected, Spec, check_ports
from appliance.bundle.manifest import NETWORK
from appliance.bundle.reading import ASK, Bundle
from appliance.errors import BundleRefused

TRIAL_LENGTH = 64
"""Of an axis of any length: the default window, and enough for a stack of convolutions."""
ONNX_DTYPES = {"float": "float32", "double": "float64"}
"""ONNX's names that are not NumPy's."""


def try_network(bundle: Bundle, file: str, expected: Expected | None = None) -> None:
    """Open the bundle's network, if it has one, and run it once on noise.

    What is expected is what it is fed with; where nothing is, what it declares itself.

    Raises
    ------
    BundleRefused
        It does not load, does not take such inputs, or gives other outputs or something else than finite numbers.
    """
    if bundle.network is None:
        return
    import onnxruntime as ort  # noqa: PLC0415 - a bundle without a network should not cost its memory

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what it would say comes as an exception too
    ports = None if expected is None else expected.network
    try:
        session = ort.InferenceSession(bundle.network, options, providers=["CPUExecutionProvider"])
        inputs = {port.name: _declared(port) for port in session.get_inputs()} if ports is None else ports.inputs
        found = session.run(None, {name: _noise(spec) for name, spec in inputs.items()})
    except Exception as error:  # its exceptions have no base of their own
        why = " ".join(str(error).split())
        raise BundleRefused(file, "bad_network", f"{NETWORK} does not run: {why}; {ASK}") from error
    outputs = dict(zip((port.name for port in session.get_outputs()), found, strict=True))
    if ports is not None:
        given = {name: (each.dtype.name, each.shape) for name, each in outputs.items()}
        check_ports(f"output of {NETWORK}", given, ports.outputs, file)
    for name, each in outputs.items():
        if not np.isfinite(each).all():
            raise BundleRefused(file, "not_finite", f"output {name} of {NETWORK} is not finite on noise; {ASK}")


def _declared(port: Any) -> Spec:
    """Return what an input of an ONNX network says of itself: ``tensor(float)``, ``["batch", 1, 64]``."""
    kind = port.type.removeprefix("tensor(").removesuffix(")")
    return Spec(ONNX_DTYPES.get(kind, kind), tuple(each if isinstance(each, int) else None for each in port.shape))


def _noise(spec: Spec) -> NDArray[Any]:
    shape = [TRIAL_LENGTH if each is None else each for each in spec.shape]
    return np.random.default_rng(0).standard_normal(shape).astype(spec.dtype)
