"""Every registered method passes the conformance checks, and the checks fail what they should."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pytest
import torch

from appliance.detect.windows import Windows
from appliance.evaluation.baselines import METHODS, cnn_forecaster, deepsad, devnet, finetuned
from appliance.evaluation.baselines.evidence import EvidenceMean
from appliance.evaluation.baselines.river_zscore import RiverZScore
from appliance.evaluation.methods import Batch, Judged, Method, MissingExtra, Support, Unsuited
from appliance.evaluation.trials import Views, views
from appliance.records import Floats
from tests.evaluation.conformance import (
    CHECKS,
    Make,
    bears_gaps,
    bears_one_channel_and_one_sample,
    gives_each_hop_a_finite_score,
    hears_what_it_is_there_for,
    is_deterministic,
    leaves_the_windows_alone,
    looks_only_back,
    support,
    takes_labels_only_if_it_says_so,
    trial,
)


@pytest.fixture
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the training: what the checks ask does not depend on how good a method is."""
    for training in (devnet, deepsad, finetuned):
        monkeypatch.setattr(training, "_STEPS", training._STEPS // 10)
    monkeypatch.setattr(cnn_forecaster, "_EPOCHS", cnn_forecaster._EPOCHS // 10)


@pytest.mark.usefixtures("short_training")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", METHODS)
def test_conforms(name: str, check: Callable[[Make], None]) -> None:
    if name != "random" or check is not hears_what_it_is_there_for:
        check(METHODS[name])


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_the_name_it_is_registered_under(name: str) -> None:
    assert METHODS[name]().name == name


class Level(Batch):
    """A simple method that is right in everything, for the broken ones to derive from."""

    name = "level"

    def fit(self, windows: Windows, seed: int) -> None:
        self.centre = windows.mean.mean(axis=0)

    def oddity(self, windows: Windows) -> Floats:
        return np.asarray(np.abs(windows.mean - self.centre).max(axis=1))


class Writing(Level):
    def oddity(self, windows: Windows) -> Floats:
        windows.standard[:, 0] += 1.0
        return super().oddity(windows)


class Unseeded(Level):
    def oddity(self, windows: Windows) -> Floats:
        return super().oddity(windows) + np.random.default_rng().normal(size=len(windows))


class Remembering(Level):
    count = 0

    def fit(self, windows: Windows, seed: int) -> None:
        super().fit(windows, seed)
        self.count += 1

    def oddity(self, windows: Windows) -> Floats:
        return super().oddity(windows) * self.count


class Foreseeing(Level):
    def judge(self, views: Views, support: Support, seed: int) -> Judged:
        warm_up, test, *_ = super().judge(views, support, seed)
        return Judged(warm_up, test / test.max())


class Peeking(Level):
    def judge(self, views: Views, support: Support, seed: int) -> Judged:
        warm_up, test, *_ = super().judge(views, support, seed)
        test[support.fault] += 1.0
        return Judged(warm_up, test)


class Deaf(Level):
    uses_labels: ClassVar = True


class Late(Level):
    def judge(self, views: Views, support: Support, seed: int) -> Judged:
        warm_up, test, *_ = super().judge(views, support, seed)
        return Judged(warm_up, test[1:])


class Constant(Level):
    def oddity(self, windows: Windows) -> Floats:
        return np.zeros(len(windows))


class Brittle(Level):
    def oddity(self, windows: Windows) -> Floats:
        return np.asarray(super().oddity(windows) / windows.present.prod(axis=1))


class Choosy(Level):
    def fit(self, windows: Windows, seed: int) -> None:
        if windows.values.shape[1] < 2:
            raise Unsuited("one channel")
        super().fit(windows, seed)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (Writing, leaves_the_windows_alone),
        (Unseeded, is_deterministic),
        (Remembering, is_deterministic),
        (Foreseeing, looks_only_back),
        (Peeking, takes_labels_only_if_it_says_so),
        (Deaf, takes_labels_only_if_it_says_so),
        (Late, gives_each_hop_a_finite_score),
        (Constant, hears_what_it_is_there_for),
        (Brittle, bears_gaps),
        (Choosy, bears_one_channel_and_one_sample),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_the_checks_catch_a_broken_method(broken: type[Method], check: Callable[[Make], None]) -> None:
    check(Level)
    with pytest.raises(AssertionError):
        check(broken)


def test_a_label_must_come_from_the_past() -> None:
    with pytest.raises(ValueError, match="hop 7 is labelled, but only the hops before 7"):
        Support(1, np.array([6, 7]), np.array([0, 0]), seen=7)
    with pytest.raises(ValueError, match="hop 9 is labelled"):
        Support(1, np.array([6]), np.array([0]), np.array([9]), seen=8)
    with pytest.raises(ValueError, match="2 hops of faults belong to 1 events"):
        Support(1, np.array([6, 7]), np.array([0]), seen=8)


def test_what_is_not_labelled_is_normal() -> None:
    assert Support(1, np.array([1, 2]), np.array([0, 0]), np.array([3]), seen=5).normal.tolist() == [0, 3, 4]
    assert Support.none().normal.size == 0


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name]().needs_labels])
def test_a_taught_method_wants_an_event(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} learns from labelled events and was given none"):
        METHODS[name]().judge(views(trial()), Support.none(), 0)


