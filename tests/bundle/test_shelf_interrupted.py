"""Whatever stops a change of the shelf, the old bundle is in service or the new."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.bundle.shelf import STATE, Shelf
from tests.bundle.interrupted import FAILED, FINISHED, How, Interrupter
from tests.bundle.made import EXPECTED, TRUSTED, version


def stopped_everywhere(
    other: Interrupter, how: How, install: Path | None, folder: Path, next_one: Path
) -> Iterator[int | None]:
    """The version in service after a change was stopped before its first step, its second, and so on."""
    left: set[frozenset[str]] = set()
    line, status = 0, -1
    while status != FINISHED:
        line += 1
        copy = folder.with_name(f"stopped-{line}")
        shutil.copytree(folder, copy)
        status = other.change(copy, install, how=how, line=line)
        assert status in {FINISHED, -signal.SIGKILL if how == "killed" else FAILED}
        shelf = Shelf(copy, TRUSTED, EXPECTED)
        yield version(shelf)
        files = frozenset(path.name for path in copy.iterdir())
        if files not in left:  # whatever was left lying about, the next one succeeds and removes it
            left.add(files)
            if status != FINISHED:
                shelf.install(next_one)
                assert version(shelf) == 7
            assert {path.name for path in copy.iterdir()} == {STATE, *(each.entry.file for each in shelf.listed())}
        shutil.rmtree(copy)


@pytest.mark.parametrize("how", ["killed", "disk full"])
@pytest.mark.parametrize("installed", [[], [1, 2, 3, 4, 5]], ids=["the first", "with one to forget"])
def test_an_install_stopped_anywhere_leaves_the_old_or_the_new(
    tmp_path: Path, made: dict[int, Path], other: Interrupter, how: How, installed: list[int]
) -> None:
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    for each in installed:
        Shelf(prepared, TRUSTED, EXPECTED).install(made[each])
    found = list(stopped_everywhere(other, how, made[6], prepared, made[7]))
    switch = found.index(6)
    assert switch > 10
    assert found == [max(installed, default=None)] * switch + [6] * (len(found) - switch)


@pytest.mark.parametrize("how", ["killed", "disk full"])
def test_a_rollback_stopped_anywhere_leaves_either(
    tmp_path: Path, made: dict[int, Path], other: Interrupter, how: How
) -> None:
    prepared = tmp_path / "prepared"
    for each in (1, 2):
        Shelf(prepared, TRUSTED, EXPECTED).install(made[each])
    found = list(stopped_everywhere(other, how, None, prepared, made[7]))
    switch = found.index(1)
    assert switch > 10
    assert found == [2] * switch + [1] * (len(found) - switch)


@pytest.mark.parametrize("how", ["killed", "disk full"])
@pytest.mark.parametrize(("install", "new"), [(3, 3), (None, 1)], ids=["install", "rollback"])
def test_a_write_cut_off_anywhere_leaves_the_old(
    tmp_path: Path, made: dict[int, Path], other: Interrupter, how: How, install: int | None, new: int
) -> None:
    folder = tmp_path / "bundles"
    shelf = Shelf(folder, TRUSTED, EXPECTED)
    for each in (1, 2):
        shelf.install(made[each])
    file = None if install is None else made[install]
    size = (file or folder / STATE).stat().st_size  # the largest file that it writes
    for share in (0, 0.01, 0.5, 0.9):
        stopped = other.change(folder, file, how=how, size=int(share * size))
        assert stopped == (-signal.SIGXFSZ if how == "killed" else FAILED)
        assert version(shelf) == 2
    assert other.change(folder, file, how=how, size=size) == FINISHED
    assert version(shelf) == new


def test_nothing_is_named_before_it_is_on_the_disk(
    shelf: Shelf, made: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power failure leaves is what was flushed: so the order of flushes and renames is what counts."""
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def flushing(descriptor: int) -> None:
        done.append(f"flush {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def renaming(source: Path, target: Path) -> None:
        done.append(f"rename to {target.name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(os, "replace", renaming)
    shelf.install(made[1])
    assert done == [
        "flush data",
        "flush general-1.bundle.part",
        "rename to general-1.bundle",
        "flush bundles",
        f"flush {STATE}.part",
        f"rename to {STATE}",
        "flush bundles",
    ]


def test_two_who_install_wait_for_each_other(tmp_path: Path, made: dict[int, Path], other: Interrupter) -> None:
    folder = tmp_path / "bundles"
    shelf = Shelf(folder, TRUSTED, EXPECTED)
    shelf.install(made[1])
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    other.begin(folder, made[2])
    time.sleep(1)
    assert version(shelf) == 1  # and who only reads does not wait
    os.close(lock)
    assert other.end() == FINISHED
    assert version(shelf) == 2
