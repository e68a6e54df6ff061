"""What the commands share: the configuration argument, output for scripts, words for times."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

DEFAULT_CONFIG = Path("/etc/appliance/appliance.toml")
SOFTWARES_OWN = "what comes with the software"
"""Said of the prior where no bundle is in service."""

ConfigArgument = Annotated[Path, typer.Argument(help="Configuration file.", show_default=True)]
ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="Configuration file.", show_default=True)]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for scripts.")]

console = Console(emoji=False)  # a machine may be called line:fire:2
errors = Console(stderr=True, emoji=False)


def write_json(value: Any) -> None:
    """Write one JSON document to standard output."""
    json.dump(value, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def clock(time: float | None) -> str:
    """Write a time for a person, in UTC as everywhere in the appliance.

    Examples
    --------
    >>> clock(0.0), clock(None)
    ('1970-01-01 00:00:00', '—')
    """
    return "—" if time is None else f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S}"


def short_clock(time: float | None) -> str:
    """Write a time for a narrow column: without year and seconds.

    Examples
    --------
    >>> short_clock(0.0), short_clock(None)
    ('01-01 00:00', '—')
    """
    return clock(time)[5:16] or "—"


def duration(secs: float) -> str:
    """Write a duration the short way.

    Examples
    --------
    >>> duration(90), duration(5400), duration(200_000)
    ('2 min', '1.5 h', '2.3 d')
    """
    if secs < 3600:
        return f"{secs / 60:.0f} min"
    return f"{secs / 3600:.1f} h" if secs < 86_400 else f"{secs / 86_400:.1f} d"


def list_table() -> Table:
    """Make a table for a list: no frame, so that it also fits and can be copied on 80 columns."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


def plain(text: object) -> str:
    """Make text from outside harmless: no markup, no control characters."""
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text)))
