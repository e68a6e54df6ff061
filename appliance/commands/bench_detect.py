"""``appliance bench detect``: what it costs to fit a machine, to judge its windows, and to keep what was learned."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from appliance.commands.common import JsonOption, console, write_json
from appliance.records import Floats

LENGTH, HOP = 64, 16
WARM_UP_WINDOWS = 2000
MOST_READINGS = 50_000_000
"""A wider machine has a shorter warm-up: 400 MB of it."""
JUDGED_SECS = 1.0
"""CPU for which each row is timed, in whole turns of the slowest scale."""
MOST_COPIES = 1000
SVG, PNG = ".svg", ".png"


def detect(
    machines: Annotated[str, typer.Option(metavar="N,...", help="Machines of ten channels.")] = "1,10,100,1000",
    channels: Annotated[
        str, typer.Option(metavar="N,...", help="Channels of a single machine.")
    ] = "1,10,100,1000,10000",
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the cost to an .svg or .png, too (extra: evaluate).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure CPU per window, the fit of a warm-up and bytes of state, by number of machines and of channels.

    Machines hum at one reading a second, in windows of 64 every 16. Each has a copy of its own of what was learned, so
    that memory and caches are used as in the service, and judges one window after the other, with its past. "Of a
    core" is what 10,000 channels would take. Of more than 1,500 channels the warm-up is shorter, to fit in memory.

    Example: appliance bench detect --machines 1,100 --channels 10
    """
    if plot is not None and plot.suffix not in {SVG, PNG}:
        raise typer.BadParameter(f"{plot} is neither {SVG} nor {PNG}: give --plot one of them")
    wanted = [(count, 10) for count in _numbers(machines)] + [(1, width) for width in _numbers(channels)]
    rows = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for count, width in progress.track(wanted, description="measuring"):
            rows.append(_measure(min(count, MOST_COPIES), width))
    if plot is not None:
        # Here, not above: matplotlib is an extra.
        from appliance.commands.bench_plot import draw_costs  # noqa: PLC0415

        draw_costs(rows, plot)
    if as_json:
        write_json(rows)
        return
    table = Table(
        "machines", "channels each", "fit s", "µs a window", "channels/s of a core", "10,000 at 1 Hz", "KB/channel"
    )
    for row in rows:
        table.add_row(
            f"{row['machines']:,}",
            f"{row['channels']:,}",
            f"{row['fit_cpu_secs']:.2f}",
            f"{row['us_per_window']:.0f}",
            f"{row['channels_per_sec_per_core']:,.0f}",
            f"{row['share_of_core_for_10k_channels']:.1%} of a core",
            f"{row['state_kb_per_channel']:.1f}",
        )
    console.print(table)


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise typer.BadParameter(f"{text!r} is no list of numbers from 1 up: write 1,10,100")
    return numbers


def _measure(machines: int, channels: int) -> dict[str, Any]:
    # Here, not above: scipy takes a second that --help should not.
    from appliance.detect.detector import Detector, DetectorOptions  # noqa: PLC0415
    from appliance.detect.fitting import fit  # noqa: PLC0415
    from appliance.detect.scales import LONGEST, SCALES, Past, hops_held  # noqa: PLC0415

    cells = min(WARM_UP_WINDOWS * HOP + LENGTH, MOST_READINGS // channels)
    series = hum(cells, channels)
    began = time.process_time()
    fitted, _ = fit(series, length=LENGTH, hop=HOP, seed=1, options=DetectorOptions())
    fit_secs = time.process_time() - began
    model, live = fitted.snapshot()
    copies = [Detector.restore(model, live) for _ in range(machines)]
    pasts = [Past(LENGTH, HOP) for _ in range(machines)]
    for start in range(0, LONGEST * LENGTH, HOP):
        settled = series[:, start : start + HOP].astype(np.float32)
        for past in pasts:
            past.extend(settled)
    turn = hops_held(SCALES[-1], LENGTH, HOP)
    cost, judged, at = 0.0, -turn * machines, LONGEST * LENGTH
    while cost < JUDGED_SECS or judged <= 0 or judged % (turn * machines):
        window = series[:, at : at + LENGTH].copy()
        began = time.process_time()
        for detector, past in zip(copies, pasts, strict=True):
            detector.score(window, past)
            past.extend(window[:, :HOP].astype(np.float32))
        cost = cost + time.process_time() - began if judged >= 0 else 0.0  # the first turn is not counted
        judged += machines
        at = at + HOP if at + HOP + LENGTH <= cells else 0
    per_window = cost / judged
    return {
        "machines": machines,
        "channels": channels,
        "fit_cpu_secs": round(fit_secs, 3),
        "us_per_window": round(per_window * 1e6, 1),
        "channels_per_sec_per_core": round(channels / per_window),
        "share_of_core_for_10k_channels": round(10_000 / channels / HOP * per_window, 4),
        "state_kb_per_channel": round((_bytes(model) + _bytes(live) + pasts[0].cells.nbytes) / channels / 1024, 1),
    }


def hum(cells: int, channels: int) -> Floats:
    """Sines of many periods with noise, [channel, cell]."""
    rng = np.random.default_rng(1)
    periods = 20.0 * (1.0 + np.arange(channels) % 17)
    noisy: Floats = rng.normal(size=(channels, cells))
    for row, period in enumerate(periods.tolist()):  # not at once: of ten thousand they take a gigabyte
        noisy[row] += 20.0 + 5.0 * np.sin(2 * np.pi * np.arange(cells) / period)
    return noisy


def _bytes(state: dict[str, Any]) -> int:
    return sum(_bytes(part) if isinstance(part, dict) else np.asarray(part).nbytes for part in state.values())
