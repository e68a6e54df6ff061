"""The ``appliance`` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.markup import escape

from appliance import __version__
from appliance.commands import (
    ask,
    bench,
    bundle,
    check,
    compare,
    demo,
    evaluate,
    inspect,
    label,
    meta_compare,
    meta_train,
    replay,
    run,
    simulate,
)
from appliance.commands.common import errors
from appliance.errors import ApplianceError

app = typer.Typer(
    name="appliance",
    help="Anomaly detection for machines over MQTT, on the box.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    run.run,
    check.check,
    inspect.status,
    inspect.machines,
    inspect.alerts,
    inspect.quarantine,
    ask.ask,
    label.label,
    label.labels,
    label.adapt,
    label.rollback,
    demo.demo,
    replay.replay,
    compare.compare,
    evaluate.evaluate,
    meta_train.meta_train,
    meta_compare.meta_compare,
    simulate.simulate,
):
    app.command()(command)

app.add_typer(bench.bench, name="bench")
app.add_typer(bundle.bundle, name="bundle")


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    """Anomaly detection for machines over MQTT, on the box."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run a command. Exit status: 0 fine, 1 a finding, 2 wrong usage or configuration."""
    try:
        app()
    except ApplianceError as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
