"""The configuration file: every option, its limits, and errors that say what to do; the service is built from it.

Each option can be overridden by an environment variable, ``APPLIANCE_MQTT__HOST`` for ``mqtt.host``. Secrets come from
a file (a systemd credential is one: ``${CREDENTIALS_DIRECTORY}/mqtt``) or from the environment, never from this file.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    SecretStr,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from appliance.bundle.keys import parse_public_key
from appliance.config_errors import explain, unknown_option
from appliance.credentials import LOOPBACK, SECRETS, FilePath, refuse_plaintext
from appliance.errors import ConfigError
from appliance.ingest import codecs
from appliance.ingest.labels import label_route
from appliance.ingest.topics import Route, TopicPattern
from appliance.notify import NotifierOptions
from appliance.notify import parse_options as parse_notifier

ENV_PREFIX = "APPLIANCE_"
LIKENESS = 0.8
"""An environment variable this close to an option's name is taken for a misspelt one; others may be somebody else's."""


def _codec(raw: Any) -> Any:
    return codecs.parse_options(raw) if isinstance(raw, Mapping) else raw


def _notifier(raw: Any) -> Any:
    return parse_notifier(raw) if isinstance(raw, Mapping) else raw


def _topic(text: str) -> str:
    TopicPattern(text)
    return text


def _prefix(text: str) -> str:
    label_route(text)
    return text


class Section(BaseModel):
    """A table of the file. Unknown keys are refused: a typo must not become a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TlsSettings(Section):
    """``[mqtt.tls]``: encrypts the connection; the broker's certificate and name are always checked."""

    cafile: FilePath | None = Field(default=None, description="PEM of the authority; default: the system's.")
    certfile: FilePath | None = Field(default=None, description="Our own certificate, for mutual TLS.")
    keyfile: FilePath | None = Field(default=None, description="Its private key.")

    @model_validator(mode="after")
    def _key_has_a_certificate(self) -> Self:
        if self.keyfile is not None and self.certfile is None:
            raise ValueError("certfile: is missing beside keyfile; add it")
        return self


class MqttSettings(Section):
    """``[mqtt]``."""

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=1883, ge=1, le=65535)
    protocol: Literal["5", "3.1.1"] = "5"
    client_id: str = Field(
        default="appliance", min_length=1, max_length=128, description="Fixed: the broker keeps messages under it."
    )
    prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        default="appliance", pattern=r"^[^+#]+$", description="Our own topics begin with it."
    )
    username: str | None = None
    password: SecretStr | None = Field(default=None, description="Only from the environment.")
    password_file: FilePath | None = None
    tls: TlsSettings | None = None
    allow_plaintext: bool = Field(default=False, description="Permit an unencrypted connection beyond this machine.")
    keepalive_secs: int = Field(default=30, ge=5, le=3600)
    receive_maximum: int = Field(default=1000, ge=20, le=65535)

    @model_validator(mode="after")
    def _plaintext_is_said_aloud(self) -> Self:
        if self.tls is None and self.host not in LOOPBACK and not self.allow_plaintext:
            raise ValueError(
                f"host: {self.host} is another machine and [mqtt.tls] is missing; add it or set allow_plaintext = true"
            )
        return self


