"""Keeps what was measured, so that an interrupted run goes on where it stopped and an unchanged one ends at once.

What was found is valid as long as its key is: a digest of the machine's trial, the question, and the source of every
module of ours that the answer is computed with. Scores of methods are kept apart from the figures made of them, and
are valid as long as the windows that they judge are: who changes how figures are made, the threshold that goes with
the scores, or how fast windows are made, does not wait for the scores again.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import quote

import msgspec
import numpy as np

from appliance.detect.traces import Traces
from appliance.evaluation.explaining import Blamed, Scene
from appliance.evaluation.methods import Judged
from appliance.evaluation.results import Row
from appliance.evaluation.trials import Trial, Views

PACKAGE = "appliance"
NOT_FOLLOWED = frozenset({"appliance.evaluation.runner", "appliance.evaluation.baselines", "appliance.config"})
"""Their own source counts, but not what they import: they name all that can be measured, or set."""
NOTHING_COMPUTED = frozenset(
    {"appliance.records", "appliance.outcome", "appliance.errors", "appliance.evaluation.baselines"}
)
"""Types, errors and names alone: no figure depends on their source."""
GIVEN = frozenset({"appliance.evaluation.trials", "appliance.detect.windows"})
"""They make the windows that methods judge, which are digested themselves."""
OWN_PARTS = "appliance.detect."
"""A method that uses other parts of the detector than those depends on all of it."""
_TRACES = ("strangeness", "traits", "detectors")
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
    """A folder of findings, one JSON file each, and of scores, one NumPy file each."""

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
        with self._replacing(self._path(name)) as unfinished:
            unfinished.write_bytes(msgspec.json.encode(finding))

    def read_scores(self, name: tuple[str, ...], key: str) -> Judged | None:
        """Return the scores that are kept under a name; None as for `read`."""
        try:
            with self._path(name, "npz").open("rb") as file, np.load(file) as kept:
                if str(kept["key"]) != key:
                    return None
                fit_cpu_secs, hop_cpu_secs = (None if np.isnan(secs) else float(secs) for secs in kept["cpu_secs"])
                return Judged(kept["warm_up"].astype(float), kept["test"].astype(float), fit_cpu_secs, hop_cpu_secs)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def write_scores(self, name: tuple[str, ...], key: str, judged: Judged) -> None:
        """Keep scores, in single precision."""
        cpu_secs = np.array([judged.fit_cpu_secs, judged.hop_cpu_secs], dtype=np.float64)
        warm_up, test = judged.warm_up.astype(np.float32), judged.test.astype(np.float32)
        with self._replacing(self._path(name, "npz")) as unfinished, unfinished.open("wb") as file:
            np.savez(file, key=key, warm_up=warm_up, test=test, cpu_secs=cpu_secs)

    def read_traces(self, name: tuple[str, ...], key: str) -> tuple[Traces, Traces] | None:
        """Return what the service saw of the warm-up and of the hops; None as for `read`."""
        try:
            with self._path(name, "npz").open("rb") as file, np.load(file) as kept:
                if str(kept["key"]) != key:
                    return None
                warm_up, test = ({part: kept[f"{which}.{part}"] for part in _TRACES} for which in ("warm_up", "test"))
                return Traces.restore(warm_up), Traces.restore(test)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def write_traces(self, name: tuple[str, ...], key: str, warm_up: Traces, test: Traces) -> None:
        """Keep what the service saw, in the precision in which it keeps it itself."""
        parts = {f"warm_up.{part}": value for part, value in warm_up.snapshot().items()}
        parts |= {f"test.{part}": value for part, value in test.snapshot().items()}
        with self._replacing(self._path(name, "npz")) as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(file, key=key, **parts)

    @contextmanager
    def _replacing(self, path: Path) -> Iterator[Path]:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f"{path.suffix}.{os.getpid()}")
        yield unfinished
        unfinished.replace(path)

    def _path(self, name: tuple[str, ...], kind: str = "json") -> Path:
        *folders, last = (quote(part, safe=" :+=") for part in name)
        return self._folder.joinpath(*folders, f"{last}.{kind}")


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
    return _digest(_closure(modules))


@cache
def method_digest(module: str) -> str:
    """Digest the source of a method as `source_digest` does, but for what only makes the windows that it is given."""
    own = _closure([module], GIVEN)
    return _digest(_closure([module]) if any(name.startswith(OWN_PARTS) for name in own) else own)


def views_digest(views: Views) -> str:
    """Digest all that a method is given of a trial, in the precision in which scores are kept."""
    digest = blake2b(digest_size=16)
    for windows in (views.train, views.test):
        for array in (windows.values, windows.mean, windows.present, windows.standard, windows.mask):
            if array is not None:
                digest.update(np.ascontiguousarray(array, dtype=np.float32).tobytes())
        digest.update(repr(windows.values.shape).encode())
    return digest.hexdigest()


def _digest(files: Mapping[str, Path]) -> str:
    counting = {name: path for name, path in files.items() if name not in NOTHING_COMPUTED}
    sources = {name: blake2b(path.read_bytes()).hexdigest() for name, path in counting.items()}
    return digest_of(sorted(sources.items()), [_version(library) for library in LIBRARIES])


def _closure(modules: Iterable[str], given: frozenset[str] = frozenset()) -> dict[str, Path]:
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = None if name in found or name in given else _file(name)
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
