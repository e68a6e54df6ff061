"""Build the parts from the settings: the one place that knows both."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from appliance.adapt.adapters import ADAPTERS, DEFAULT
from appliance.adapt.adapters.base import Adapter
from appliance.adapt.adapters.descending import METHODS, SIZED_BY, Descending, shapes
from appliance.adapt.prior import Prior
from appliance.archive import Archive
from appliance.bundle.expected import ADAPTER, Expected, Family, Spec
from appliance.bundle.reading import Bundle, read_shipped
from appliance.bundle.shelf import Shelf
from appliance.config import Settings, SourceSettings
from appliance.courier import Courier
from appliance.credentials import secret
from appliance.detect.detector import DetectorOptions
from appliance.errors import BundleError, ConfigError
from appliance.incidents import AlertRules
from appliance.ingest.broker import BrokerOptions, Tls
from appliance.ingest.codecs import build_codec
from appliance.ingest.commands import command_route
from appliance.ingest.labels import label_route
from appliance.ingest.topics import Route, TopicPattern
from appliance.notify import Publish, build_notifier
from appliance.outcome import Attempt
from appliance.pipeline import Pipeline, Rules, Source
from appliance.records import Alert, Label, Score
from appliance.refit import RefitRules
from appliance.screening import StateSource
from appliance.solver import Solver
from appliance.store.influx import (
    InfluxOptions,
    InfluxSink,
    alert_lines,
    attempt_lines,
    label_lines,
    score_lines,
    vitals_lines,
)
from appliance.store.logs import Logs, Vitals
from appliance.store.retention import DAY_SECS, Limits
from appliance.windows import GridSpec

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parent / "bundle" / "shipped.bundle"
"""Trained on recordings whose licences permit to pass on what was learned from them; ``make prior`` makes it."""
SCORES_AT_ONCE = 500
"""Scores in one POST: about 10,000 lines at ten channels, InfluxDB's own advice for a batch."""


def broker_options(settings: Settings) -> BrokerOptions:
    """Return where the broker is and how we present ourselves, secrets read."""
    mqtt = settings.mqtt
    tls = None if mqtt.tls is None else Tls(mqtt.tls.cafile, mqtt.tls.certfile, mqtt.tls.keyfile)
    return BrokerOptions(
        host=mqtt.host,
        port=mqtt.port,
        client_id=mqtt.client_id,
        protocol=mqtt.protocol,
        username=mqtt.username,
        password=secret("mqtt.password_file", mqtt.password, mqtt.password_file),
        tls=tls,
        keepalive_secs=mqtt.keepalive_secs,
        receive_maximum=mqtt.receive_maximum,
        will_topic=f"{mqtt.prefix}/status",
    )


def influx_options(settings: Settings) -> InfluxOptions | None:
    """Return where InfluxDB is, secrets read; None where there is none."""
    influx = settings.influxdb
    if influx is None:
        return None
    return InfluxOptions(
        url=str(influx.url).rstrip("/"),
        org=influx.org,
        bucket=influx.bucket,
        token=secret("influxdb.token_file", influx.token, influx.token_file) or "",
        cafile=None if influx.cafile is None else str(influx.cafile),
    )


def expected() -> Expected:
    """Return what a bundle must be: a prior of adaptation, perhaps with meta-parameters of methods that descend."""
    numbers = {name: Spec(each.dtype.name, each.shape) for name, each in Prior().tensors().items()}

    def specs(method: str, features: int) -> dict[str, Spec]:
        found = shapes(method, features)
        return {f"{ADAPTER}{method}.{name}": Spec("float32", shape) for name, shape in found.items()}

    families = [
        Family(f"{ADAPTER}{method}.", f"{ADAPTER}{method}.{SIZED_BY}", partial(specs, method)) for method in METHODS
    ]
    return Expected(numbers, families=tuple(families))


def shelf(settings: Settings) -> Shelf:
    """Return the shelf of installed bundles."""
    return Shelf(settings.storage.bundles, settings.bundles.trusted_keys, expected())


def shipped() -> Bundle:
    """Return the bundle that is part of the software.

    Raises
    ------
    BundleError
        The installation is damaged.
    """
    return read_shipped(SHIPPED, expected())


def in_service(settings: Settings) -> Bundle:
    """Return the bundle in service: that installed last, else the software's own; raises as `Shelf.in_service`."""
    return shelf(settings).in_service() or shipped()


def learned(settings: Settings, waiting: Callable[[], None]) -> tuple[Prior, Adapter]:
    """Return how far labels are trusted, and what makes heads of them: by the bundle in service, or the software's own.

    A bundle that cannot be used any longer, damaged or signed by a key that was taken out, must not keep the service
    from its work; nor must one without meta-parameters.
    """
    try:
        bundle = in_service(settings)
    except BundleError as refused:
        log.error("%s; what comes with the software is used until then", refused)
        bundle = shipped()
    try:
        made = adapter(settings, bundle.tensors, waiting)
    except ConfigError as missing:
        log.error("%s; %s is used until then", missing, DEFAULT)
        made = ADAPTERS[DEFAULT]()
    return Prior.of(bundle.tensors), made


