"""What `appliance bench detect` measured → one picture of how the cost grows with channels and with machines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, SOFT, LINE, ACCENT = "#1f2933", "#616e7c", "#d9dee4", "#1d4ed8"
STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "font.size": 9,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "bench detect",
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}


def draw_costs(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Draw the rows of the benchmark to an SVG or PNG, by the file's ending."""
    by_channels = [row for row in rows if row["machines"] == 1]
    by_machines = [row for row in rows if row["channels"] == 10]
    with rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(9.0, 3.6), layout="constrained", dpi=150)
        left, right = figure.subplots(1, 2)
        _draw(
            left,
            {row["channels"]: row["us_per_window"] / 1e3 for row in by_channels},
            "One machine: CPU for a window",
            "channels",
        )
        _draw(
            right,
            {row["machines"]: row["machines"] * row["us_per_window"] / 1e3 for row in by_machines},
            "Machines of 10 channels: CPU for a window of each",
            "machines",
        )
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def _draw(axes: Axes, cost: dict[int, float], title: str, unit: str) -> None:
    """Draw milliseconds by number, and what they would be if twice as many cost exactly twice as much."""
    numbers = np.array(sorted(cost))
    spent = np.array([cost[number] for number in numbers.tolist()])
    axes.plot(numbers, spent[-1] * numbers / numbers[-1], color=LINE, linewidth=8, label=f"in proportion to {unit}")
    axes.plot(numbers, spent, "o-", color=ACCENT, linewidth=1.8, markersize=5, label="measured")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for number, milliseconds in zip(numbers.tolist(), spent.tolist(), strict=True):
        axes.annotate(
            f"{milliseconds:.2g} ms" if milliseconds < 10 else f"{milliseconds:,.0f} ms",
            (number, milliseconds),
            textcoords="offset points",
            xytext=(-5, 5),
            ha="right",
            color=ACCENT,
        )
    axes.margins(x=0.23, y=0.12)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.grid(which="major")
    axes.minorticks_off()
    axes.set_title(title)
    axes.set_xlabel(unit)
    axes.set_ylabel("ms of CPU")
    axes.legend(frameon=False, loc="lower right")
