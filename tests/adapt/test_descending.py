"""Adapters that descend: what they are given, what they do where it does not fit, and what they refuse."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.adapt import wire
from appliance.adapt.adapters.descending import METHODS, Descending, shapes
from appliance.adapt.adapters.ridge import Ridge
from appliance.adapt.adapters.task import Task
from appliance.adapt.prior import Prior
from appliance.detect.head import Bent
from appliance.errors import AdaptationError
from appliance.meta.descend import descend
from appliance.records import Floats
from tests.adapt.descents import untrained
from tests.adapt.test_adapters import DETECTORS, SPANS, future, support

OTHER = 2 * (DETECTORS + 1)


@pytest.mark.parametrize("method", METHODS)
def test_the_meta_parameters_that_are_expected_are_those_of_the_algorithm(method: str) -> None:
    assert {name: each.shape for name, each in untrained(method, 14).items()} == shapes(method, 14)


def test_with_another_number_of_detectors_it_is_ridge_and_says_so() -> None:
    def never(*_: object) -> Bent:
        raise AssertionError("there is nothing to start from")

    adapter = Descending("maml", untrained("maml", OTHER), never)
    found, expected = (each.adapt(Prior(), support(SPANS)).rescore(future()) for each in (adapter, Ridge()))
    assert found.tobytes() == expected.tobytes()
    said = "by ridge: maml was trained with 7 detectors, this machine has 6"
    assert [adapter.remark(detectors) for detectors in (DETECTORS, DETECTORS + 1)] == [said, None]


@pytest.mark.parametrize("method", METHODS)
def test_it_can_be_tried_out_without_a_machine(method: str) -> None:
    tried: list[Task] = []

    def solver(name: str, meta: dict[str, Floats], task: Task) -> Bent:
        tried.append(task)
        return descend(name, meta, task)

    Descending(method, untrained(method, OTHER), solver).try_out()  # type: ignore[arg-type]
    (task,) = tried
    assert task.features.shape[1] == OTHER
    assert task.weight[task.is_fault > 0].sum() == task.weight[task.is_fault == 0].sum() == 0.5


def test_what_ran_off_to_infinity_judges_nothing() -> None:
    meta = untrained("maml", 2 * DETECTORS) | {"model.bend.weight": np.full((1, 16), np.inf)}
    with pytest.raises(AdaptationError, match="maml ran off to infinity; install a bundle"):
        Descending("maml", meta, descend).adapt(Prior(), support(SPANS))


def test_a_part_of_another_shape_judges_nothing() -> None:
    def wrong(*_: object) -> Bent:
        return Bent(np.zeros(3), np.zeros((16, 3)), np.zeros(16), np.zeros(16))

    with pytest.raises(AdaptationError, match="other shapes"):
        Descending("maml", untrained("maml", 2 * DETECTORS), wrong).adapt(Prior(), support(SPANS))


def test_arrays_go_over_the_wire_as_they_are() -> None:
    arrays = {"method": np.array("maml"), "meta/model.linear.weight": np.arange(3.0), "single": np.array(0.1 + 0.2)}
    found = wire.read(wire.written(arrays))
    assert {name: (each.dtype, each.tolist()) for name, each in found.items()} == {
        name: (each.dtype, each.tolist()) for name, each in arrays.items()
    }


def test_what_is_no_npz_or_could_run_is_refused() -> None:
    sound = wire.written({"a": np.arange(100.0)})
    pickled = np.array([{}], dtype=object)
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        wire.written({"a": pickled})
    single = io.BytesIO()
    np.save(single, np.arange(3))
    for raw in (b"", b"garbage", sound[: len(sound) // 2], sound[:-30], single.getvalue()):
        with pytest.raises(ValueError, match="is no npz of arrays"):
            wire.read(raw)


SOUND = wire.written({"method": "maml", "a": np.arange(20.0)})


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), max_size=4), st.integers(0, len(SOUND)))
def test_whatever_is_changed_on_the_wire_raises_nothing_else(changes: list[tuple[int, int]], length: int) -> None:
    raw = bytearray(SOUND)
    for place, value in changes:
        raw[place] = value
    with contextlib.suppress(ValueError):
        wire.read(bytes(raw[:length]) if len(changes) == 4 else bytes(raw))