def adapter(
    settings: Settings, tensors: Mapping[str, NDArray[Any]], waiting: Callable[[], None] = lambda: None
) -> Adapter:
    """Return what makes heads of labels.

    Parameters
    ----------
    tensors
        Of the bundle in service.
    waiting
        Called while a descent is waited for.

    Raises
    ------
    ConfigError
        There are no meta-parameters of the method that is set.
    """
    chosen = settings.adaptation
    if chosen.method in ADAPTERS:
        return ADAPTERS[chosen.method]()
    prefix = f"{ADAPTER}{chosen.method}."
    meta = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
    if not meta:
        raise ConfigError(
            f"adaptation.method: {chosen.method} needs a bundle in service with its meta-parameters; install one that "
            f'was packed with --adapter, or set method = "{DEFAULT}"'
        )
    return Descending(chosen.method, meta, Solver(chosen.worker_secs, chosen.worker_mb, waiting))


def source(settings: SourceSettings) -> Source:
    """Build one source of the pipeline."""
    hold_secs = settings.length * settings.period_secs if settings.hold_secs is None else settings.hold_secs
    return Source(
        route=Route(settings.name, TopicPattern(settings.topic), settings.machine),
        codec=build_codec(settings.format),
        grid=GridSpec(
            period_secs=settings.period_secs,
            length=settings.length,
            hop=settings.hop,
            lateness_secs=settings.lateness_secs,
            fill=settings.fill,
            hold_secs=hold_secs,
            aggregate=settings.aggregate,
            max_channels=settings.max_channels,
        ),
        warmup_windows=settings.warmup_windows,
        state=StateSource(settings.state_channel, settings.running_above, settings.may_stop),
    )


def rules(settings: Settings, waiting: Callable[[], None] = lambda: None) -> Rules:
    """Return what holds for every machine; ``waiting`` is called while one waits for its head."""
    alerts, detection = settings.alerts, settings.detection
    prior, made = learned(settings, waiting)
    return Rules(
        # What is budgeted are alarms, so the detector counts them by the same rule.
        detector=DetectorOptions(confirm=alerts.open_windows, of=alerts.of_windows),
        alerts=AlertRules(
            open_windows=alerts.open_windows,
            of_windows=alerts.of_windows,
            close_windows=alerts.close_windows,
            close_ratio=alerts.close_ratio,
            cooldown_secs=alerts.cooldown_secs,
            close_stopped_secs=alerts.close_stopped_secs,
        ),
        refits=RefitRules(detection.refit_secs),
        prior=prior,
        adapter=made,
        false_alarms_per_week=detection.false_alarms_per_week,
        min_coverage=detection.min_coverage,
        future_secs=detection.future_secs,
        max_machines=detection.max_machines,
        remembered_messages=4 * settings.mqtt.receive_maximum,
        prefix=settings.mqtt.prefix,
    )


def filters(settings: Settings) -> list[str]:
    """Return what to subscribe to: the sources' topics, and those of operators."""
    operators = [route(settings.mqtt.prefix).pattern.filter for route in (label_route, command_route)]
    return [*(TopicPattern(source.topic).filter for source in settings.source), *operators]


def pipeline(settings: Settings, archive: Archive, waiting: Callable[[], None] = lambda: None) -> Pipeline:
    """Build the whole live flow; ``waiting`` as for `rules`."""
    return Pipeline([source(entry) for entry in settings.source], rules(settings, waiting), archive)


def limits(settings: Settings) -> Limits:
    """Return how long and how much is kept."""
    storage = settings.storage
    return Limits(
        max_bytes=storage.max_mb * 2**20,
        journal_secs=storage.journal_days * DAY_SECS,
        samples_secs=storage.samples_days * DAY_SECS,
        scores_secs=storage.scores_days * DAY_SECS,
        remembered_messages=4 * settings.mqtt.receive_maximum,
    )


AnyCourier = (
    Courier[Score, str]
    | Courier[Alert, str]
    | Courier[Label, str]
    | Courier[Attempt, str]
    | Courier[Vitals, str]
    | Courier[Alert, Alert]
)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outlets:
    """Everything that carries results out of the house."""

    influx: InfluxSink | None
    scores: Courier[Score, str] | None
    others: list[AnyCourier]
    """To InfluxDB beside the scores."""
    notifiers: list[Courier[Alert, Alert]]

    @property
    def couriers(self) -> list[AnyCourier]:
        """Return all of them."""
        return [*([] if self.scores is None else [self.scores]), *self.others, *self.notifiers]


def outlets(settings: Settings, logs: Logs, publish: Publish) -> Outlets:
    """Build the couriers to InfluxDB and to each notifier."""
    site, options = settings.site, influx_options(settings)
    sink = scores = None
    others: list[AnyCourier] = []
    if options is not None:
        sink = InfluxSink(options)

        def exporter(
            name: str, read: Callable[[int, int], list[tuple[int, T]]], lines: Callable[[str, T], list[str]]
        ) -> Courier[T, str]:
            return Courier(
                f"influxdb/{name}",
                logs=logs,
                read=read,
                parcels=partial(lines, site),
                sink=sink,
                batch_records=SCORES_AT_ONCE,
            )

        scores = exporter("scores", logs.scores, score_lines)
        others = [
            exporter("alerts", logs.alerts, alert_lines),
            exporter("labels", logs.labels, label_lines),
            exporter("adaptation", logs.attempts, attempt_lines),
            exporter("vitals", logs.vitals, vitals_lines),
        ]
    notifiers = [
        Courier(
            f"notify/{entry.type}-{zlib.crc32(entry.model_dump_json().encode()):08x}",
            logs=logs,
            read=logs.alerts,
            parcels=lambda alert: [alert],
            sink=build_notifier(entry, publish),
            batch_records=20,
        )
        for entry in settings.notify
    ]
    return Outlets(sink, scores, others, notifiers)
