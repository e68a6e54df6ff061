"""One bundle is in service: installs, rollbacks, refusals."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.bundle.shelf import KEPT, STATE, Shelf
from appliance.bundle.signing import SigningKey
from appliance.errors import BundleError, BundleRefused
from tests.bundle.made import EXPECTED, TENSOR_VALUES, TRUSTED, VERSIONS, WITH_NETWORK, network, packed, version


def on(shelf: Shelf) -> list[tuple[int, str]]:
    """What is on the shelf: version and place."""
    return [(each.entry.version, each.place) for each in shelf.listed()]


def test_without_a_bundle_nothing_is_in_service(shelf: Shelf) -> None:
    assert shelf.in_service() is None
    assert shelf.listed() == []


def test_the_one_installed_last_is_in_service_and_five_are_kept(shelf: Shelf, made: dict[int, Path]) -> None:
    for each in VERSIONS:
        change = shelf.install(made[each])
        assert (str(change.before), str(change.now)) == (
            f"general version {each - 1}" if each > 1 else "None",
            f"general version {each}",
        )
        assert version(shelf) == each
    assert on(shelf) == [(7, "in service"), (6, "before"), (5, "before"), (4, "before"), (3, "before")]


def test_a_rollback_goes_one_back_and_in_the_end_to_the_softwares_own(shelf: Shelf, made: dict[int, Path]) -> None:
    for each in (1, 2, 3):
        shelf.install(made[each])
    change = shelf.rollback()
    assert (str(change.before), str(change.now)) == ("general version 3", "general version 2")
    assert on(shelf) == [(2, "in service"), (1, "before"), (3, "set aside")]
    shelf.install(made[4])
    assert version(shelf) == 4
    assert version_after_rollback(shelf) == 2  # not 3, which somebody had enough of
    assert version_after_rollback(shelf) == 1
    assert version_after_rollback(shelf) is None
    with pytest.raises(BundleRefused, match="no bundle is in service; install one"):
        shelf.rollback()
    shelf.install(made[1])
    assert version(shelf) == 1


def version_after_rollback(shelf: Shelf) -> int | None:
    shelf.rollback()
    return version(shelf)


def test_what_was_set_aside_is_forgotten_first(shelf: Shelf, made: dict[int, Path]) -> None:
    for each in (1, 2, 3, 4, 5):
        shelf.install(made[each])
    shelf.rollback()
    shelf.install(made[6])
    assert on(shelf) == [(6, "in service"), (4, "before"), (3, "before"), (2, "before"), (1, "before")]


def test_an_older_version_is_refused_unless_that_is_meant(shelf: Shelf, made: dict[int, Path], tmp_path: Path) -> None:
    shelf.install(made[3])
    with pytest.raises(BundleRefused, match=r"version 2 is older than version 3, which is installed; use rollback"):
        shelf.install(made[2])
    assert version(shelf) == 3
    shelf.install(packed(tmp_path, 1, "pumps"))  # another name counts for itself
    with pytest.raises(BundleRefused) as caught:
        shelf.install(made[2])
    assert caught.value.reason == "downgrade"
    shelf.install(made[2], allow_downgrade=True)
    assert version(shelf) == 2


def test_after_a_rollback_what_lies_between_may_come(shelf: Shelf, made: dict[int, Path]) -> None:
    shelf.install(made[1])
    shelf.install(made[3])
    shelf.rollback()
    shelf.install(made[2])
    assert on(shelf) == [(2, "in service"), (1, "before"), (3, "set aside")]


def test_installing_the_same_again_changes_nothing(shelf: Shelf, made: dict[int, Path]) -> None:
    shelf.install(made[1])
    shelf.install(made[2])
    before = on(shelf)
    change = shelf.install(made[2])
    assert str(change.before) == str(change.now) == "general version 2"
    assert on(shelf) == before


def test_a_version_means_one_content(shelf: Shelf, made: dict[int, Path], tmp_path: Path) -> None:
    shelf.install(made[1])
    other = packed(tmp_path, 1, tensors=TENSOR_VALUES | {"mean": TENSOR_VALUES["mean"] + 1})
    for allow_downgrade in (False, True):
        with pytest.raises(BundleRefused) as caught:
            shelf.install(other, allow_downgrade=allow_downgrade)
        assert caught.value.reason == "other_content"
    assert "pack it again with a higher version" in str(caught.value)
    found = shelf.in_service()
    assert found is not None
    assert found.tensors["mean"].sum() == 0


def damage(tmp_path: Path, number: int) -> None:
    path = tmp_path / "data" / "bundles" / f"general-{number}.bundle"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)


def test_a_damaged_bundle_is_refused_until_it_is_installed_again(
    shelf: Shelf, made: dict[int, Path], tmp_path: Path
) -> None:
    shelf.install(made[1])
    damage(tmp_path, 1)
    with pytest.raises(BundleRefused, match=r"general-1.bundle: the signature of key training does not fit"):
        shelf.in_service()
    (listed,) = shelf.listed()
    assert listed.bundle is None
    assert "does not fit" in (listed.problem or "")
    shelf.install(made[1])
    assert version(shelf) == 1


def test_a_rollback_passes_over_what_can_no_longer_be_used(shelf: Shelf, made: dict[int, Path], tmp_path: Path) -> None:
    for each in (1, 2, 3, 4):
        shelf.install(made[each])
    damage(tmp_path, 3)
    (tmp_path / "data" / "bundles" / "general-2.bundle").unlink()
    assert version_after_rollback(shelf) == 1


def test_a_key_that_is_no_longer_trusted_takes_its_bundles_out_of_service(
    shelf: Shelf, made: dict[int, Path], tmp_path: Path
) -> None:
    shelf.install(made[1])
    new = SigningKey.create()
    later = Shelf(tmp_path / "data" / "bundles", {"new": new.public}, EXPECTED)
    with pytest.raises(BundleRefused, match="not trusted"):
        later.in_service()
    later.install(packed(tmp_path, 1, key=new))
    assert version(later) == 1


def test_what_is_refused_leaves_everything_as_it_was(shelf: Shelf, made: dict[int, Path], tmp_path: Path) -> None:
    shelf.install(made[1])
    folder = tmp_path / "data" / "bundles"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    cut = tmp_path / "cut.bundle"
    cut.write_bytes(made[2].read_bytes()[:-1])
    for file in (
        cut,
        packed(tmp_path, 2, key=SigningKey.create()),
        packed(tmp_path, 3, tensors={"mean": TENSOR_VALUES["mean"]}),
        packed(tmp_path, 4, network=network()),
    ):
        with pytest.raises(BundleRefused):
            shelf.install(file)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_network_is_tried_before_it_is_installed(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "bundles", TRUSTED, WITH_NETWORK)
    with pytest.raises(BundleRefused, match="should be float32"):
        shelf.install(packed(tmp_path, 1, network=network(outputs=3)))
    assert not (tmp_path / "bundles").exists()
    shelf.verify(packed(tmp_path, 2, network=network()))
    assert not (tmp_path / "bundles").exists()
    shelf.install(packed(tmp_path, 2, network=network()))
    assert version(shelf) == 2


def test_the_service_may_read_what_root_installed(made: dict[int, Path], tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        Shelf(tmp_path / "bundles", TRUSTED).install(made[1])
    finally:
        os.umask(old)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "bundles").iterdir()}
    assert modes == {"general-1.bundle": 0o644, STATE: 0o644}
    assert stat.S_IMODE((tmp_path / "bundles").stat().st_mode) == 0o755


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"service": [{"name": "../../etc/x", "version": 1}]}', b'{"service": [{"name": "a"}]}']
)
def test_a_damaged_list_is_an_error_with_its_remedy(
    shelf: Shelf, made: dict[int, Path], tmp_path: Path, content: bytes
) -> None:
    shelf.install(made[1])
    path = tmp_path / "data" / "bundles" / STATE
    path.write_bytes(content)
    for use in (shelf.in_service, shelf.rollback, shelf.listed, lambda: shelf.install(made[2])):
        with pytest.raises(BundleError, match=r"shelf.json: is damaged: .*; remove it and install the bundle again"):
            use()
    path.unlink()
    shelf.install(made[1])
    assert version(shelf) == 1


def test_a_shelf_that_cannot_be_written_is_an_error_that_names_it(made: dict[int, Path], tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    with pytest.raises(BundleError, match=r"data/bundles: cannot be written: Not a directory; make room or run as"):
        Shelf(tmp_path / "data" / "bundles", TRUSTED).install(made[1])


@settings(deadline=None, max_examples=25)
@given(steps=st.lists(st.sampled_from([*VERSIONS, None]), max_size=12))
def test_any_order_of_installs_and_rollbacks_leaves_a_tidy_shelf(
    made: dict[int, Path], steps: list[int | None]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shelf = Shelf(Path(folder), TRUSTED, EXPECTED)
        history: list[int] = []
        for step in steps:
            if step is not None:
                shelf.install(made[step], allow_downgrade=True)
                history = [*(each for each in history if each != step), step][-KEPT:]
            elif history:
                shelf.rollback()
                history.pop()
            assert version(shelf) == (history[-1] if history else None)
            listed = shelf.listed()
            assert [each.entry.version for each in listed if each.place != "set aside"] == history[::-1]
            assert len(listed) <= KEPT
            assert all(each.bundle is not None for each in listed)
            files = {path.name for path in Path(folder).iterdir()}
            assert files == {STATE, *(each.entry.file for each in listed)} - ({STATE} if not listed else set())
