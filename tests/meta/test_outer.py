"""The outer loop learns, repeats itself, stops early, and goes on where it was."""

from __future__ import annotations

import math

import pytest
import torch

from appliance.meta.algorithms.base import Algorithm
from appliance.meta.algorithms.maml import Maml
from appliance.meta.learning import Params
from appliance.meta.outer import OuterLoop, Schedule
from tests.meta.problems import algorithms, episodes, furthest, learner


def loop(algorithm: Algorithm, seed: int = 0, steps: int = 8) -> OuterLoop:
    held_out = episodes(torch.Generator().manual_seed(99), tasks=16)

    def validate(meta: Params) -> float:
        return float(algorithm.meta_gradient(meta, held_out, torch.Generator().manual_seed(0))[1])

    schedule = Schedule(steps=steps, rate=0.02, validate_every=4)
    return OuterLoop(algorithm, learner()[1], episodes, schedule, validate, seed)


@pytest.fixture(params=list(algorithms()))
def algorithm(request: pytest.FixtureRequest) -> Algorithm:
    return algorithms()[request.param]


def test_training_teaches(algorithm: Algorithm) -> None:
    training = loop(algorithm, steps=30)
    held_out = episodes(torch.Generator().manual_seed(7), tasks=64)
    before, after = (
        float(
            algorithm.learner.loss(
                algorithm.predict(meta, held_out.support, held_out.query.x).flatten(0, 1), held_out.query.y.flatten()
            ).mean()
        )
        for meta in (training.meta, training.run())
    )
    assert after < before - 0.02


def test_the_same_seed_gives_the_same_and_another_does_not(algorithm: Algorithm) -> None:
    first, again, other = (loop(algorithm, seed).run() for seed in (0, 0, 1))
    assert furthest(first, again) == 0
    assert furthest(first, other) > 1e-6


def test_a_resumed_loop_ends_where_an_uninterrupted_one_does(algorithm: Algorithm) -> None:
    whole = loop(algorithm)
    whole.run()
    first = loop(algorithm)
    first.run(until=5)
    state = {name: tensor.clone() for name, tensor in first.snapshot().items()}
    first.run()  # what the snapshot holds must not move with the loop that made it
    second = loop(algorithm, seed=5)
    second.restore(state)
    second.run()
    assert furthest(second.meta, whole.meta) == 0
    assert all(torch.equal(t, whole.snapshot()[name]) for name, t in second.snapshot().items())


def test_the_best_validated_is_kept_and_a_loop_that_gets_worse_stops() -> None:
    figures = iter([3.0, 1.0, 2.0, 2.0, 2.0, 0.0])
    seen: list[Params] = []

    def validate(meta: Params) -> float:
        seen.append(meta)
        return next(figures)

    schedule = Schedule(steps=100, validate_every=2, patience=3)
    training = OuterLoop(algorithms()["maml"], learner()[1], episodes, schedule, validate)
    steps: list[int] = []
    best = training.run(lambda step, _: steps.append(step))
    assert steps == list(range(1, 11))
    assert training.finished
    assert furthest(best, seen[1]) == 0
    assert furthest(best, seen[4]) > 0


def test_the_steps_shrink_to_nothing_and_a_long_gradient_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    def steep(_: Maml, meta: Params, *__: object) -> tuple[Params, torch.Tensor]:
        return {name: torch.full_like(t, 1e6) for name, t in meta.items()}, torch.zeros(())

    monkeypatch.setattr(Maml, "meta_gradient", steep)
    schedule = Schedule(steps=10, rate=0.1, max_norm=1.0)
    training = OuterLoop(algorithms()["maml"], learner()[1], episodes, schedule)
    places = [training.meta["model.2.bias"][0]]
    training.run(lambda *_: places.append(training.meta["model.2.bias"][0]))
    moved = -torch.stack(places).diff()
    expected = [0.05 * (1 + math.cos(math.pi * step / 10)) for step in range(10)]
    assert (moved - torch.tensor(expected)).abs().max() < 1e-4
    assert float(training.snapshot()["adam.exp_avg.model.2.bias"].abs().max()) < 1.0


def test_a_batch_that_diverged_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverged(_: Maml, meta: Params, *__: object) -> tuple[Params, torch.Tensor]:
        return {name: torch.full_like(t, math.nan) for name, t in meta.items()}, torch.tensor(math.nan)

    training, undisturbed = loop(algorithms()["maml"]), loop(algorithms()["maml"])
    training.run(until=3)
    before = training.meta
    with monkeypatch.context() as broken:
        broken.setattr(Maml, "meta_gradient", diverged)
        training.run(until=4)
        assert furthest(training.meta, before) == 0
        undisturbed.run(until=1)
    undisturbed.restore(undisturbed.snapshot())  # from before Adam remembers anything
    assert all(torch.isfinite(t).all() for t in (*training.run().values(), *undisturbed.run().values()))
    assert furthest(training.meta, before) > 0
