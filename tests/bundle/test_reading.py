"""Whatever is wrong with a bundle, it is refused with one line that names the file, the thing and the remedy."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from safetensors.numpy import save

from appliance.bundle import sealed
from appliance.bundle.expected import Expected, Spec
from appliance.bundle.manifest import Dtype
from appliance.bundle.packing import pack
from appliance.bundle.reading import parse, read, read_shipped
from appliance.bundle.sealed import HEADER, MAX_BYTES
from appliance.bundle.signing import SigningKey
from appliance.errors import BundleError, BundleRefused
from tests.bundle.made import EXPECTED, KEY, TENSOR_VALUES, TRUSTED, about, by_hand, network, packed

FILE = "general-1.bundle"


def refusal(raw: bytes, trusted: Mapping[str, bytes] = TRUSTED, expected: Expected | None = None) -> BundleRefused:
    with pytest.raises(BundleRefused) as caught:
        parse(raw, FILE, trusted, expected)
    text = str(caught.value)
    assert text.startswith(f"{FILE}: ")
    assert "; " in text, "names no remedy"
    assert "\n" not in text
    return caught.value


@pytest.fixture
def sound(tmp_path: Path) -> bytes:
    return packed(tmp_path, network=network()).read_bytes()


def test_a_sound_bundle_is_read_whole(tmp_path: Path) -> None:
    path = packed(tmp_path, network=network())
    found = read(path, TRUSTED)
    assert (str(found), found.signed_by, found.size) == ("general version 1", "training", path.stat().st_size)
    assert found.network == network()
    assert found.manifest.training == {"steps": 1000, "optimiser": {"rate": 0.001}}
    assert {"appliance", "python", "numpy", "safetensors"} <= found.manifest.software.keys()
    assert not found.tensors["mean"].flags.writeable


def test_any_changed_byte_is_refused(sound: bytes) -> None:
    reasons = set()
    for position in range(len(sound)):
        changed = bytearray(sound)
        changed[position] ^= 0x01
        reasons.add(refusal(bytes(changed)).reason)
    kinds = {"not_a_bundle", "wrong_format", "oversized", "truncated", "surplus", "unknown_key", "bad_signature"}
    assert reasons == kinds


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), mask=st.integers(1, 255))
def test_any_change_of_a_byte_is_refused(sound: bytes, data: st.DataObject, mask: int) -> None:
    position = data.draw(st.one_of(st.integers(0, HEADER.size - 1), st.integers(0, len(sound) - 1)))
    refusal(sound[:position] + bytes([sound[position] ^ mask]) + sound[position + 1 :])


def test_a_bundle_cut_off_anywhere_is_refused(sound: bytes) -> None:
    reasons = [refusal(sound[:length]).reason for length in range(len(sound))]
    assert reasons == ["not_a_bundle"] + ["truncated"] * (len(sound) - 1)


@given(raw=st.binary(max_size=200))
def test_what_is_no_bundle_is_refused(raw: bytes) -> None:
    refusal(raw)
    refusal(sealed.MAGIC + raw)
    refusal(HEADER.pack(sealed.MAGIC, sealed.FORMAT, 0, max(0, len(raw) - 64), b"0" * 8) + raw)


@given(content=st.binary(max_size=200), members=st.binary(max_size=200))
def test_nonsense_that_is_rightly_signed_is_refused(content: bytes, members: bytes) -> None:
    refusal(sealed.seal(content, members, KEY))


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda it: it != "__metadata__"
)
tensors_of_any_kind = st.dictionaries(
    names,
    st.sampled_from(Dtype.__args__).flatmap(  # type: ignore[attr-defined] # it is a Literal
        lambda dtype: arrays.arrays(
            dtype,
            arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
            elements={"allow_nan": False, "allow_infinity": False} if dtype.startswith("float") else None,
        )
    ),
    max_size=4,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tensors=tensors_of_any_kind,
    onnx=st.sampled_from([None, network()]),
    said=st.builds(
        lambda version, metrics, training: about("a", version, metrics=metrics, training=training),
        st.integers(1, 2**31 - 1),
        st.dictionaries(names, st.floats(allow_nan=False, allow_infinity=False), max_size=3),
        st.dictionaries(names, st.recursive(st.integers(-100, 100) | names, st.lists), max_size=3),
    ),
)
def test_what_is_packed_is_what_is_read(
    tmp_path: Path, tensors: dict[str, NDArray[Any]], onnx: bytes | None, said: Any
) -> None:
    path = tmp_path / "a.bundle"
    pack(path, said, tensors, KEY, onnx)
    found = read(path, TRUSTED)
    assert found.network == onnx
    assert found.tensors.keys() == tensors.keys()
    for name, each in tensors.items():
        read_back = found.tensors[name]
        assert (read_back.dtype, read_back.shape, read_back.tobytes()) == (each.dtype, each.shape, each.tobytes())
    fields = ("name", "version", "made_at", "datasets", "metrics", "training")
    assert [getattr(found.manifest, field) for field in fields] == [getattr(said, field) for field in fields]
    first = path.read_bytes()
    pack(path, said, dict(reversed(tensors.items())), KEY, onnx)
    assert path.read_bytes() == first


def test_tensors_that_do_not_lie_in_order_are_packed_as_they_read(tmp_path: Path) -> None:
    odd = {
        "turned": np.arange(6.0).reshape(2, 3).T,
        "every second": np.arange(6)[::2],
        "big-endian": np.arange(3, dtype=">i4"),
    }
    found = read(packed(tmp_path, tensors=odd), TRUSTED)
    for name, each in odd.items():
        np.testing.assert_array_equal(found.tensors[name], each)


def test_a_key_that_is_not_trusted_is_named_and_so_is_the_setting(sound: bytes) -> None:
    for trusted in ({}, {"somebody": SigningKey.create().public}):
        refused = refusal(sound, trusted)
        assert refused.reason == "unknown_key"
        assert "add it to bundles.trusted_keys" in str(refused)


def test_only_a_shipped_prior_needs_no_signature(tmp_path: Path) -> None:
    path = packed(tmp_path, key=SigningKey.create())
    assert str(read_shipped(path)) == "general version 1"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleRefused, match=r"1 of .* bytes are missing"):
        read_shipped(path)


def test_no_more_is_read_than_a_bundle_may_have(tmp_path: Path) -> None:
    path = tmp_path / FILE
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(BundleRefused, match="has more than 32 MiB, the most an appliance reads; make the"):
        read(path, TRUSTED)
    with pytest.raises(BundleRefused, match="has more than 32 MiB"):
        read(Path("/dev/zero"), TRUSTED)
    with pytest.raises(BundleError, match=r"missing: cannot be read: No such file.*; name the bundle's file"):
        read(tmp_path / "missing", TRUSTED)


def test_a_huge_manifest_is_refused_before_its_signature_is_looked_at(sound: bytes) -> None:
    huge = sound[:12] + struct.pack("<I", 0xFFFFFFFF) + sound[16:]
    assert refusal(huge).reason == "oversized"


def drop(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda manifest: manifest.pop(key)


def put(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda manifest: manifest.update(values)


@pytest.mark.parametrize(
    ("raw", "reason", "says"),
    [
        (by_hand(drop("version")), "bad_manifest", "missing required field `version`"),
        (by_hand(put(version=0)), "bad_manifest", "`int` >= 1"),
        (by_hand(put(name="../../etc/passwd")), "bad_manifest", "`$.name`"),
        (by_hand(put(name="general\n")), "bad_manifest", "`$.name`"),
        (by_hand(put(metrics={"vus_pr": None})), "bad_manifest", "`$.metrics[...]`"),
        (by_hand(put(surprise=1)), "bad_manifest", "`surprise`"),
        (by_hand(put(members=[])), "bad_manifest", "members, none, are not those in the file"),
        (by_hand(members=lambda content: content + b" "), "bad_manifest", "are not those in the file"),
        (by_hand(put(tensors={})), "bad_manifest", "tensor mean is float32 (3) and the manifest says nothing of it"),
        (
            by_hand(members=lambda content: content[:-1] + b"\1"),
            "hash_mismatch",
            "tensors.safetensors is not the one whose SHA-256",
        ),
        (by_hand(tensors=b"\x80\x04\x95nope."), "bad_tensors", "tensors.safetensors cannot be read"),
        (by_hand(tensors=struct.pack("<Q", 2**60)), "bad_tensors", "tensors.safetensors cannot be read"),
        (by_hand(tensors=save({})), "bad_manifest", "tensor mean is missing and the manifest says float32 (3)"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_is_rightly_signed_and_wrong_is_refused_too(raw: bytes, reason: str, says: str) -> None:
    refused = refusal(raw)
    assert refused.reason == reason
    assert says in str(refused)


def test_a_manifest_of_a_hundred_thousand_levels_is_refused() -> None:
    assert refusal(sealed.seal(b'{"training": ' + b"[" * 100_000, b"", KEY)).reason == "bad_manifest"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_with_their_place(tmp_path: Path, bad: float) -> None:
    scale = np.ones((2, 3), np.float32)
    scale[1, 2] = bad
    out = tmp_path / FILE
    with pytest.raises(BundleRefused) as caught:
        pack(out, about(), TENSOR_VALUES | {"scale": scale}, KEY)
    assert caught.value.reason == "not_finite"
    assert f"tensor scale holds {bad} at (1, 2); train" in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"mean": Spec("float32", (4,))}, "tensor mean is float32 (3) and should be float32 (4)"),
        ({"mean": Spec("float64", (3,))}, "tensor mean is float32 (3) and should be float64 (3)"),
        ({"mean": Spec("float32", (3, None))}, "tensor mean is float32 (3) and should be float32 (3, any)"),
        ({"mean": Spec("float32", (3,)), "tail": Spec("float64", ())}, "tensor tail, float64 (), is missing"),
        ({"mean": Spec("float32", (3,))}, "tensor scale is not known here"),
    ],
)
def test_tensors_must_be_those_the_software_expects(sound: bytes, tensors: dict[str, Spec], says: str) -> None:
    refused = refusal(sound, expected=EXPECTED._replace(tensors=tensors))
    assert refused.reason == "wrong_tensors"
    assert f"{says}; pack the bundle for this version" in str(refused)


def test_a_network_is_refused_where_none_is_expected_and_the_other_way_round(sound: bytes) -> None:
    assert "network.onnx is not known here" in str(refusal(sound, expected=EXPECTED))
    assert parse(by_hand(), FILE, TRUSTED, EXPECTED).network is None
