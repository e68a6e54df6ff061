"""``appliance bench encode``: what a prior's encoder costs in the service, as it is and in eight bits."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from appliance.commands.bench_detect import hum
from appliance.commands.common import JsonOption, console, write_json

if TYPE_CHECKING:
    from appliance.detect.encoder import Network
    from appliance.detect.planes import Planes
    from appliance.meta.machines import Machine

CHANNELS, HOP = 10, 16
CELLS = 12_000
"""Readings of a machine that hums, half of them to calibrate by."""
TIMED_SECS = 1.0
CALIBRATED = 64
"""Warm-up windows of each machine."""
NAMES = "NAME,..."


def encode(
    prior: Annotated[Path, typer.Option(metavar="FILE", help="As appliance meta-train writes it.")],
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Recordings: calibrate on their warm-ups, judge their episodes.")
    ] = None,
    datasets: Annotated[str | None, typer.Option(metavar=NAMES, help="Subfolders; default: all.")] = None,
    most: Annotated[int, typer.Option(min=1, help="Machines of each dataset, at most.")] = 4,
    episodes: Annotated[int, typer.Option(min=1)] = 100,
    length: Annotated[int, typer.Option(min=16, max=256, help="Cells in a window.")] = 64,
    as_json: JsonOption = False,
) -> None:
    """Measure size, CPU and loss of accuracy of the float network and of one in eight bits.

    CPU is per window of ten channels, on one thread, one window at a time as the service has it and in a batch. The
    rounding is the root mean square difference of embeddings in spreads of the warm-up. With DIR the average precision
    is that of the query of few-shot episodes, half real, on machines that the prior has not seen.

    Example: appliance bench encode --prior prior.safetensors --data recordings
    """
    # Here, not above: torch and ONNX Runtime take seconds that --help should not.
    from appliance.detect.encoder import Embedding, Network  # noqa: PLC0415
    from appliance.detect.normalise import Normaliser  # noqa: PLC0415
    from appliance.detect.planes import Planes, PlaneScale  # noqa: PLC0415
    from appliance.detect.windows import cut  # noqa: PLC0415
    from appliance.meta.comparison import precision_of  # noqa: PLC0415
    from appliance.meta.episodes import Episodes  # noqa: PLC0415
    from appliance.meta.export import exported, quantised  # noqa: PLC0415
    from appliance.meta.prior import read  # noqa: PLC0415

    trained = read(prior)
    if trained.model.encoder is None:
        raise typer.BadParameter(f"{prior} has no encoder: train one without --no-encoder")
    machines = [] if data is None else _machines(data, datasets, most, trained.seen)
    drawn = [Episodes(machines, seed=0)[number] for number in range(episodes)] if machines else []
    series = hum(CELLS, CHANNELS)
    windows = Normaliser(series, rate=0.0).apply(cut(series, length, HOP))
    half = len(windows) // 2
    warm_up, later = windows[slice(half)], windows[slice(half, None)]
    planes = PlaneScale(warm_up, seed=0).of(windows)
    calibration = [Planes(planes.cells[:CALIBRATED], planes.mask[:CALIBRATED])]
    calibration += [machine.scale.of(machine.cut(_spread(machine))) for machine in machines]
    model = exported(trained.model.encoder)
    rows = []
    embeddings = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for name, made in progress.track(
            {"float": model, "int8": quantised(model, calibration)}.items(), description="measuring"
        ):
            network = Network(made)
            embeddings.append(Embedding(network, warm_up, seed=0).of(later))
            one = Planes(planes.cells[:1], planes.mask[:1])
            rows.append(
                {
                    "network": name,
                    "bytes": len(made),
                    "us_per_window": round(1e6 * _cpu(network, one), 1),
                    "us_per_window_in_a_batch": round(1e6 * _cpu(network, planes) / len(planes.mask), 1),
                    "rounding": round(float(np.sqrt(np.square(embeddings[-1] - embeddings[0]).mean())), 4),
                    "average_precision": precision_of(trained.model, network, drawn) if drawn else None,
                }
            )
    if as_json:
        write_json(rows)
        return
    table = Table("network", "bytes", "µs a window", "in a batch", "rounding", "average precision")
    for row in rows:
        area = row["average_precision"]
        table.add_row(
            str(row["network"]),
            f"{row['bytes']:,}",
            f"{row['us_per_window']:,}",
            f"{row['us_per_window_in_a_batch']:,}",
            f"{row['rounding']}",
            "—" if area is None else f"{area:.4f}",
        )
    console.print(table)


def _machines(data: Path, datasets: str | None, most: int, seen: frozenset[str]) -> list[Machine]:
    from appliance.meta.machines import machines, permitted  # noqa: PLC0415

    names = None if datasets is None else [part for each in datasets.split(",") if (part := each.strip())]
    found = [machine for machine in machines(permitted(data, names, most, 0), 0) if machine.cluster not in seen]
    if not found:
        raise typer.BadParameter(f"{data} has no machine that the prior has not seen: name other --datasets")
    return found


def _spread(machine: Machine) -> Any:
    """Places of warm-up windows, evenly chosen."""
    places = np.flatnonzero(machine.is_warm_up)
    return places[:: max(1, len(places) // CALIBRATED)][:CALIBRATED]


def _cpu(network: Network, planes: Planes) -> float:
    """CPU seconds of one call."""
    network.encode(planes)  # the first call allocates
    began, calls = time.process_time(), 0
    while (spent := time.process_time() - began) < TIMED_SECS:
        network.encode(planes)
        calls += 1
    return spent / calls
