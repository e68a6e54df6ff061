"""Recordings of machines, read from and written to files: the way in for replay, evaluation and training.

An ``.npz`` holds ``values`` [T, C], ``timestamps`` [T] in Unix seconds, ``channels`` [C] and, where known,
``labels`` [T], ``train_end`` and ``meta`` (JSON). A ``.csv`` or ``.parquet`` holds a time column, numeric columns and,
where known, ``label``.
"""

from __future__ import annotations

import csv
import json
import math
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.errors import RecordingError
from appliance.records import Floats

TIME_COLUMNS = ("time", "timestamp", "timestamps", "datetime", "date", "ts")
LABEL_COLUMNS = ("label", "labels")
ARRAYS = frozenset({"values", "timestamps", "channels", "labels", "train_end", "rate_hz", "meta"})
"""The arrays of an ``.npz`` that have a meaning of their own."""
EPOCH_UNIT_LIMITS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (math.inf, 1e9))
"""Epoch numbers below each limit are in s, ms, µs, ns: in seconds 1e11 is the year 5138, in milliseconds 1973."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What one machine's sensors measured.

    Raises
    ------
    RecordingError
        If the shapes do not belong together.
    """

    machine: str
    channels: tuple[str, ...]
    times: Floats
    """[T] Unix seconds; some recordings only know seconds since their start."""
    values: Floats
    """[T, C] in the machine's own units."""
    labels: NDArray[np.uint8] | None = None
    """[T] 1 inside a fault; None where nobody has said."""
    train_end: int = 0
    """That many leading samples are declared normal; 0 where nobody has said."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Source, licence, ``events`` as [start, end) sample numbers, and for simulated machines ``truth``."""
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Further arrays [T] of an ``.npz``: which session a sample belongs to (``instance_id``, ``day_id``) and so on."""

    def __post_init__(self) -> None:
        if self.values.ndim == 3:
            raise RecordingError(
                "holds bursts (values [N, L, C]), not samples (values [T, C]): turn each burst into features first"
            )
        if self.values.ndim != 2:
            raise RecordingError(f"values must be [T, C], but have {self.values.ndim} dimension(s)")
        samples, width = self.values.shape
        if len(self.channels) != width:
            raise RecordingError(f"{len(self.channels)} channel names for {width} columns of values: name each column")
        if len(set(self.channels)) != width:
            raise RecordingError("two channels have the same name: rename one")
        if self.times.shape != (samples,):
            raise RecordingError(f"timestamps have shape {self.times.shape} for {samples} samples: give one per sample")
        if samples == 0 or width == 0:
            raise RecordingError("holds no readings")
        if not np.isfinite(self.times).all():
            raise RecordingError("a timestamp is missing: remove the rows without one")
        if self.labels is not None and self.labels.shape != (samples,):
            raise RecordingError(f"labels have shape {self.labels.shape} for {samples} samples: give one per sample")
        if not 0 <= self.train_end <= samples:
            raise RecordingError(f"train_end is {self.train_end}, outside the recording's {samples} samples")

    @property
    def period_secs(self) -> float:
        """The usual time between two samples."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0

    def rebased(self, start: float) -> Recording:
        """Return the same recording, shifted so that its first sample lies at ``start`` (Unix seconds)."""
        return replace(self, times=self.times - self.times[0] + start)


def read_recording(path: Path) -> Recording:
    """Read an ``.npz``, ``.csv`` or ``.parquet`` file.

    Raises
    ------
    RecordingError
        Naming the file, what is wrong with it, and what to do.
    """
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise RecordingError(f"{path}: unknown kind of file: give one of {', '.join(READERS)}")
    try:
        return read(path)
    except RecordingError as error:
        raise RecordingError(f"{path}: {error}") from error
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror or error}") from error


def write_recording(recording: Recording, path: Path) -> None:
    """Write an ``.npz`` that `read_recording` gives back equal, NaN included.

    Raises
    ------
    RecordingError
        If the file cannot be written.
    """
    arrays: dict[str, Any] = {
        "values": recording.values,
        "timestamps": recording.times,
        "channels": np.array(recording.channels),
        "train_end": np.int64(recording.train_end),
        "rate_hz": 1 / recording.period_secs if recording.period_secs > 0 else np.nan,
        "meta": np.array(json.dumps({"machine": recording.machine, **recording.meta})),
    }
    if recording.labels is not None:
        arrays["labels"] = recording.labels
    try:
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be written: {error.strerror or error}") from error


