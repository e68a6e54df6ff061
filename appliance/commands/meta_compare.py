"""``appliance meta-compare``: what priors are worth with a few labels, on machines that none of them has seen."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from appliance.commands.common import JsonOption, console, errors, list_table, plain, write_json
from appliance.errors import ResultsError

if TYPE_CHECKING:
    from appliance.meta.comparison import Figure
    from appliance.meta.prior import Prior

NAMES = "NAME,..."
KS = "1,2,5,10"


def meta_compare(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Recordings, or a subfolder of them for each dataset.")],
    prior: Annotated[
        list[str],
        typer.Option(metavar="NAME=FILE", help="Repeat. Of several with one name, one that has not seen the machine."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="For all figures, as .csv. Machines in it are not redone: give other priors another."
        ),
    ],
    datasets: Annotated[str | None, typer.Option(metavar=NAMES, help="Subfolders; default: all.")] = None,
    against: Annotated[str, typer.Option(metavar="NAME", help="Differences are to this method.")] = "hand_made",
    k: Annotated[str, typer.Option(metavar="N,...", help="Labelled events to learn from.")] = KS,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare heads of priors, ridge regression on hand-made features, and the evidence without labels: VUS-PR.

    Machines are judged as in appliance evaluate: labels are the first k events, every k is measured on one common tail.
    Each head stands alone, and averaged half and half with the evidence (+mean). A prior is asked about no
    machine of a cluster that it was trained on or stopped by.

    Example: appliance meta-compare --data recordings --prior trained=prior.safetensors --out figures.csv
    """
    # Here, not above: torch takes seconds that --help should not.
    from appliance.evaluation.datasets import Skipped, find, load  # noqa: PLC0415
    from appliance.meta.comparison import compare  # noqa: PLC0415
    from appliance.meta.machines import LEAST_LENGTH  # noqa: PLC0415

    priors = _priors(prior)
    ks = _ks(k)
    figures = _read(out)
    known = {(figure.dataset, figure.machine) for figure in figures}
    entries = [each for each in find(data, _split(datasets) or None) if (each.dataset, each.path.stem) not in known]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        for entry in progress.track(entries, description="machines"):
            trial = load(entry)
            if not isinstance(trial, Skipped) and trial.length >= LEAST_LENGTH:
                figures += compare(trial, priors, ks, seed)
                _write(out, figures)
    if against not in (methods := sorted({figure.method for figure in figures})):
        known_ones = ", ".join(methods) or "none"
        raise typer.BadParameter(f"{out} has no method {against}: it has {known_ones}", param_hint="--against")
    rows = _summary(figures, against)
    if as_json:
        write_json(rows)
        return
    table = list_table()
    for heading in ("dataset", "k", "method", "n", "VUS-PR", "less", "95 %"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        interval = "" if row["low"] is None else f"{row['low']:+.3f}…{row['high']:+.3f}"
        difference = "" if row["difference"] is None else f"{row['difference']:+.3f}"
        cells = plain(row["dataset"]), row["k"], plain(row["method"]), row["machines"], f"{row['vus_pr']:.3f}"
        table.add_row(*map(str, cells), difference, interval)
    console.print(f"VUS-PR; less that of {plain(against)}, with its interval; all: the mean over datasets")
    console.print(table)


def _priors(given: Sequence[str]) -> dict[str, list[Prior]]:
    from appliance.meta.prior import read  # noqa: PLC0415

    priors: dict[str, list[Prior]] = defaultdict(list)
    for each in given:
        name, equals, file = each.partition("=")
        if not (name and equals and file):
            raise typer.BadParameter(f"{each!r}: write NAME=FILE, such as trained=prior.safetensors")
        priors[name].append(read(Path(file)))
    return dict(priors)


def _summary(figures: Sequence[Figure], against: str) -> list[dict[str, Any]]:
    """Mean over the machines of each dataset, and over datasets, with the paired difference to one method."""
    from appliance.evaluation.bootstrap import Stratum, estimate  # noqa: PLC0415

    by_key = {(f.dataset, f.machine, f.k, f.method): f for f in figures}
    everything = sorted({f.dataset for f in figures})
    rows: list[dict[str, Any]] = []
    for datasets in [*([name] for name in everything), everything]:
        for k in sorted({f.k for f in figures}):
            for method in sorted({f.method for f in figures}):
                strata, pairs = [], []
                for dataset in datasets:
                    own = [f for f in figures if (f.dataset, f.k, f.method) == (dataset, k, method)]
                    own = [f for f in own if (dataset, f.machine, k, against) in by_key or not k]
                    if not own:
                        continue
                    names, clusters = (tuple(getattr(f, part) for f in own) for part in ("machine", "cluster"))
                    values = [f.vus_pr for f in own]
                    strata.append(Stratum(dataset, names, clusters, _array(values)))
                    if k:
                        less = [
                            v - by_key[dataset, f.machine, k, against].vus_pr for v, f in zip(values, own, strict=True)
                        ]
                        pairs.append(Stratum(dataset, names, clusters, _array(less)))
                mean, difference = estimate(strata), estimate(pairs)
                if mean is not None:
                    rows.append(
                        {
                            "dataset": datasets[0] if len(datasets) == 1 else "all",
                            "k": k,
                            "method": method,
                            "machines": mean.machines,
                            "vus_pr": mean.value,
                            "difference": None if difference is None else difference.value,
                            "low": None if difference is None else difference.low,
                            "high": None if difference is None else difference.high,
                        }
                    )
    return rows


def _array(values: Sequence[float]) -> Any:
    import numpy as np  # noqa: PLC0415

    return np.array(values, dtype=np.float64)


def _read(path: Path) -> list[Figure]:
    from appliance.meta.comparison import Figure  # noqa: PLC0415

    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [msgspec.convert(row, Figure, strict=False) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error, msgspec.ValidationError) as error:
        raise ResultsError(f"{path}: is no file of figures ({error}): give --out another name") from error


def _write(path: Path, figures: Sequence[Figure]) -> None:
    from appliance.meta.comparison import Figure  # noqa: PLC0415

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(Figure.__struct_fields__)
        rows.writerows([getattr(figure, name) for name in Figure.__struct_fields__] for figure in figures)


def _ks(text: str) -> list[int]:
    if not all(number.isdecimal() and int(number) for number in _split(text)):
        raise typer.BadParameter(f"{text!r}: write numbers of events, such as {KS}", param_hint="--k")
    return sorted(map(int, _split(text)))


def _split(text: str | None) -> list[str]:
    return [part for each in (text or "").split(",") if (part := each.strip())]
