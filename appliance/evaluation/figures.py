"""Summary and rows → the report's figures, each a function to one SVG element."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from appliance.evaluation.alerting import RATIO_RANGE, Budget, counted, poisson_range
from appliance.evaluation.bootstrap import Estimate, Stratum
from appliance.evaluation.drawing import (
    ACCENT,
    ALERT,
    EVENT,
    GREEN,
    INK,
    LINE,
    PURPLE,
    SOFT,
    apart,
    bare,
    canvas,
    styled,
    svg,
    thinned,
)
from appliance.evaluation.examples import Example
from appliance.evaluation.results import Row
from appliance.evaluation.summary import Cell
from appliance.records import Floats

ROW_INCHES = 0.2
COUNT_TICKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
MOST_LETTERS = 24
"""Of a machine's name beside a dot: a longer one would reach into the next panel."""
LEAST_GAP = 0.07
"""Of an axis between two ticks."""
_BESIDE = 0.09
"""Between the marks of two methods at the same number of labels, which would hide each other."""
OTHERS = ((SOFT, "s"), (GREEN, "^"), (PURPLE, "v"), (ALERT, "D"), (EVENT, "P"), (INK, "X"))
"""Colour and marker of each method beside the reference."""


@styled
def forest(cells: Sequence[Cell], reference: str, random: Estimate | None) -> str:
    """Draw VUS-PR of methods with intervals, the best on top; a random score as a dotted line."""
    ranked = sorted(cells, key=lambda cell: cell.figures["vus_pr"].value)
    figure = canvas(0.75 + ROW_INCHES * len(ranked))
    axes = bare(figure.add_subplot())
    for place, cell in enumerate(ranked):
        found, is_ours = cell.figures["vus_pr"], cell.method == reference
        colour = ACCENT if is_ours else SOFT
        _bar(axes.hlines, found, place, colour, width=2.4 if is_ours else 1.2)
        axes.plot(found.value, place, "o", color=colour, markersize=7 if is_ours else 4.5, clip_on=False)
    axes.set_yticks(range(len(ranked)), [cell.method for cell in ranked])
    for label, cell in zip(axes.get_yticklabels(), ranked, strict=True):
        if cell.method == reference:
            label.set(color=ACCENT, weight="bold")
    axes.set_ylim(-0.7, len(ranked) - 0.3)
    axes.set_xlim(left=0.0)
    axes.grid(axis="x")
    axes.set_xlabel("VUS-PR (1 is perfect)")
    if random is not None:
        axes.axvline(random.value, color=INK, linestyle=":", linewidth=1.2)
        axes.text(random.value, 1.0, "random ", ha="right", va="top", size=8, transform=axes.get_xaxis_transform())
    return svg(figure, f"forest {cells[0].dataset}", f"VUS-PR by method on {cells[0].dataset}")


@styled
def deltas(panels: Sequence[tuple[str, Stratum]]) -> str:
    """Differences machine by machine, sorted, one panel for each method that is compared with."""
    figure = canvas(2.5)
    dataset = panels[0][1].dataset
    several = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (name, stratum) in zip(several, panels, strict=True):
        axes.patch.set_visible(False)
        order = np.argsort(stratum.values, kind="stable")
        values = stratum.values[order]
        places = np.arange(1, len(values) + 1)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.vlines(places, 0, values, color=LINE, linewidth=0.8)
        axes.scatter(places, values, s=14, color=[ACCENT if value > 0 else ALERT for value in values], zorder=3)
        axes.set_title(f"− {name}\nbetter on {int((values > 0).sum())} of {len(values)}")
        axes.set_xlabel("machines, sorted")
        axes.set_xlim(0.3, len(values) + 0.7)
        axes.set_xticks([])
        axes.grid(axis="y")
        worst = _short(stratum.machines[order[0]])
        axes.annotate(worst, (1, values[0]), (5, -3), textcoords="offset points", size=8, va="top")
        axes.margins(y=0.12)
    several[0].set_ylabel("difference in VUS-PR")
    return svg(figure, f"deltas {dataset}", f"Differences in VUS-PR by machine on {dataset}")


