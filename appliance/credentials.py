"""Secrets and where they may travel: read from a file or the environment; shared by the settings and the notifiers."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, HttpUrl, SecretStr

from appliance.errors import ConfigError

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})
"""Hosts to which nothing needs encryption, as a setting and as a URL write them."""

SECRETS = (("mqtt", "password"), ("influxdb", "token"))
"""(table, key) of the settings that may come from the environment but not stand in the file."""


def _expand(path: Path) -> Path:
    """Expand the one variable systemd sets for secrets; any other ``$`` stays as it is."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "${CREDENTIALS_DIRECTORY}")
    return Path(str(path).replace("${CREDENTIALS_DIRECTORY}", folder))


FilePath = Annotated[Path, AfterValidator(_expand)]
"""A path in the settings; it may begin with ``${CREDENTIALS_DIRECTORY}``."""


def refuse_plaintext(url: HttpUrl) -> None:
    """Raise ValueError, with the remedy, for an address to which nothing may travel unencrypted unless that is said."""
    if url.scheme == "http" and url.host not in LOOPBACK:
        raise ValueError(f"url: {url} is not this machine and not https; use https, or set allow_plaintext = true")


def secret(key: str, inline: SecretStr | None, path: Path | None) -> str | None:
    """Read a secret from the environment's value or its file.

    Raises
    ------
    ConfigError
        The file cannot be read, is empty, or others may write to it.
    """
    if inline is not None:
        return inline.get_secret_value()
    if path is None:
        return None
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error}") from error
    if mode & (stat.S_IWOTH | stat.S_IWGRP):
        raise ConfigError(f"{key}: {path} can be written by others; chmod 600 {path}")
    if not text:
        raise ConfigError(f"{key}: {path} is empty; put the secret in it")
    return text
