"""Keeps what was measured, so that an interrupted run goes on where it stopped and an unchanged one ends at once.

What was found is valid as long as its key is: a digest of the machine's trial, the question, and the source of every
module of ours that the answer is computed with.
"""

from __future__ import annotations

import ast
import importlib.util
import os
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import quote

import msgspec
import numpy as np

from appliance.evaluation.explaining import Blamed, Scene
from appliance.evaluation.results import Row
from appliance.evaluation.trials import Trial

PACKAGE = "appliance"
NOT_FOLLOWED = frozenset({"appliance.evaluation.runner", "appliance.evaluation.methods", "appliance.config"})
"""Their own source counts, but not what they import: they name all that can be measured, or set."""
LIBRARIES = ("numpy", "scipy", "river", "scikit-learn", "rrcf", "torch")
"""Their versions count too."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """All that is kept of one method on one machine with one seed and one number of labels."""

    key: str
    rows: list[Row] = []
    alerts: list[tuple[int, int | None]] = []
    """Of the appliance, at one false alert a week: those that were false teach the methods that take labels."""
    blamed: list[Blamed] = []
    scenes: list[Scene] = []
    unsuited: str | None = None
    """Why the method cannot judge this machine."""


class Cache:
    """A folder of findings, one JSON file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: tuple[str, ...], key: str) -> Finding | None:
        """Return what is kept under a name; None where there is nothing, or only what another key made."""
        try:
            found = msgspec.json.decode(self._path(name).read_bytes(), type=Finding)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        return found if found.key == key else None

    def write(self, name: tuple[str, ...], finding: Finding) -> None:
        """Keep a finding; at no moment is there half of one."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_bytes(msgspec.json.encode(finding))
        unfinished.replace(path)

    def _path(self, name: tuple[str, ...]) -> Path:
        *folders, last = (quote(part, safe=" :+=") for part in name)
        return self._folder.joinpath(*folders, f"{last}.json")


def trial_digest(trial: Trial) -> str:
    """Digest everything of a trial that a figure could depend on."""
    digest = blake2b(digest_size=16)
    for array in (trial.values, trial.labels):
        digest.update(np.ascontiguousarray(array).tobytes())
    rest = {field: getattr(trial, field) for field in trial.__dataclass_fields__ if field not in {"values", "labels"}}
    digest.update(msgspec.json.encode(rest))
    return digest.hexdigest()


def digest_of(*parts: object) -> str:
    """Digest of anything that JSON can write."""
    return blake2b(msgspec.json.encode(parts), digest_size=16).hexdigest()


@cache
def source_digest(*modules: str) -> str:
    """Digest the source of modules of ours and of all that they import of ours, and the versions of libraries."""
    sources = {name: blake2b(path.read_bytes()).hexdigest() for name, path in _closure(modules).items()}
    return digest_of(sorted(sources.items()), [_version(library) for library in LIBRARIES])


def _closure(modules: Iterable[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = None if name in found else _file(name)
        if path is not None:
            found[name] = path
            if name not in NOT_FOLLOWED:
                waiting += _imports(path)
    return found


def _imports(path: Path) -> Iterator[str]:
    """Modules of ours that a file imports; some of the names may be no modules."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith(f"{PACKAGE}."))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{PACKAGE}."):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _file(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a name inside a module
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin)


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
