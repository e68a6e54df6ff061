"""``appliance run``: the service itself."""

from __future__ import annotations

import logging

import typer

from appliance.commands.common import DEFAULT_CONFIG, ConfigArgument, errors, plain
from appliance.config import load
from appliance.errors import StoreError


def run(config: ConfigArgument = DEFAULT_CONFIG) -> None:
    """Run the service in the foreground until SIGTERM or Ctrl-C.

    Example: appliance run config/appliance.toml
    """
    from appliance.service import Service  # noqa: PLC0415 - scipy takes a second; --help should not

    settings = load(config)
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s"
    )  # the journal adds the time
    try:
        service = Service(settings)
    except StoreError as error:  # not 2, after which systemd would not try again
        errors.print(f"[red]error:[/] {plain(error)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    raise typer.Exit(service.run())
