"""``appliance evaluate --sanity``: algorithms that are right pass problems with known answers after short training."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import NamedTuple

import pytest
from rich.console import Console

from appliance.commands.sanity import table
from appliance.meta.sanity.figures import Figure
from appliance.meta.sanity.run import total_steps
from tests.meta.sanity.expected import AT_MOST

SINE, DIGITS = "sinusoid", "digits"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "appliance", "evaluate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)


class Found(NamedTuple):
    value: dict[tuple[str, str, int], float]


@pytest.fixture(scope="module")
def found() -> Found:
    result = run("--sanity", "--quick", "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["quick"] is True
    figures = [Figure(**each) for each in answer["figures"]]
    assert all(each.low < each.value < each.high for each in figures if each.low is not None and each.high is not None)
    assert {each.samples for each in figures if each.problem == SINE} == {600}
    return Found({(each.problem, each.method, each.shots): each.value for each in figures})


@pytest.mark.parametrize(("method", "at_most"), AT_MOST.items())
def test_every_algorithm_learns_to_fit_sine_waves_that_pre_training_does_not(
    found: Found, method: str, at_most: float
) -> None:
    assert found.value[SINE, method, 10] < at_most
    assert found.value[SINE, "pre-trained, fine-tuned, 10 steps", 10] > 2.3


def test_second_derivatives_and_learned_steps_are_worth_something(found: Found) -> None:
    error = {method: value for (problem, method, _), value in found.value.items() if problem == SINE}
    assert error["MAML, 1 step"] < error["MAML, first order, 1 step"] - 0.3
    assert error["Meta-SGD, 1 step"] < error["MAML, 1 step"] - 0.5


@pytest.mark.parametrize("shots", [1, 5])
def test_a_learned_embedding_tells_unseen_digits_apart_better_than_an_untrained_one(found: Found, shots: int) -> None:
    for method in ("prototypical networks", "pre-trained, then prototypical networks"):
        assert found.value[DIGITS, method, shots] > found.value[DIGITS, "untrained, prototypes", shots] + 0.005
        assert found.value[DIGITS, method, shots] > found.value[DIGITS, "prototypes of pixels", shots] + 0.03


@pytest.mark.parametrize("method", ["MAML", "ANIL", "Reptile", "LEO"])
def test_every_algorithm_tells_digits_apart_that_it_never_saw(found: Found, method: str) -> None:
    """The body does as much before any training: whether these learn is asked on the sine waves."""
    assert found.value[DIGITS, method, 5] > 0.9
    assert found.value[DIGITS, method, 1] > 0.8
    assert found.value[DIGITS, method, 5] > found.value[DIGITS, method, 1] + 0.05


def test_the_quick_run_is_quick() -> None:
    assert 0 < total_steps(quick=True) < total_steps(quick=False) / 15


def test_it_makes_its_own_problems_and_everything_else_needs_folders() -> None:
    refused = run("--sanity", "--data", "recordings")
    assert refused.returncode == 2
    assert "leave --data" in refused.stderr
    needed = run("--out", "out")
    assert needed.returncode == 2
    assert "--data" in needed.stderr


def test_the_table_has_a_method_a_row_and_what_was_published(capsys: pytest.CaptureFixture[str]) -> None:

    figures = [
        Figure(SINE, "mean squared error", "MAML, 1 step", 5, 1.0567, 1.0, 1.1, 600, "1.13 ± 0.18"),
        Figure(SINE, "mean squared error", "MAML, 1 step", 10, 0.5, 0.4, 0.6, 600),
        Figure(SINE, "mean squared error", "LEO", 10, 0.25, None, None, 1),
    ]
    Console(width=80).print(table(figures))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["MAML,", "1", "step", "1.057", "0.500", "1.13", "±", "0.18"] in lines
    assert ["1.000", "to", "1.100", "0.400", "to", "0.600", "5", "shots"] in lines
    assert ["LEO", "—", "0.250"] in lines