@styled
def k_curves(cells: Sequence[Cell], reference: str) -> str:
    """Gain over the own k = 0 against the number of labelled events, a line for each method that learns."""
    figure = canvas(2.6)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    methods = sorted({cell.method for cell in cells}, key=lambda name: (name == reference, name))
    ks = sorted({0, *(cell.k for cell in cells)})
    ends = []
    for number, method in enumerate(methods):
        gains = {cell.k: cell.gain for cell in cells if cell.method == method and cell.gain is not None}
        is_ours = method == reference
        colour, marker = (ACCENT, "o") if is_ours else OTHERS[number % len(OTHERS)]
        shift = _BESIDE * (number - (len(methods) - 1) / 2)
        places = np.array([0.0, *(ks.index(k) + shift for k in sorted(gains))])
        values = np.array([0.0, *(gains[k].value for k in sorted(gains))])
        width, size = (2.0, 5.0) if is_ours else (1.0, 4.0)
        axes.plot(places, values, color=colour, marker=marker, linewidth=width, markersize=size)
        for place, k in zip(places[1:], sorted(gains), strict=True):
            _bar(axes.vlines, gains[k], place, colour, width)
        ends.append((method, colour, values[-1]))
    axes.axhline(0, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(ks)), [str(k) for k in ks])
    axes.set_xlabel("labelled events k")
    axes.set_ylabel("gain in VUS-PR over k = 0")
    axes.grid(axis="y")
    low, high = axes.get_ylim()
    heights = apart(np.array([end for _, _, end in ends]), 0.08 * (high - low))
    for (method, colour, _), height in zip(ends, heights, strict=True):
        axes.text(len(ks) - 1 + _BESIDE * (len(methods) / 2 + 1), height, method, color=colour, va="center", size=8.5)
    return svg(figure, f"curves {cells[0].dataset}", f"Gain in VUS-PR with labels on {cells[0].dataset}")


@styled
def kept_budget(rows: Iterable[Row], budget: Budget) -> str:
    """Draw each machine's false alerts against those budgeted, with the band that chance alone explains."""
    points = np.array([found for row in rows if (found := counted(row, budget)) is not None], dtype=float)
    counts, budgeted = points.T
    figure = canvas(3.2)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    grid = np.linspace(0, 1.15 * budgeted.max(), 600)[1:]
    low, high = poisson_range(grid)
    axes.fill_between(grid, low, high, color=ACCENT, alpha=0.16, linewidth=0)
    axes.plot(grid, grid, color=INK, linewidth=0.8)
    for factor in RATIO_RANGE:
        axes.plot(grid, factor * grid, color=SOFT, linewidth=0.8, linestyle="--")
    axes.scatter(budgeted, counts, s=16, color=ACCENT, alpha=0.7, linewidth=0, clip_on=False, zorder=3)
    most = 1.1 * max(1.0, high.max(), counts.max())
    axes.set_xscale("function", functions=_ROOT)
    axes.set_yscale("function", functions=_ROOT)
    axes.set_xticks(_spaced(grid[-1]))
    axes.set_yticks(_spaced(most))
    axes.set_xlim(0, grid[-1])
    axes.set_ylim(0, most)
    axes.grid()
    axes.set_xlabel(f"false alerts budgeted (one a {budget})")
    axes.set_ylabel("false alerts raised")
    return svg(figure, f"budget {budget}", f"False alerts raised against budgeted at one a {budget}")


@styled
def example_figure(example: Example, number: int) -> str:
    """Score against threshold above the signals, events shaded, alerts as bars on top."""
    count = 1 + len(example.signals)
    figure = canvas(1.5 + 0.85 * (count - 1))
    several = figure.subplots(count, 1, sharex=True, squeeze=False, height_ratios=[1.5, *[1.0] * (count - 1)])[:, 0]
    for axes in several:
        axes.patch.set_visible(False)
        for start, end in example.events:
            axes.axvspan(start, end, facecolor=EVENT, edgecolor=EVENT, alpha=0.35, linewidth=1)
        axes.yaxis.set_major_locator(MaxNLocator(3))
    shown = thinned(example.score)
    top = several[0]
    top.plot(example.times[shown], example.score[shown], color=ACCENT, linewidth=0.9)
    top.plot(example.times[shown], example.threshold[shown], color=INK, linewidth=1, linestyle="--")
    top.set_title("score", pad=8)
    for opened, closed in example.alerts:
        top.plot(
            [opened, closed], [1.04, 1.04], color=ALERT, linewidth=4, clip_on=False, transform=top.get_xaxis_transform()
        )
    for axes, (channel, values) in zip(several[1:], example.signals.items(), strict=True):
        kept = thinned(values)
        axes.plot(example.times[kept], values[kept], color=SOFT, linewidth=0.8)
        axes.set_title(channel)
    several[-1].set_xlabel("time (hours)")
    several[-1].set_xlim(example.times[0], example.times[-1])
    what = f"Score and signals of {example.dataset} {example.machine}"
    return svg(figure, f"example {number}", what)


def _short(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"


def _root(values: Floats) -> Floats:
    """Scale counts so that chance spreads them alike at every height; negative values occur only as margins."""
    return np.sign(values) * np.sqrt(np.abs(values))


def _square(values: Floats) -> Floats:
    return np.sign(values) * values**2


_ROOT = (_root, _square)


def _spaced(most: float) -> list[int]:
    """Ticks for counts, the largest first kept, none nearer than `LEAST_GAP` to the next."""
    kept: list[int] = []
    for tick in reversed([tick for tick in COUNT_TICKS if tick <= most]):
        if not kept or np.sqrt(kept[-1] / most) - np.sqrt(tick / most) >= LEAST_GAP:
            kept.append(tick)
    return kept


def _bar(lines: Callable[..., object], found: Estimate, place: float, colour: str, width: float) -> None:
    if found.low is not None and found.high is not None:
        lines(place, found.low, found.high, color=colour, linewidth=width)
