"""The look of the report's figures, and matplotlib's SVG → SVG that lives inside a page and follows its colours."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from appliance.records import Floats

WIDTH = 4.8
"""Inches. Narrow, so that a phone shows it almost unscaled; on a desktop two stand side by side."""
MOST_BUCKETS = 500
"""A line this wide on the page shows no more."""

INK, SOFT, LINE, ACCENT, EVENT, ALERT, GREEN, PURPLE = (f"#0{i}0{i}0{i}" for i in range(1, 9))
COLOURS = {
    INK: "ink",
    SOFT: "soft",
    LINE: "line",
    ACCENT: "accent",
    EVENT: "event",
    ALERT: "alert",
    GREEN: "good",
    PURPLE: "other",
}
"""Stand-ins that matplotlib draws with → names of the page's CSS variables, which differ between light and dark."""

LIGHT = {
    "paper": "#fff",
    "ink": "#1b1f24",
    "soft": "#56606b",
    "line": "#d5dae0",
    "accent": "#0072b2",
    "event": "#e69f00",
    "alert": "#c4510a",
    "good": "#00704f",
    "other": "#a8558a",
}
DARK = {
    "paper": "#14171a",
    "ink": "#e8ebee",
    "soft": "#a3adb7",
    "line": "#39424b",
    "accent": "#56b4e9",
    "event": "#e69f00",
    "alert": "#f0803c",
    "good": "#33c39a",
    "other": "#d997bd",
}
"""CSS variable → colour, told apart by colour-blind people too (Okabe and Ito 2008)."""

NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
"""Of an SVG file; inside a page they go without saying."""
MARGIN = 8
"""Points of paper around a drawing that stands alone."""

STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "font.size": 9,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.color": LINE,
    "ytick.labelcolor": INK,
}

styled = rc_context(STYLE)
"""Decorates functions that draw."""


def canvas(height: float) -> Figure:
    """Make a figure of the report's width, ``height`` inches high, with no background."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.patch.set_visible(False)
    return figure


def bare(axes: Axes) -> Axes:
    """Take the background away and the left side with its ticks: labels say enough."""
    axes.patch.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(left=False)
    return axes


def svg(figure: Figure, name: str, description: str) -> str:
    """Turn a figure into an SVG element without identifiers or addresses of its own.

    Parameters
    ----------
    name
        Makes the identifiers within the page unique and the same in every run.
    description
        What the figure shows, for whoever cannot see it.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context(STYLE | {"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the reader's browser has it
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' (xmlns(:xlink)?|version|width|height)="[^"]*"', "", text, count=5)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)
    text = re.sub(r'(?<= )(?:d|x|y)="[^"]*"', lambda numbers: re.sub(r"(\.\d\d)\d+", r"\1", numbers[0]), text)
    text = re.sub(r"font: ([^;\"]*?px) [^;\"]*", r"font: \1 system-ui, sans-serif", text)
    for stand_in, variable in COLOURS.items():
        text = text.replace(stand_in, f"var(--{variable})")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1)


def alone(drawing: str) -> str:
    """Turn an element made by `svg` into a file of its own, which brings its paper and its colours along.

    Without paper it could not be read on a page whose shade is not the one that the reader's system asks for.
    """
    light, dark = (f":root {{ {css_variables(palette)} }}" for palette in (LIGHT, DARK))
    style = f"<style>{light} @media (prefers-color-scheme: dark) {{ {dark} }}</style>"
    tag, rest = drawing.split(">", 1)
    width, height = (float(size) + 2 * MARGIN for size in re.findall(r"[\d.]+", tag.split("viewBox=")[1])[2:4])
    box = f'viewBox="{-MARGIN} {-MARGIN} {width:g} {height:g}" width="{width:g}pt" height="{height:g}pt"'
    tag = re.sub(r'viewBox="[^"]*"', box, tag).replace("<svg", f"<svg {NAMESPACES}", 1)
    paper = f'<rect x="{-MARGIN}" y="{-MARGIN}" width="100%" height="100%" rx="4" fill="var(--paper)"/>'
    return f"{tag}>{style}{paper}{rest}"


def css_variables(palette: Mapping[str, str]) -> str:
    """Write a palette as CSS declarations."""
    return " ".join(f"--{name}: {colour};" for name, colour in palette.items())


def apart(positions: Floats, gap: float) -> Floats:
    """Move label positions as little as needed in one pass upwards, so that none is nearer than ``gap`` to the next.

    Examples
    --------
    >>> apart(np.array([0.0, 0.2, 5.0]), 1.0)
    array([0., 1., 5.])
    """
    order = np.argsort(positions, kind="stable")
    moved = positions[order].copy()
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    result = np.empty_like(moved)
    result[order] = moved
    return result


def thinned(values: Floats) -> NDArray[np.intp]:
    """Choose the samples that a narrow figure can show: the lowest and the highest of each of `MOST_BUCKETS` stretches.

    A spike of one sample stays visible; a stretch without any known value stays a gap.
    """
    if len(values) <= 2 * MOST_BUCKETS:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), MOST_BUCKETS + 1).astype(np.intp)
    chosen: list[int] = []
    for start, end in pairwise(edges):
        stretch = values[start:end]
        if np.isnan(stretch).all():
            chosen.append(start)
        else:
            chosen += sorted({start + int(np.nanargmin(stretch)), start + int(np.nanargmax(stretch))})
    return np.array(chosen, dtype=np.intp)
