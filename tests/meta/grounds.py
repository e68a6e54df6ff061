"""A small folder of recordings to train on: machines that hum, with events that come again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from appliance.evaluation.datasets import Rules, Skipped, trial_of
from appliance.evaluation.trials import Trial
from appliance.meta.machines import Machine
from appliance.recordings import Recording
from tests.detect.conformance import machine_signal

CELLS, WARM_UP = 3000, 1000
EVENTS = tuple((start, start + 60) for start in range(1100, 2800, 240))


def recording(name: str, channels: int, seed: int, licence: str = "MIT") -> Recording:
    series = machine_signal(CELLS, channels, seed).T.copy()
    labels = np.zeros(CELLS, dtype=np.uint8)
    for start, end in EVENTS:
        series[start:end, 0] += 4.0
        labels[start:end] = 1
    return Recording(
        machine=name,
        channels=tuple(f"c{i}" for i in range(channels)),
        times=np.arange(CELLS, dtype=np.float64),
        values=series,
        labels=labels,
        train_end=WARM_UP,
        meta={"licence": licence, "events": [list(event) for event in EVENTS]},
    )


def trial(name: str, channels: int, seed: int, licence: str = "MIT") -> Trial:
    made = trial_of("hums", recording(name, channels, seed, licence), Rules())
    assert not isinstance(made, Skipped)
    return made


def machine(channels: int = 4, seed: int = 1, name: str = "hum") -> Machine:
    return Machine.of(trial(name, channels, seed), seed=0)


def write(folder: Path, name: str, channels: int, seed: int, licence: str = "MIT", warm_up: int = WARM_UP) -> None:
    """Write a recording as an ``.npz``."""
    made = recording(name, channels, seed, licence)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / f"{name}.npz",
        values=made.values.astype(np.float32),
        timestamps=made.times,
        channels=np.array(made.channels),
        labels=np.asarray(made.labels),
        train_end=warm_up,
        meta=json.dumps(dict(made.meta)),
    )