@pytest.mark.parametrize(("name", "package", "extra"), [("rrcf", "rrcf", "evaluate"), ("deepsad", "torch", "train")])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str) -> None:
    for module in [module for module in sys.modules if module.startswith("appliance.evaluation.baselines.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"{name} needs the package {package}.*appliance\[{extra}\]"):
        METHODS[name]()
    METHODS["random"]()


def test_the_mean_ranks_as_the_mean_of_the_logarithms() -> None:
    given = views(trial())
    single = [METHODS[name]().judge(given, Support.none(), 0).test for name in METHODS if name.startswith("evidence:")]
    mean = EvidenceMean().judge(given, Support.none(), 0).test
    np.testing.assert_allclose(np.log1p(mean), np.mean(np.log1p(single), axis=0))


def test_the_z_score_is_the_distance_from_all_that_came_before() -> None:
    given = views(trial())
    means = np.concatenate([given.train.mean, given.test.mean])
    at = len(given.train) + 50
    before = means[:at]
    expected = np.abs((means[at] - before.mean(axis=0)) / before.std(axis=0)).max()
    assert np.isclose(RiverZScore().judge(given, Support.none(), 0).test[50], expected)


@pytest.mark.parametrize("name", ["logistic", "ridge", "devnet", "deepsad", "finetuned"])
def test_a_taught_method_finds_the_fault_it_was_shown(name: str) -> None:
    scores = METHODS[name]().judge(views(trial()), support(trial()), 0).test
    first, end = trial().event_hops[2]
    assert np.median(scores[first:end]) > np.quantile(scores[~trial().test_labels], 0.95)


@pytest.mark.usefixtures("short_training")
def test_tuning_leaves_the_prior_as_it_was() -> None:
    given, method = views(trial()), finetuned.FineTuned()
    before = method.judge(given, Support.none(), 0).test
    tuned = method.judge(given, support(trial()), 0).test
    assert not np.array_equal(tuned, before)
    np.testing.assert_array_equal(method.judge(given, Support.none(), 0).test, before)


def test_a_made_up_fault_strikes_some_channels_of_each_window_for_a_while() -> None:
    torch.manual_seed(0)
    windows = torch.randn(500, 4, 16)
    changed = (finetuned._spoilt(windows) != windows).numpy()
    assert changed.any(axis=(1, 2)).mean() > 0.9  # frozen at its last cell, nothing changes
    assert 0.2 < changed.any(axis=2).mean() < 0.8
    assert changed[:, :, 0].mean() < changed[:, :, -1].mean()
