"""A training that can be interrupted → one file → the same training: named tensors and a record, nothing that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from appliance.errors import ApplianceError
from appliance.meta.learning import Params

_RECORD = "record"


class TrainingError(ApplianceError):
    """Training cannot go on; the text says why and what to do."""


def write(path: Path, tensors: Params, options: dict[str, Any], progress: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all; ``options`` and ``progress`` are what JSON can hold."""
    temporary = path.with_name(path.name + ".part")
    record = {_RECORD: json.dumps({"options": options, "progress": progress})}
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, record)
    temporary.replace(path)


def read(path: Path, options: dict[str, Any]) -> tuple[Params, dict[str, Any]]:
    """Return the tensors and the progress of a checkpoint that was made with the same options.

    Raises
    ------
    TrainingError
        It cannot be read, or was made with others.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})[_RECORD])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
        made_with, progress = record["options"], record["progress"]
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise TrainingError(f"{path}: is no checkpoint ({error}): remove it to start anew") from error
    same = json.loads(json.dumps(options))
    if differing := sorted(name for name, value in made_with.items() if same.get(name) != value):
        raise TrainingError(f"{path}: was made with another {', '.join(differing)}: remove it, or use the same")
    return tensors, progress
