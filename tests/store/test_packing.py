from __future__ import annotations

import pickle
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from appliance.store import packing

arrays = hnp.arrays(
    dtype=st.sampled_from(["<f8", "<f4", "<i8", "|b1", "<u4"]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
)
leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary() | arrays
states = st.dictionaries(
    st.text(), st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
)


def equal(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray):
        return bool(left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes())
    if isinstance(left, dict):
        return list(left) == list(right) and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(equal(a, b) for a, b in zip(left, right, strict=True))
    return type(left) is type(right) and repr(left) == repr(right)


@given(states)
def test_a_state_comes_back_as_it_was(state: dict[str, Any]) -> None:
    assert equal(packing.unpack(packing.pack(state)), state)


def test_arrays_that_come_back_can_be_written_to() -> None:
    found = packing.unpack(packing.pack({"a": np.zeros(3)}))["a"]
    found[0] = 1.0
    assert found[0] == 1.0


@pytest.mark.parametrize("value", [object(), np.array([object()]), lambda: None])
def test_what_could_carry_code_is_not_stored(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be stored"):
        packing.pack({"value": value})


@pytest.mark.parametrize(
    "data", [pickle.dumps({"a": 1}), b"", b"\xc1", msgspec.msgpack.encode(msgspec.msgpack.Ext(7, b""))]
)
def test_nothing_else_is_read(data: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, ValueError)):
        packing.unpack(data)
