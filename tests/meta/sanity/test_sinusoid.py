"""Sine waves as tasks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from appliance.meta.sanity.sinusoid import TEST_POINTS, draw, methods, network
from tests.meta.sanity.expected import AT_MOST


def test_waves_are_those_of_the_paper() -> None:
    support, query = draw(torch.Generator().manual_seed(0), 5, 20, 2000, tell=True)
    assert support.x.shape == (2000, 5, 3)
    for some in (support, query):
        x, amplitude, phase = some.x.unbind(-1)
        assert (amplitude * torch.sin(x - phase) - some.y[..., 0]).abs().max() < 1e-5
        assert bool((amplitude[:, :1] == amplitude).all())
        for values, low, high in ((x, -5, 5), (amplitude, 0.1, 5), (phase, 0, torch.pi)):
            assert low <= values.min() < low + 0.02 * (high - low)
            assert high - 0.02 * (high - low) < values.max() <= high


def test_without_being_told_a_method_sees_x_alone() -> None:
    told, untold = (draw(torch.Generator().manual_seed(0), 5, 5, 3, tell=tell) for tell in (True, False))
    assert torch.equal(untold.support.x, told.support.x[..., :1])
    assert torch.equal(untold.query.y, told.query.y)


@pytest.mark.parametrize("label", AT_MOST)
def test_a_method_that_does_not_learn_misses_what_is_expected_of_it(label: str) -> None:
    name, _, steps = label.partition(", ")
    learner, params = network()
    algorithm = methods(learner, params)[name].algorithm
    if steps:
        algorithm = replace(algorithm, steps=int(steps.split()[0]))  # type: ignore[call-arg]
    test = draw(torch.Generator().manual_seed(0), 10, TEST_POINTS, 100)
    meta = algorithm.initial(params, torch.Generator().manual_seed(0))
    outputs = algorithm.predict(meta, test.support, test.query.x)
    assert (outputs - test.query.y).square().mean() > AT_MOST[label] + 0.3
