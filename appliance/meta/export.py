"""A trained encoder → ONNX for the service: as it is, or in eight bits calibrated on warm-up windows."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch.export import Dim

from appliance.detect.encoder import LEAST_CELLS
from appliance.detect.planes import PLANES, Planes
from appliance.meta.encoder import Encoder

_OPSET = 20
"""The first with a group normalisation's parts and everything else that is used."""
_LONGEST = 4096
_CALIBRATED = 16
"""Windows calibrated on at once."""


def exported(encoder: Encoder, metadata: Mapping[str, str] | None = None) -> bytes:
    """Write an encoder as an ONNX model that takes any number of windows, channels and cells.

    Parameters
    ----------
    metadata
        Text kept in the file: how it was trained, the head that goes with it.
    """
    cells, mask = torch.zeros(2, 3, PLANES, 2 * LEAST_CELLS), torch.ones(2, 3, 2 * LEAST_CELLS)
    n, channel, time = Dim("n"), Dim("channel"), Dim("time", min=LEAST_CELLS, max=_LONGEST)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about itself
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # and that torchvision is not there
        program = torch.onnx.export(
            encoder.eval(),
            (cells, mask),
            dynamo=True,
            verbose=False,
            opset_version=_OPSET,
            input_names=list(Planes._fields),
            output_names=["embedding"],
            dynamic_shapes=({0: n, 1: channel, 3: time}, {0: n, 1: channel, 2: time}),
        )
    assert program is not None
    model = program.model_proto
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    for node in [*model.graph.node, *(each for function in model.functions for each in function.node)]:
        del node.metadata_props[:]  # paths of the machine that exported it
        node.doc_string = ""
    return bytes(model.SerializeToString())


def quantised(model: bytes, warm_up: Sequence[Planes]) -> bytes:
    """Turn a float model into one that multiplies in eight bits.

    Weights per output channel and activations per tensor, scaled by the largest that occur in the warm-up windows
    (Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only inference").
    """
    with tempfile.TemporaryDirectory(prefix="appliance-quantise-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain, prepared, small = (Path(folder) / f"{name}.onnx" for name in ("plain", "prepared", "small"))
        plain.write_bytes(model)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)  # it knows no axes without a size
        quantize_static(
            prepared,
            small,
            _Warmed(warm_up),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
        )
        return small.read_bytes()


class _Warmed(CalibrationDataReader):  # type: ignore[misc]
    """Feeds warm-up windows of one machine after the other."""

    def __init__(self, warm_up: Sequence[Planes]) -> None:
        self._batches = self._cut(warm_up)

    @staticmethod
    def _cut(warm_up: Sequence[Planes]) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
        for planes in warm_up:
            for first in range(0, len(planes.mask), _CALIBRATED):
                yield {name: array[first : first + _CALIBRATED] for name, array in planes._asdict().items()}

    def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
        return next(self._batches, None)
