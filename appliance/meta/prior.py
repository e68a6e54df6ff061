"""What training hands on: the weights of encoder and head with a record of how they came about, and an ONNX network."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch

from appliance import __version__
from appliance.meta.encoder import weights_of
from appliance.meta.export import exported
from appliance.meta.machines import Machine
from appliance.meta.train import Learner, Training, TrainingError

_RECORD = "record"
NETWORK_SUFFIX = ".onnx"


class Prior(NamedTuple):
    """A trained learner, and where it comes from."""

    learner: Learner
    record: dict[str, Any]

    @property
    def seen(self) -> frozenset[str]:
        """Clusters of machines that it was trained on, or stopped by: it must not be tested on them."""
        return frozenset(machine["cluster"] for machine in self.record["machines"])


def record_of(training: Training, machines: Sequence[Machine], validation: Sequence[Machine]) -> dict[str, Any]:
    """Return all that a training followed from and how it went, as plain values."""
    best = training.best
    encoder = training.learner.encoder
    return {
        "appliance": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "options": asdict(training.options),
        "detectors": list(machines[0].detectors),
        "weights": 0 if encoder is None else weights_of(encoder),
        "machines": [
            {
                "machine": f"{machine.dataset}/{machine.name}",
                "cluster": machine.cluster,
                "licence": machine.licence,
                "use": use,
            }
            for use, those in (("train", machines), ("validate", validation))
            for machine in those
        ],
        "steps": training.step,
        "secs": round(training.secs, 1),
        "best_step": None if best is None else best.step,
        "curve": [[point.step, round(point.loss, 4), round(point.average_precision, 4)] for point in training.curve],
    }


def write(path: Path, learner: Learner, record: dict[str, Any]) -> None:
    """Write the weights, and the encoder beside them as a network that the service can run."""
    safetensors.torch.save_file(
        {name: tensor.contiguous() for name, tensor in learner.state_dict().items()},
        path,
        metadata={_RECORD: json.dumps(record)},
    )
    if learner.encoder is not None:
        path.with_suffix(NETWORK_SUFFIX).write_bytes(exported(learner.encoder))


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
        learner = Learner(len(record["detectors"]), record["options"]["embedding"])
        learner.load_state_dict(state)
    except (OSError, safetensors.SafetensorError, KeyError, RuntimeError, json.JSONDecodeError) as error:
        raise TrainingError(f"{path}: is no prior ({error}): make it with appliance meta-train") from error
    return Prior(learner.eval(), record)