class SourceSettings(Section):
    """``[[source]]``: one kind of message and the machines that send it."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    topic: Annotated[str, AfterValidator(_topic)] = Field(description="Such as plant/{line}/{machine}/{channel}.")
    machine: str = Field(
        default="{machine}", description="A machine's name out of the topic, such as {line}-{machine}."
    )
    format: Annotated[SerializeAsAny[codecs.CodecOptions], BeforeValidator(_codec)] = Field(
        description="How a payload is read."
    )
    period_secs: float = Field(default=1.0, gt=0, le=86_400, description="Width of a grid cell.")
    length: int = Field(default=64, ge=1, le=4096, description="Cells in a window.")
    hop: int = Field(default=16, ge=1, le=4096, description="Cells from one window to the next.")
    lateness_secs: float = Field(default=0.0, ge=0, le=86_400)
    fill: Literal["hold", "linear", "none"] = "hold"
    hold_secs: float | None = Field(
        default=None, ge=0, le=86_400 * 7, description="Longest filled gap; default: one window."
    )
    aggregate: Literal["last", "mean"] = "last"
    max_channels: int = Field(default=512, ge=1, le=10_000)
    warmup_hours: float = Field(default=24.0, gt=0, le=24 * 90, description="Good data a machine learns from.")
    state_channel: str | None = Field(default=None, min_length=1, description="Tells whether a machine runs.")
    running_above: float = Field(default=0.5, description="Of the state channel.")
    may_stop: bool = Field(default=True, description="Whether a machine that stands is in order.")

    @model_validator(mode="after")
    def _names_a_machine(self) -> Self:
        try:
            Route(self.name, TopicPattern(self.topic), self.machine)
        except ValueError as error:
            raise ValueError(f"machine: {error}") from error
        return self

    @model_validator(mode="after")
    def _windows_make_sense(self) -> Self:
        if self.hop > self.length:
            raise ValueError(f"hop: {self.hop} is above length ({self.length}); cells between windows would go unseen")
        if self.lateness_secs / self.period_secs > 4 * self.length:
            raise ValueError(
                f"lateness_secs: {self.lateness_secs:g} is more than four windows; lengthen the window or lower it"
            )
        if self.warmup_windows < 100:
            hours = 100 * self.hop * self.period_secs / 3600
            raise ValueError(
                f"warmup_hours: {self.warmup_hours:g} is below 100 windows; raise it to {hours:.2f} at least"
            )
        return self

    @property
    def warmup_windows(self) -> int:
        """How many windows with enough data a machine learns from."""
        return int(self.warmup_hours * 3600 / (self.hop * self.period_secs))


class DetectionSettings(Section):
    """``[detection]``."""

    false_alarms_per_week: float = Field(default=1.0, gt=0, le=1000, description="Per machine: sets the threshold.")
    refit_days: float = Field(default=30.0, ge=0, le=365, description="0: never.")
    min_coverage: float = Field(default=0.5, gt=0, le=1)
    future_secs: float = Field(default=300.0, ge=0)
    max_machines: int = Field(default=1000, ge=1, le=100_000)

    @property
    def refit_secs(self) -> float:
        """Seconds from one refit to the next, 0 for none."""
        return self.refit_days * 86_400


class FeedbackSettings(Section):
    """``[feedback]``."""

    questions_per_day: int = Field(default=3, ge=0, le=100, description="For each machine: what `appliance ask` shows.")


class AlertSettings(Section):
    """``[alerts]``."""

    open_windows: int = Field(default=2, ge=1, le=100)
    of_windows: int = Field(default=3, ge=1, le=100)
    close_windows: int = Field(default=3, ge=1, le=1000)
    close_ratio: float = Field(default=0.8, gt=0, le=1)
    close_stopped_secs: float = Field(default=3600.0, ge=0, le=86_400 * 7)
    cooldown_secs: float = Field(default=3600.0, ge=0)

    @model_validator(mode="after")
    def _n_of_m(self) -> Self:
        if self.open_windows > self.of_windows:
            raise ValueError(
                f"open_windows: {self.open_windows} is above of_windows ({self.of_windows}); nothing could open"
            )
        return self


class InfluxSettings(Section):
    """``[influxdb]``: leave the table out to keep everything in the local database only."""

    url: HttpUrl
    org: str = "appliance"
    bucket: str = "appliance"
    token: SecretStr | None = Field(default=None, description="Only from the environment.")
    token_file: FilePath | None = None
    cafile: FilePath | None = None
    allow_plaintext: bool = False

    @model_validator(mode="after")
    def _plaintext_is_said_aloud(self) -> Self:
        if not self.allow_plaintext:
            refuse_plaintext(self.url)
        return self


class AdaptationSettings(Section):
    """``[adaptation]``."""

    method: Literal["ridge", "prototype", "maml", "reptile", "leo", "learned_optimizer"] = Field(
        default="ridge", description="The last four need torch, and a bundle that holds their meta-parameters."
    )
    worker_secs: float = Field(default=30.0, gt=0, le=600, description="Of those four: the longest that one may take.")
    worker_mb: int = Field(default=1024, ge=64, description="Of those four: address space.")


class BundleSettings(Section):
    """``[bundles]``."""

    trusted_keys: Mapping[str, Annotated[bytes, BeforeValidator(parse_public_key)]] = Field(
        default={}, description="Name = public key. A prior that comes with the software needs none."
    )


class StorageSettings(Section):
    """``[storage]``."""

    data_dir: Path = Path("/var/lib/appliance")
    max_mb: int = Field(default=2048, ge=64, description="Intake holds at 90 % of it.")
    journal_days: float = Field(default=1.0, ge=0)
    samples_days: float = Field(default=90.0, ge=1)
    scores_days: float = Field(default=365.0, ge=1)
    flush_secs: float = Field(default=0.2, gt=0, le=5)

    @property
    def database(self) -> Path:
        """The database file."""
        return self.data_dir / "appliance.db"

    @property
    def bundles(self) -> Path:
        """The shelf of installed bundles."""
        return self.data_dir / "bundles"


class Settings(BaseSettings):
    """The whole file."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=ENV_PREFIX, env_nested_delimiter="__", env_nested_max_split=2
    )

    site: str = Field(default="site", min_length=1, max_length=128)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    mqtt: MqttSettings = MqttSettings()
    source: tuple[SourceSettings, ...] = ()
    detection: DetectionSettings = DetectionSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    adaptation: AdaptationSettings = AdaptationSettings()
    alerts: AlertSettings = AlertSettings()
    influxdb: InfluxSettings | None = None
    notify: tuple[Annotated[SerializeAsAny[NotifierOptions], BeforeValidator(_notifier)], ...] = ()
    bundles: BundleSettings = BundleSettings()
    storage: StorageSettings = StorageSettings()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [source.name for source in self.source]
        if not names:
            raise ValueError("source: there is none; add a [[source]] table for the topics to listen to")
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"source: the name {name!r} is used twice; every source needs its own")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file."""
        return env_settings, init_settings


def load(path: Path) -> Settings:
    """Read and check the configuration file.

    Raises
    ------
    ConfigError
        One line for each problem: ``file: key: what is wrong and what to do``.
    """
    try:
        with path.open("rb") as file:
            raw = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; name the configuration file") from error
    except (ValueError, RecursionError) as error:  # beside TOML's own: bad UTF-8, 5000 digits, 1000 brackets
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    for table, key in SECRETS:
        if isinstance(raw.get(table), dict) and key in raw[table]:
            variable = f"{ENV_PREFIX}{table}__{key}".upper()
            raise ConfigError(f"{path}: {table}.{key}: a secret in this file; use {key}_file or {variable}")
    unknown = [key for key in raw if key not in Settings.model_fields]  # pydantic would take _env_file for its own
    if unknown:
        raise ConfigError("\n".join(f"{path}: {key}: {unknown_option(key, Settings.model_fields)}" for key in unknown))
    _refuse_misspelt_variables()
    try:
        return Settings(**raw)
    except SettingsError as error:
        raise ConfigError(
            f"environment: {error}; write tables as JSON, or name one option: APPLIANCE_MQTT__HOST"
        ) from error
    except ValidationError as error:
        problems = error.errors(include_url=False)
    raise ConfigError("\n".join(f"{path}: {explain(problem, raw, Settings)}" for problem in problems))


def _refuse_misspelt_variables() -> None:
    """Refuse environment variables that look like options and are none: pydantic passes over them in silence."""
    tables = [name.upper() for name in Settings.model_fields]
    for variable in sorted(os.environ):
        if not variable.upper().startswith(ENV_PREFIX):
            continue
        table, nested, _ = variable.upper().removeprefix(ENV_PREFIX).partition("__")
        if table in tables:
            continue
        close = difflib.get_close_matches(table, tables, n=1, cutoff=LIKENESS)
        if nested or close:
            raise ConfigError(f"environment: {variable}: {unknown_option(table, tables, prefix=ENV_PREFIX)}")
