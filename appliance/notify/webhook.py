"""Alerts to a webhook: one POST of JSON for each change."""

from __future__ import annotations

import ssl
from typing import ClassVar, Literal, Self
from urllib.parse import quote

import urllib3
from pydantic import Field, HttpUrl, model_validator

from appliance.credentials import FilePath, refuse_plaintext, secret
from appliance.errors import ConfigError, Refused, Rejected, Retry
from appliance.notify.base import Notifier, NotifierOptions, Publish, as_json
from appliance.records import Alert

PASSING = {408, 425, 429}


class WebhookOptions(NotifierOptions):
    """Options of ``type = "webhook"``."""

    type: Literal["webhook"]
    url: HttpUrl = Field(description="Where to POST.")
    token_file: FilePath | None = Field(default=None, description="File with a bearer token.")
    cafile: FilePath | None = Field(default=None, description="PEM file of the authority that signed the server.")
    timeout_secs: float = Field(default=10.0, gt=0, le=120)
    allow_plaintext: bool = Field(default=False, description="Permit an unencrypted POST beyond this machine.")

    @model_validator(mode="after")
    def _plaintext_is_said_aloud(self) -> Self:
        if not self.allow_plaintext:
            refuse_plaintext(self.url)
        return self


class WebhookNotifier(Notifier[WebhookOptions]):
    """POSTs ``application/json`` with the alert's id as ``Idempotency-Key``; never follows a redirect."""

    Options: ClassVar[type[NotifierOptions]] = WebhookOptions

    def __init__(self, options: WebhookOptions, publish: Publish) -> None:
        super().__init__(options, publish)
        try:
            context = ssl.create_default_context(cafile=options.cafile)
        except OSError as error:
            raise ConfigError(f"notify.cafile: {options.cafile} cannot be used: {error}; name a PEM file") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(total=options.timeout_secs), retries=False, ssl_context=context
        )

    def send(self, alert: Alert) -> None:
        """POST one alert; 2xx is delivered, 408, 425, 429 and 5xx are tried again."""
        key = quote(f"{alert.id}/{alert.state}/{alert.updated_at:.0f}")  # a header takes no letters beyond Latin-1
        status, text, after_secs = self._request(
            "POST", as_json(alert), {"Content-Type": "application/json", "Idempotency-Key": key}
        )
        if status in PASSING or status >= 500:
            raise Retry(text, after_secs)
        if status in {401, 403, 404, 405, 410} or 300 <= status < 400:
            raise Refused(f"{text}; check url and token_file")
        if status >= 400:
            raise Rejected(text)

    def probe(self) -> str:
        """Ask with OPTIONS, which no receiver takes for an alert."""
        status, text, _ = self._request("OPTIONS", None, {})
        if status in {401, 403, 404}:
            raise Refused(f"{text}; check url and token_file")
        return text

    def _request(self, method: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, str, float | None]:
        """Return the status, what to say of it, and the seconds to wait where the server named them."""
        url = str(self.options.url)
        try:  # each time: whoever mends the file need not restart the service
            token = secret("token_file", None, self.options.token_file)
        except ConfigError as error:
            raise Refused(str(error)) from error
        if token is not None:
            headers = {**headers, "Authorization": f"Bearer {token}"}
        try:
            response = self._pool.request(method, url, body=body, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise Retry(f"{url}: {error}") from error
        except ValueError:  # its text would show the token
            raise Refused(f"{self.options.token_file}: the token holds characters that no header takes") from None
        wait = response.headers.get("Retry-After", "")
        return response.status, f"{url}: HTTP {response.status}", float(wait) if wait.isdecimal() else None
