from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from appliance.meta.checkpoint import TrainingError
from appliance.meta.episodes import Episodes
from appliance.meta.machines import Machine
from appliance.meta.prior import NETWORK_SUFFIX, read, record_of, write
from appliance.meta.train import Training, TrainingOptions, Validated
from tests.meta.grounds import machine

OPTIONS = TrainingOptions(steps=12, batch=2, validate_every=4, validation_episodes=4)


@pytest.fixture(scope="module")
def machines() -> list[Machine]:
    return [machine(3, 1, "one"), machine(2, 2, "two"), machine(3, 3, "three")]


def training(machines: list[Machine], options: TrainingOptions = OPTIONS) -> Training:
    return Training(options, len(machines[0].detectors), Episodes(machines[:2], 0), Episodes(machines[2:], 1))


def ignored(point: Validated) -> None:
    pass


def test_the_loss_falls_and_the_best_weights_are_kept(machines: list[Machine]) -> None:
    run = training(machines, replace(OPTIONS, steps=60, validate_every=20))
    learner = run.run(ignored)
    losses = [point.loss for point in run.curve[1:]]
    assert losses[-1] < losses[0]
    assert run.best is not None
    reached = run._validate(0.0, 0.0).average_precision
    assert reached == pytest.approx(run.best.average_precision)
    assert learner is run.model


def test_an_interrupted_training_ends_as_one_that_was_not(machines: list[Machine], tmp_path: Path) -> None:
    whole = training(machines).run(ignored).state_dict()
    checkpoint = tmp_path / "prior.checkpoint"
    cut = training(machines)

    class Interrupted(Exception):  # noqa: N818
        pass

    def interrupt(point: Validated) -> None:
        if point.step == 8:
            cut.save(checkpoint)
            raise Interrupted

    with pytest.raises(Interrupted):
        cut.run(interrupt)
    again = training(machines)
    again.resume(checkpoint)
    assert again.step == 8
    resumed = again.run(ignored).state_dict()
    assert all(torch.equal(resumed[name], weights) for name, weights in whole.items())
    assert [point.step for point in again.curve] == [0, 4, 8, 12]


def test_a_finished_training_comes_back_with_what_did_best(machines: list[Machine], tmp_path: Path) -> None:
    path = tmp_path / "prior.checkpoint"
    done = training(machines)
    best = {name: weights.clone() for name, weights in done.run(ignored).state_dict().items()}
    done.save(path)
    again = training(machines)
    again.resume(path)
    assert again.finished
    found = again.run(ignored).state_dict()
    assert all(torch.equal(found[name], weights) for name, weights in best.items())


def test_it_goes_on_only_with_the_same_options(machines: list[Machine], tmp_path: Path) -> None:
    checkpoint = tmp_path / "prior.checkpoint"
    training(machines).save(checkpoint)
    with pytest.raises(TrainingError, match="another rate, seed: remove it"):
        training(machines, replace(OPTIONS, seed=1, rate=0.1)).resume(checkpoint)
    checkpoint.write_bytes(b"no checkpoint")
    with pytest.raises(TrainingError, match="is no checkpoint"):
        training(machines).resume(checkpoint)


@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        ({"freeze_encoder": True}, {"head.log_penalty", "head.log_strength", "head.log_temperature"}),
        ({"embedding": 0, "learn_prior": True}, {"head.prior"}),
        ({}, {"encoder.first.weight", "head.log_penalty"}),
    ],
)
def test_what_is_not_to_be_learned_stays_as_it_was_drawn(
    machines: list[Machine], changes: dict[str, Any], moved: set[str]
) -> None:
    run = training(machines, replace(OPTIONS, validate_every=12, **changes))
    before = {name: weights.clone() for name, weights in run.model.state_dict().items()}
    after: dict[str, torch.Tensor] = {}
    run.run(lambda _: after.update({name: weights.clone() for name, weights in run.model.state_dict().items()}))
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved <= changed
    assert ("head.prior" in changed) == changes.get("learn_prior", False)
    if changes.get("freeze_encoder"):
        assert changed == moved


def test_it_ends_when_held_out_machines_no_longer_gain(machines: list[Machine]) -> None:
    run = training(machines, replace(OPTIONS, steps=400, validate_every=1, patience=2, rate=0.0))
    run.run(ignored)
    assert run.step == 2
    assert run.best is run.curve[0]


def test_a_prior_comes_back_with_its_record_and_its_network(machines: list[Machine], tmp_path: Path) -> None:
    run = training(machines)
    learner = run.run(ignored)
    path = tmp_path / "prior.safetensors"
    write(path, learner, record_of(run, machines[:2], machines[2:]))
    prior = read(path)
    assert prior.seen == {"hums/one", "hums/two", "hums/three"}
    assert [(each["machine"], each["use"]) for each in prior.record["machines"]] == [
        ("hums/one", "train"),
        ("hums/two", "train"),
        ("hums/three", "validate"),
    ]
    assert prior.record["options"]["steps"] == OPTIONS.steps
    episode = Episodes(machines[2:], 1)[0]
    with torch.no_grad():
        np.testing.assert_array_equal(prior.model.log_odds(episode), learner.log_odds(episode))
    assert path.with_suffix(NETWORK_SUFFIX).stat().st_size > 0
    path.write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="is no prior"):
        read(path)
