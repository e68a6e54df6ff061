"""``results.csv``: one row for each time that a method was measured on a machine; the ground of summary and report."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from appliance.errors import ResultsError

Tail = Literal["whole", "common"]

ROUNDING = 1e-9
"""An average of precisions may come out that far above one."""

Name = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1 + ROUNDING)]
Amount = Annotated[float, Meta(ge=0, le=sys.float_info.max)]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one machine; its fields are the columns of the file, in order. None: unknown."""

    dataset: Name
    machine: Name
    cluster: Name
    """Machines of one cluster are alike: they are drawn together."""
    method: Name
    k: Count
    """Labelled events that the method was given."""
    seed: Count
    draw: Count
    """Number of the support set that was drawn."""
    tail: Tail
    """What was scored: everything after the warm-up, or only what follows the last event that the largest k uses."""
    hops: Count
    events: Count
    vus_pr: Share | None = None
    auc_pr: Share | None = None
    recall_budget: Share | None = None
    """Share of the events that were alerted at a budget of one false alert a week."""
    delay_s: Amount | None = None
    """Median seconds from an event's start to its alert, over those that were alerted."""
    false_alerts: Count | None = None
    budget_alerts: Amount | None = None
    """False alerts that the budget allowed over the time in which one could open: normal, and none stood."""
    false_alerts_per_week: Amount | None = None
    """In a week of normal operation, whether one stood or not."""
    recall_day: Share | None = None
    """This and the following as above, at a budget of one false alert a day."""
    delay_day_s: Amount | None = None
    false_alerts_day: Count | None = None
    budget_alerts_day: Amount | None = None
    adapt_ms: Amount | None = None
    """CPU milliseconds to learn from the support set."""
    fit_ms: Amount | None = None
    """CPU milliseconds to fit on the warm-up."""
    score_us: Amount | None = None
    """CPU microseconds per hop."""


COLUMNS = Row.__struct_fields__


def write_results(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as CSV, None as an empty cell.

    Raises
    ------
    ResultsError
        A row holds a value that `read_results` would refuse; nothing is written then.
    """
    records = [msgspec.to_builtins(row) for row in rows]
    for number, record in enumerate(records, start=2):
        _row(path, number, record)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(records)


def read_results(path: Path) -> list[Row]:
    """Read what `write_results` wrote.

    Raises
    ------
    ResultsError
        The file is missing, has other columns, or a cell does not hold what its column means.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restkey="", restval="")
            _check_columns(path, reader.fieldnames or [])
            return [_row(path, reader.line_num, record) for record in reader]
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read: {error.strerror}; run `appliance evaluate` to write it") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ResultsError(f"{path}: is not CSV in UTF-8: {error}; name the results.csv of an evaluation") from error


def _check_columns(path: Path, found: Iterable[str]) -> None:
    columns = list(found)
    missing = ", ".join(name for name in COLUMNS if name not in columns)
    unknown = ", ".join(repr(name) for name in columns if name not in COLUMNS)
    problems = [f"{word} {names}" for word, names in (("lacks", missing), ("has unknown", unknown)) if names]
    if problems or len(columns) > len(COLUMNS):
        what = " and ".join(problems) or "repeats a column"
        raise ResultsError(f"{path}: row 1: the header {what}; write the file again with `appliance evaluate`")


def _row(path: Path, number: int, record: Mapping[str, object]) -> Row:
    if "" in record:
        raise ResultsError(f"{path}: row {number}: more cells than the header has columns; quote commas in names")
    known = {name: None if value == "" else value for name, value in record.items()}
    try:
        return msgspec.convert(known, Row, strict=False)
    except msgspec.ValidationError as error:
        what, _, column = str(error).partition(" - at `$.")
        column = column.rstrip("`")
        raise ResultsError(
            f"{path}: row {number}, column {column}: {what}, found {record[column]!r}; "
            "correct the cell, leave it empty where the figure is unknown, or run the evaluation again"
        ) from error
