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
from appliance.meta.adapter_training import AdapterTraining
from appliance.meta.adapters import untrained
from appliance.meta.checkpoint import TrainingError
from appliance.meta.encoder import weights_of
from appliance.meta.export import exported
from appliance.meta.learning import Params
from appliance.meta.machines import Machine
from appliance.meta.traced import TracedMachine
from appliance.meta.train import EncoderAndRidge, Training

_RECORD = "record"
NETWORK_SUFFIX = ".onnx"
_MAKE_DESCENT = "make it with appliance meta-train --method maml, or another that descends"


class Prior(NamedTuple):
    """A trained model, and where it comes from."""

    model: EncoderAndRidge
    record: dict[str, Any]

    @property
    def seen(self) -> frozenset[str]:
        """Clusters of machines that it was trained on, or stopped by: it must not be tested on them."""
        return frozenset(machine["cluster"] for machine in self.record["machines"])


def record_of(training: Training, machines: Sequence[Machine], validation: Sequence[Machine]) -> dict[str, Any]:
    """Return all that a training followed from and how it went, as plain values."""
    best = training.best
    encoder = training.model.encoder
    return {
        **_made_with(),
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


def machines_in(
    machines: Sequence[Machine | TracedMachine], validation: Sequence[Machine | TracedMachine]
) -> list[dict[str, str]]:
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


def write(path: Path, model: EncoderAndRidge, record: dict[str, Any]) -> None:
    """Write the weights, and the encoder beside them as a network that the service can run."""
    _save(path, model.state_dict(), record)
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
        state, record = _load(path)
        model = EncoderAndRidge(len(record["detectors"]), record["options"]["embedding"])
        model.load_state_dict(state)
    except (OSError, safetensors.SafetensorError, KeyError, RuntimeError, json.JSONDecodeError) as error:
        raise TrainingError(f"{path}: is no prior ({error}): make it with appliance meta-train") from error
    return Prior(model.eval(), record)


class DescentPrior(NamedTuple):
    """What a method that descends starts from, and where it comes from."""

    meta: Params
    """Meta-parameters, by the names that its algorithm gives them."""
    record: dict[str, Any]

    @property
    def method(self) -> str:
        """Which of `adapters.METHODS`."""
        method: str = self.record["options"]["method"]
        return method

    @property
    def detectors(self) -> int:
        """How many each machine had that it was trained on."""
        detectors: int = self.record["detectors"]
        return detectors

    @property
    def clusters(self) -> frozenset[str]:
        """Clusters of machines that it was trained on, or stopped by: it must not be tested on them."""
        return frozenset(machine["cluster"] for machine in self.record["machines"])

    @property
    def datasets(self) -> frozenset[str]:
        """Datasets of those machines."""
        return frozenset(machine["machine"].split("/")[0] for machine in self.record["machines"])


def descent_record(
    training: AdapterTraining, machines: Sequence[TracedMachine], validation: Sequence[TracedMachine]
) -> dict[str, Any]:
    """Return all that the training of a method that descends followed from and how it went, as plain values."""
    return {
        **_made_with(),
        "options": asdict(training.options),
        "detectors": machines[0].detectors,
        "machines": machines_in(machines, validation),
        "steps": training.step,
        "best_step": training.best.step,
        "curve": [[point.step, point.loss, point.average_precision] for point in training.curve],
    }


def write_descent(path: Path, meta: Params, record: dict[str, Any]) -> None:
    """Write meta-parameters with their record."""
    _save(path, meta, record)


def read_descent(path: Path) -> DescentPrior:
    """Read what `write_descent` wrote.

    Raises
    ------
    TrainingError
        The file is no prior, or one of another kind.
    """
    try:
        prior = DescentPrior(*_load(path))
        fits = {name: tuple(each.shape) for name, each in prior.meta.items()} == {
            name: tuple(each.shape) for name, each in untrained(prior.method, 2 * prior.detectors, 0).items()
        }
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise TrainingError(f"{path}: is no prior of a head that descends ({error}): {_MAKE_DESCENT}") from error
    if not fits:
        raise TrainingError(f"{path}: does not hold what {prior.method} needs: {_MAKE_DESCENT}")
    return prior


def _save(path: Path, tensors: Params, record: dict[str, Any]) -> None:
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    safetensors.torch.save_file(contiguous, path, metadata={_RECORD: json.dumps(record)})


def _load(path: Path) -> tuple[Params, dict[str, Any]]:
    with safetensors.safe_open(path, framework="pt") as file:
        record = json.loads((file.metadata() or {})[_RECORD])
        return {name: file.get_tensor(name) for name in file.keys()}, record  # noqa: SIM118 - it is no dictionary


def _made_with() -> dict[str, str]:
    return {"appliance": __version__, "torch": torch.__version__, "python": platform.python_version()}
