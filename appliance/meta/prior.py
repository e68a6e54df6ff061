"""What training hands on: the weights of encoder and head with a record of how they came about, and an ONNX network."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch

from appliance import __version__
from appliance.meta.checkpoint import TrainingError
from appliance.meta.encoder import weights_of
from appliance.meta.export import exported
from appliance.meta.learning import Params, named, part
from appliance.meta.machines import Machine
from appliance.meta.train import EncoderAndRidge, Training

_RECORD = "record"
_ADAPTER = "adapter."
NETWORK_SUFFIX = ".onnx"


class Prior(NamedTuple):
    """A trained model, and where it comes from."""

    model: EncoderAndRidge
    record: dict[str, Any]
    adapter: Params
    """Meta-parameters of a gradient-adapted head on the model's features; empty where ridge is all."""

    @property
    def seen(self) -> frozenset[str]:
        """Clusters of machines that it was trained on, or stopped by: it must not be tested on them."""
        return frozenset(machine["cluster"] for machine in self.record["machines"])


def record_of(training: Training, machines: Sequence[Machine], validation: Sequence[Machine]) -> dict[str, Any]:
    """Return all that a training followed from and how it went, as plain values."""
    best = training.best
    encoder = training.model.encoder
    return {
        "appliance": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "options": asdict(training.options),
        "detectors": list(machines[0].detectors),
        "weights": 0 if encoder is None else weights_of(encoder),
        "machines": machines_in(machines, validation),
        "steps": training.step,
        "secs": round(training.secs, 1),
        "best_step": None if best is None else best.step,
        "curve": [
            [point.step, None if math.isnan(point.loss) else round(point.loss, 4), round(point.average_precision, 4)]
            for point in training.curve
        ],
    }


def machines_in(machines: Sequence[Machine], validation: Sequence[Machine]) -> list[dict[str, str]]:
    """Name the machines that a prior has seen, and their licences, for its manifest."""
    return [
        {
            "machine": f"{machine.dataset}/{machine.name}",
            "cluster": machine.cluster,
            "licence": machine.licence,
            "use": use,
        }
        for use, those in (("train", machines), ("validate", validation))
        for machine in those
    ]


def write(path: Path, model: EncoderAndRidge, record: dict[str, Any], adapter: Params | None = None) -> None:
    """Write the weights, and the encoder beside them as a network that the service can run."""
    tensors = model.state_dict() | named(_ADAPTER, adapter or {})
    safetensors.torch.save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        path,
        metadata={_RECORD: json.dumps(record)},
    )
    if model.encoder is not None:
        path.with_suffix(NETWORK_SUFFIX).write_bytes(exported(model.encoder))


def read(path: Path) -> Prior:
    """Read what `write` wrote.

    Raises
    ------
    TrainingError
        The file is no prior.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})[_RECORD])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
        adapter = part(state, _ADAPTER)
        model = EncoderAndRidge(len(record["detectors"]), record["options"]["embedding"])
        model.load_state_dict({name: tensor for name, tensor in state.items() if not name.startswith(_ADAPTER)})
    except (OSError, safetensors.SafetensorError, KeyError, RuntimeError, json.JSONDecodeError) as error:
        raise TrainingError(f"{path}: is no prior ({error}): make it with appliance meta-train") from error
    return Prior(model.eval(), record, adapter)
