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

SINE, DIGITS = "sinusoid", "digits"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "appliance", "evaluate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)


class Found(NamedTuple):
    value: dict[tuple[str, str, int], float]
    cpu_secs: float


@pytest.fixture(scope="module")
def found() -> Found:
    result = run("--sanity", "--quick", "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["quick"] is True
    figures = [Figure(**each) for each in answer["figures"]]
    assert all(each.low < each.value < each.high for each in figures if each.low is not None and each.high is not None)
    assert {each.samples for each in figures if each.problem == SINE} == {600}
    return Found({(each.problem, each.method, each.shots): each.value for each in figures}, answer["cpu_secs"])


@pytest.mark.parametrize(
    ("method", "at_most"),
    [
        ("MAML, 1 step", 2.2),
        ("MAML, 10 steps", 1.6),
        ("Meta-SGD, 1 step", 0.9),
        ("Reptile, 32 steps", 1.7),
        ("LEO", 0.5),
        ("learned optimiser, 5 steps", 2.2),
    ],
)
def test_every_algorithm_learns_to_fit_sine_waves_that_pre_training_does_not(
    found: Found, method: str, at_most: float
) -> None:
    assert found.value[SINE, method, 10] < at_most
    assert found.value[SINE, "pre-trained, fine-tuned, 10 steps", 10] > 2.3


def test_second_derivatives_and_learned_steps_are_worth_something(found: Found) -> None:
    error = {method: value for (problem, method, _), value in found.value.items() if problem == SINE}
    assert error["MAML, 1 step"] < error["MAML, first order, 1 step"] - 0.3
    assert error["Meta-SGD, 1 step"] < error["MAML, 1 step"] - 0.5


@pytest.mark.parametrize("method", ["MAML", "ANIL", "Reptile", "LEO"])
def test_every_algorithm_tells_digits_apart_that_it_never_saw(found: Found, method: str) -> None:
    assert found.value[DIGITS, method, 5] > 0.85
    assert found.value[DIGITS, method, 1] > 0.65
    assert found.value[DIGITS, method, 5] > found.value[DIGITS, method, 1] + 0.05


def test_the_quick_run_is_quick(found: Found) -> None:
    assert found.cpu_secs < 60


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
