"""``appliance check``: validate the configuration, then try everything it names."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import NamedTuple

import typer

from appliance.commands.common import (
    DEFAULT_CONFIG,
    SOFTWARES_OWN,
    ConfigArgument,
    JsonOption,
    console,
    plain,
    write_json,
)
from appliance.config import Settings, load
from appliance.errors import AdaptationError, BundleError, ConfigError, Refused, Rejected, Retry, SinkError
from appliance.notify.base import NotifierOptions


class Finding(NamedTuple):
    """How one part answered."""

    part: str
    works: bool
    detail: str


def check(config: ConfigArgument = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Validate the configuration, then try what makes heads of labels, the broker, InfluxDB and every notifier.

    Exit 0: all work. 1: a part cannot be reached or refuses us. 2: the configuration is invalid.

    Example: appliance check config/appliance.toml
    """
    settings = load(config)
    findings = [Finding("configuration", True, f"{config}: {len(settings.source)} source(s)"), *_tried(settings)]
    if as_json:
        write_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            console.print(f"{'[green]✓[/]' if finding.works else '[red]✗[/]'} {finding.part}: {plain(finding.detail)}")
    raise typer.Exit(0 if all(finding.works for finding in findings) else 1)


def _tried(settings: Settings) -> list[Finding]:
    # Here, not above: these bring scipy, which takes a second that --help should not.
    from appliance import assembly  # noqa: PLC0415
    from appliance.ingest.probe import Probe  # noqa: PLC0415
    from appliance.notify import build_notifier  # noqa: PLC0415
    from appliance.store.influx import InfluxSink  # noqa: PLC0415

    folder = settings.storage.data_dir
    findings = [_try(f"storage {folder}", lambda: _writable(settings))]
    findings.append(_try("bundle", lambda: _bundle(settings)))
    findings.append(_try("adaptation", lambda: _adapts(settings)))
    probe = Probe(assembly.broker_options(settings), assembly.filters(settings), settings.mqtt.prefix)
    findings.append(_try(f"broker {settings.mqtt.host}:{settings.mqtt.port}", probe.run))
    options = assembly.influx_options(settings)
    if options is not None:

        def influx() -> str:
            with closing(InfluxSink(options)) as sink:
                return sink.probe()

        findings.append(_try(f"influxdb {options.url}", influx))

    def notify(entry: NotifierOptions) -> str:
        return build_notifier(entry, probe.publish).probe()

    for position, entry in enumerate(settings.notify, start=1):
        findings.append(_try(f"notify {position} ({entry.type})", partial(notify, entry)))
    return findings


def _try(part: str, attempt: Callable[[], str]) -> Finding:
    try:
        return Finding(part, True, attempt())
    except (AdaptationError, BundleError, ConfigError, SinkError, OSError) as error:
        kind = {Retry: "cannot be reached", Refused: "refuses us", Rejected: "refuses what we send"}.get(type(error))
        return Finding(part, False, f"{kind}: {error}" if kind else str(error))


def _bundle(settings: Settings) -> str:
    from appliance import assembly  # noqa: PLC0415

    bundle = assembly.in_service(settings)
    return f"{bundle} is in service" if bundle.signed_by else f"{SOFTWARES_OWN} is in service, {bundle}"


def _adapts(settings: Settings) -> str:
    """Make sure that labels can become heads: what descends does so once, as it would in service."""
    from appliance import assembly  # noqa: PLC0415
    from appliance.adapt.adapters.descending import Descending  # noqa: PLC0415

    method = settings.adaptation.method
    bundle = assembly.in_service(settings)
    adapter = assembly.adapter(settings, bundle.tensors)
    if not isinstance(adapter, Descending):
        return method
    began = time.monotonic()
    adapter.try_out()
    return f"{method} from {bundle}, {time.monotonic() - began:.1f} s for a trial"


def _writable(settings: Settings) -> str:
    folder = settings.storage.data_dir
    folder.mkdir(parents=True, exist_ok=True)
    trial = folder / ".check"
    trial.write_bytes(b"")
    trial.unlink()
    return "can be written"
