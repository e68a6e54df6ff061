"""What the commands share: the configuration argument, output for scripts, words for times."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

DEFAULT_CONFIG = Path("/etc/appliance/appliance.toml")

ConfigArgument = Annotated[Path, typer.Argument(help="Configuration file.", show_default=True)]
ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="Configuration file.", show_default=True)]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for scripts.")]

console = Console()
errors = Console(stderr=True)


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


def plain(text: object) -> str:
    """Make text from outside harmless: no markup, no control characters."""
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text)))