def _read_npz(path: Path) -> Recording:
    try:
        # Opened here: given a path, numpy leaves the file open where the archive is torn.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, TypeError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordingError(f"not a readable npz archive of plain arrays ({error}): write it again") from error
    if missing := [name for name in ("values", "timestamps", "channels") if name not in arrays]:
        raise RecordingError(f"has no array {', '.join(missing)}: add it")
    try:
        meta = json.loads(str(arrays["meta"])) if "meta" in arrays else {}
        values = arrays["values"].astype(np.float64)
        times = arrays["timestamps"].astype(np.float64)
        labels = arrays["labels"].astype(np.uint8) if "labels" in arrays else None
        train_end = int(arrays.get("train_end", np.int64(0)))
    except (ValueError, TypeError) as error:
        raise RecordingError(f"an array holds something else than it should ({error}): write it again") from error
    if not isinstance(meta, dict):
        raise RecordingError("meta is not a JSON object: make it one")
    machine = str(meta.get("machine", path.stem))
    channels = tuple(str(name) for name in np.atleast_1d(arrays["channels"]))
    columns = {name: array for name, array in arrays.items() if name not in ARRAYS and array.shape == times.shape}
    return Recording(machine, channels, times, values, labels, train_end, meta, columns)


def _read_csv(path: Path) -> Recording:
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordingError(f"not UTF-8 text ({error.reason}): save it as UTF-8") from error
    header, _, _ = text.partition("\n")
    delimiter = max(",;\t", key=header.count)
    rows = [row for row in csv.reader(text.splitlines(), delimiter=delimiter) if row]
    if not rows:
        raise RecordingError("is empty")
    names = [name.strip() for name in rows[0]]
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise RecordingError(f"row {number} has {len(row)} fields where the header has {len(names)}: mend the row")
    columns = dict(zip(names, zip(*rows[1:], strict=True), strict=True)) if len(rows) > 1 else {}
    return _from_columns(path, names, lambda name: columns.get(name, ()))


def _read_parquet(path: Path) -> Recording:
    try:
        import pyarrow  # noqa: PLC0415 - an extra, and slow to load
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise RecordingError("reading Parquet needs pyarrow: install appliance[parquet]") from error
    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise RecordingError(f"not a readable Parquet file ({error}): write it again") from error
    return _from_columns(path, table.column_names, lambda name: table.column(name).to_pylist())


def _from_columns(path: Path, names: list[str], column: Callable[[str], Iterable[object]]) -> Recording:
    if len(set(names)) != len(names):
        raise RecordingError("two columns have the same name: rename one")
    time_column = next((name for name in names if name.lower() in TIME_COLUMNS), None)
    if time_column is None:
        raise RecordingError(f"has no time column: name one of {', '.join(TIME_COLUMNS)}")
    label_column = next((name for name in names if name.lower() in LABEL_COLUMNS), None)
    channels = tuple(name for name in names if name not in {time_column, label_column})
    if not channels:
        raise RecordingError("has no column beside the time: add the readings")
    times = np.array([_time(cell, row) for row, cell in enumerate(column(time_column), start=2)], dtype=np.float64)
    values = np.column_stack([_numbers(name, column(name)) for name in channels])
    labels = None if label_column is None else (_numbers(label_column, column(label_column)) > 0).astype(np.uint8)
    return Recording(path.stem, channels, times, values, labels)


def _time(cell: object, row: int) -> float:
    try:
        return parse_time(cell)
    except ValueError as error:
        raise RecordingError(f"row {row}: {error}") from None


def parse_time(cell: object) -> float:
    """Return Unix seconds of an epoch number, an ISO 8601 text or a timestamp; without a zone it is UTC.

    Raises
    ------
    ValueError
        It is none of these.
    """
    try:
        moment = cell if isinstance(cell, datetime) else datetime.fromisoformat(str(cell).strip())
    except ValueError:
        try:
            epoch = float(str(cell))
        except ValueError:
            raise ValueError(f"{cell!r} is no time: write ISO 8601 or Unix seconds") from None
        return epoch / next((unit for limit, unit in EPOCH_UNIT_LIMITS if abs(epoch) < limit), 1.0)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _numbers(name: str, cells: Iterable[object]) -> Floats:
    numbers: list[float] = []
    for row, cell in enumerate(cells, start=2):
        try:
            missing = cell is None or (isinstance(cell, str) and not cell.strip())
            numbers.append(math.nan if missing else float(cell))  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise RecordingError(f"column {name}, row {row}: {cell!r} is no number: leave the column out") from None
    return np.array(numbers, dtype=np.float64)


READERS: Mapping[str, Callable[[Path], Recording]] = {
    ".npz": _read_npz,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
