"""The bundle that comes with the software: what a fresh installation learns its first label with."""

from __future__ import annotations

import numpy as np
import pytest

from appliance import assembly
from appliance.adapt.adapters.descending import METHODS, Descending
from appliance.adapt.adapters.task import Task
from appliance.adapt.prior import Prior
from appliance.bundle.expected import ADAPTER
from appliance.bundle.reading import Bundle
from appliance.meta.descend import descend
from appliance.meta.machines import permissive

MOST_BYTES = 500_000


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return assembly.shipped()


def test_it_trusts_labels_as_far_as_the_figures_that_are_published(shipped: Bundle) -> None:
    assert Prior.of(shipped.tensors) == Prior()


def test_it_was_trained_on_what_may_be_passed_on(shipped: Bundle) -> None:
    seen = shipped.manifest.datasets
    assert len({each.name for each in seen}) >= 5
    assert [each for each in seen if not permissive(each.licence)] == []
    assert shipped.size <= MOST_BYTES


@pytest.mark.parametrize("method", METHODS)
def test_every_method_that_descends_starts_from_it(method: str, shipped: Bundle) -> None:
    prefix = f"{ADAPTER}{method}."
    meta = {name.removeprefix(prefix): each for name, each in shipped.tensors.items() if name.startswith(prefix)}
    features = meta["model.linear.weight"].shape[1]
    Descending(method, meta, descend).try_out()
    loud = np.zeros((40, features))
    loud[20:, :4] = 3.0
    weight = np.full(40, 0.5 / 20)
    bent = descend(method, meta, Task(loud, np.repeat([0.0, 1.0], 20), weight))
    odd = loud @ bent.linear + np.tanh(loud @ bent.hidden.T + bent.offset) @ bent.bend
    assert odd[20:].min() > odd[:20].max()
