"""The encoder in the service: planes of windows → ONNX Runtime → embeddings on the machine's own scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from appliance.detect.planes import Planes, PlaneScale
from appliance.detect.state import Fitted, State
from appliance.detect.windows import Windows
from appliance.errors import ApplianceError
from appliance.records import Floats

LEAST_CELLS = 16
"""Cells that a window must have: two strides of the network leave four."""
_MOST_CELLS = 2**16
"""Cells of all channels given to the network at once, unless a single window has more: some 14 MB while it works."""
SHRINKAGE = 0.1
"""As in training (`meta/head.py`)."""
_TINY = 1e-6
_FATAL = 4
"""ONNX Runtime's severity: what goes wrong is raised, and its warnings are about the graph, not about the machine."""


class EncoderError(ApplianceError):
    """An encoder cannot be loaded."""


class Network:
    """An exported encoder, float or int8; shared by all machines, on one thread, with no memory kept between calls.

    Parameters
    ----------
    model
        Content of the ``.onnx`` file that ``appliance meta-train`` writes.

    Raises
    ------
    EncoderError
        It is none, or has other inputs.
    """

    def __init__(self, model: bytes) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # an arena never shrinks: one wide machine would hold it for good
        options.enable_mem_pattern = False  # patterns are kept for each shape that was ever seen
        options.log_severity_level = _FATAL
        try:
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common base
            raise EncoderError(f"the encoder cannot be loaded ({error}): make it with appliance meta-train") from error
        inputs = [given.name for given in self._session.get_inputs()]
        if inputs != list(Planes._fields):
            raise EncoderError(f"the encoder takes {', '.join(inputs)}, not {', '.join(Planes._fields)}: train it anew")

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the training wrote beside the graph."""
        metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        return metadata

    def encode(self, planes: Planes) -> NDArray[np.float32]:
        """[n, embedding] of planes of windows."""
        n, channels, time = planes.mask.shape
        most = max(1, _MOST_CELLS // (channels * time))
        parts = [
            self._session.run(
                None, {name: array[first : first + most] for name, array in zip(Planes._fields, planes, strict=True)}
            )[0]
            for first in range(0, n, most)
        ]
        return np.concatenate(parts)


class Embedding(Fitted):
    """Embeddings of one machine's windows, centred and whitened by its own warm-up.

    Whitened symmetrically (ZCA, Kessy et al. 2018), so that a direction means the same on every machine.
    """

    FITTED: ClassVar[tuple[str, ...]] = ("centre", "whiten")

    def __init__(self, network: Network, warm_up: Windows, seed: int) -> None:
        self._network = network
        self._scale = PlaneScale(warm_up, seed)
        raw = self._raw(warm_up)
        self.centre = raw.mean(axis=0)
        covariance = np.cov(raw, rowvar=False, bias=True)
        mean_variance = np.trace(covariance) / len(covariance) + _TINY
        variances, directions = np.linalg.eigh(covariance + SHRINKAGE * mean_variance * np.eye(len(covariance)))
        self.whiten = directions / np.sqrt(variances) @ directions.T

    def of(self, windows: Windows) -> Floats:
        """[n, embedding] in the spreads of the warm-up."""
        embeddings: Floats = (self._raw(windows) - self.centre) @ self.whiten
        return embeddings

    def _raw(self, windows: Windows) -> Floats:
        return self._network.encode(self._scale.of(windows)).astype(np.float64)

    def snapshot(self) -> tuple[State, State]:
        """Return the fitted values; the network is not among them."""
        fitted, live = super().snapshot()
        return fitted | {"scale": self._scale.snapshot()[0]}, live

    @classmethod
    def restored(cls, network: Network, fitted: State) -> Embedding:
        """Build it again, on the network it was fitted with."""
        embedding = cls.restore(fitted, {})
        embedding._network = network
        embedding._scale = PlaneScale.restore(fitted["scale"], {})
        return embedding
