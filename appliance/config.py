"""The configuration file: every option, its limits, and errors that say what to do; the service is built from it.

Each option can be overridden by an environment variable, ``APPLIANCE_MQTT__HOST`` for ``mqtt.host``. Secrets come from
a file (a systemd credential is one: ``${CREDENTIALS_DIRECTORY}/mqtt``) or from the environment, never from this file.
"""

from __future__ import annotations

import difflib
import os
import stat
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
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from appliance.errors import ConfigError
from appliance.ingest import codecs
from appliance.ingest.topics import TopicPattern
from appliance.notify import NotifierOptions
from appliance.notify import parse_options as parse_notifier

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def _expand(path: Path) -> Path:
    """Expand the one variable systemd sets for secrets; any other ``$`` stays as it is."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "${CREDENTIALS_DIRECTORY}")
    return Path(str(path).replace("${CREDENTIALS_DIRECTORY}", folder))


def _codec(raw: Any) -> Any:
    return codecs.parse_options(raw) if isinstance(raw, Mapping) else raw


def _notifier(raw: Any) -> Any:
    return parse_notifier(raw) if isinstance(raw, Mapping) else raw


def _topic(text: str) -> str:
    TopicPattern(text)
    return text


FilePath = Annotated[Path, AfterValidator(_expand)]


class Section(BaseModel):
    """A table of the file. Unknown keys are refused: a typo must not become a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsSettings(Section):
    """``[mqtt.tls]``: encrypts the connection; the broker's certificate and name are always checked."""

    cafile: FilePath | None = Field(default=None, description="PEM of the authority; default: the system's.")
    certfile: FilePath | None = Field(default=None, description="Our own certificate, for mutual TLS.")
    keyfile: FilePath | None = Field(default=None, description="Its private key.")


class MqttSettings(Section):
    """``[mqtt]``."""

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=1883, ge=1, le=65535)
    protocol: Literal["5", "3.1.1"] = "5"
    client_id: str = Field(
        default="appliance", min_length=1, max_length=128, description="Fixed: the broker keeps messages under it."
    )
    prefix: str = Field(default="appliance", min_length=1, description="Our own topics begin with it.")
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
    length: int = Field(default=64, ge=8, le=4096, description="Cells in a window.")
    hop: int = Field(default=16, ge=1, le=4096, description="Cells from one window to the next.")
    lateness_secs: float = Field(default=0.0, ge=0, le=86_400)
    fill: Literal["hold", "linear", "none"] = "hold"
    hold_secs: float | None = Field(default=None, ge=0, description="Longest filled gap; default: one window.")
    aggregate: Literal["last", "mean"] = "last"
    max_channels: int = Field(default=512, ge=1, le=10_000)
    warmup_hours: float = Field(default=24.0, gt=0, le=24 * 90, description="Good data a machine learns from.")

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
    min_coverage: float = Field(default=0.5, ge=0, le=1)
    future_secs: float = Field(default=300.0, ge=0)
    max_machines: int = Field(default=1000, ge=1, le=100_000)


class AlertSettings(Section):
    """``[alerts]``."""

    open_windows: int = Field(default=2, ge=1, le=100)
    of_windows: int = Field(default=3, ge=1, le=100)
    close_windows: int = Field(default=3, ge=1, le=1000)
    close_ratio: float = Field(default=0.8, gt=0, le=1)
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
        if self.url.scheme == "http" and self.url.host not in LOOPBACK and not self.allow_plaintext:
            raise ValueError(
                f"url: {self.url} is not this machine and not https; use https, or set allow_plaintext = true"
            )
        return self


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


class Settings(BaseSettings):
    """The whole file."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="APPLIANCE_", env_nested_delimiter="__", env_nested_max_split=2
    )

    site: str = Field(default="site", min_length=1, max_length=128)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    mqtt: MqttSettings = MqttSettings()
    source: tuple[SourceSettings, ...] = Field(min_length=1)
    detection: DetectionSettings = DetectionSettings()
    alerts: AlertSettings = AlertSettings()
    influxdb: InfluxSettings | None = None
    notify: tuple[Annotated[SerializeAsAny[NotifierOptions], BeforeValidator(_notifier)], ...] = ()
    storage: StorageSettings = StorageSettings()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [source.name for source in self.source]
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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    for table, key in (("mqtt", "password"), ("influxdb", "token")):
        if isinstance(raw.get(table), dict) and key in raw[table]:
            variable = f"APPLIANCE_{table}__{key}".upper()
            raise ConfigError(f"{path}: {table}.{key}: a secret in this file; use {key}_file or {variable}")
    try:
        return Settings(**raw)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {explain(problem, raw)}" for problem in error.errors())) from error


def explain(problem: ErrorDetails, raw: Mapping[str, Any]) -> str:
    """Say in one line what is wrong with which key, and what to do."""
    kind, value, context = problem["type"], problem["input"], problem.get("ctx", {})
    where = ".".join(str(part) for part in problem["loc"])
    prefix = f"{where}: " if where else ""
    if kind == "extra_forbidden":
        key = str(problem["loc"][-1])
        close = difflib.get_close_matches(key, _siblings(problem["loc"]), n=1)
        return f"{prefix}is not an option; " + (f"did you mean {close[0]}?" if close else "remove it")
    if kind == "missing":
        return f"{prefix}is missing; add it"
    if kind in {"less_than_equal", "less_than"}:
        return f"{prefix}{value!r} is above {context.get('le', context.get('lt'))}"
    if kind in {"greater_than_equal", "greater_than"}:
        limit = f"below {context['ge']}" if "ge" in context else f"not above {context.get('gt')}"
        return f"{prefix}{value!r} is {limit}"
    if kind == "literal_error":
        return f"{prefix}{value!r} is not one of {context.get('expected')}"
    message = problem["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return f"{prefix.removesuffix(': ')}.{message}" if prefix and ": " in message else f"{prefix}{message}"
    return f"{prefix}{value!r}: {message[0].lower()}{message[1:]}"


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    """Names that could have stood where an unknown key stands."""
    model: Any = Settings
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        inner = [annotation, *getattr(annotation, "__args__", ())]
        model = next((kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if model is None:
            return []
    return list(model.model_fields)


def secret(key: str, inline: SecretStr | None, path: Path | None) -> str | None:
    """Read a secret from the environment's value or its file.

    Raises
    ------
    ConfigError
        The file cannot be read, or others may write to it.
    """
    if inline is not None:
        return inline.get_secret_value()
    if path is None:
        return None
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error}") from error
    if mode & (stat.S_IWOTH | stat.S_IWGRP):
        raise ConfigError(f"{key}: {path} can be written by others; chmod 600 {path}")
    if not text:
        raise ConfigError(f"{key}: {path} is empty; put the secret in it")
    return text
