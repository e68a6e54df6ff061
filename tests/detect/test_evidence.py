"""Every registered evidence detector passes the conformance checks, and the checks fail what they should."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pytest

from appliance.detect.evidence import EVIDENCE, EvidenceDetector, Oddity
from appliance.detect.evidence.extreme import ExtremeValue
from appliance.detect.windows import Windows
from appliance.records import Floats
from tests.detect.conformance import (
    CHECKS,
    Make,
    hears_a_large_step,
    hears_a_large_step_after_a_strange_warm_up,
    is_deterministic,
    leaves_its_input_alone,
    treats_windows_alone,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", EVIDENCE)
def test_conforms(name: str, check: Callable[[Make], None]) -> None:
    check(EVIDENCE[name])


class Constant(EvidenceDetector):
    def fit(self, windows: Windows, seed: int) -> None:
        pass

    def energy(self, windows: Windows) -> Floats:
        return np.zeros(windows.present.shape)


class Writing(ExtremeValue):
    def oddity(self, windows: Windows) -> Oddity:
        windows.values[:, 0] += 1.0
        return super().oddity(windows)


class Remembering(ExtremeValue):
    def oddity(self, windows: Windows) -> Oddity:
        self.centre = self.centre + 0.1
        return super().oddity(windows)


class Unseeded(ExtremeValue):
    FITTED: ClassVar = ExtremeValue.FITTED

    def fit(self, windows: Windows, seed: int) -> None:
        super().fit(windows, seed)
        self.per_spread = self.per_spread * np.random.default_rng().uniform(1.0, 2.0)


class BatchRelative(ExtremeValue):
    def oddity(self, windows: Windows) -> Oddity:
        values, by_channel = super().oddity(windows)
        return Oddity(values - values.mean(), by_channel)


class Impressed(EvidenceDetector):
    def fit(self, windows: Windows, seed: int) -> None:
        self.largest = np.abs(windows.values).max()

    def energy(self, windows: Windows) -> Floats:
        above: Floats = np.maximum(np.abs(windows.values).max(axis=2) - self.largest, 0.0)
        return above


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (Constant, hears_a_large_step),
        (Writing, leaves_its_input_alone),
        (Remembering, leaves_its_input_alone),
        (Unseeded, is_deterministic),
        (BatchRelative, treats_windows_alone),
        (Impressed, hears_a_large_step_after_a_strange_warm_up),
    ],
)
def test_the_checks_catch_a_broken_detector(broken: type[EvidenceDetector], check: Callable[[Make], None]) -> None:
    with pytest.raises(AssertionError):
        check(broken)
