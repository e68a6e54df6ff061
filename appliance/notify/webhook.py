"""Alerts to a webhook: one POST of JSON for each change."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import ClassVar, Literal

import urllib3
from pydantic import Field, HttpUrl

from appliance.errors import Refused, Rejected, Retry
from appliance.notify.base import Notifier, NotifierOptions, Publish, as_json
from appliance.records import Alert

PASSING = {408, 425, 429}


class WebhookOptions(NotifierOptions):
    """Options of ``type = "webhook"``."""

    type: Literal["webhook"]
    url: HttpUrl = Field(description="Where to POST.")
    token_file: Path | None = Field(default=None, description="File with a bearer token.")
    cafile: Path | None = Field(default=None, description="PEM file of the authority that signed the server.")
    timeout_secs: float = Field(default=10.0, gt=0, le=120)


class WebhookNotifier(Notifier[WebhookOptions]):
    """POSTs ``application/json`` with the alert's id as ``Idempotency-Key``; never follows a redirect."""

    Options: ClassVar[type[NotifierOptions]] = WebhookOptions

    def __init__(self, options: WebhookOptions, publish: Publish) -> None:
        super().__init__(options, publish)
        context = ssl.create_default_context(cafile=options.cafile)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(total=options.timeout_secs), retries=False, ssl_context=context
        )

    def send(self, alert: Alert) -> None:
        """POST one alert; 2xx is delivered, 408, 425, 429 and 5xx are tried again."""
        key = f"{alert.id}/{alert.state}/{alert.updated_at:.0f}"
        status, text = self._request(
            "POST", as_json(alert), {"Content-Type": "application/json", "Idempotency-Key": key}
        )
        if status in PASSING or status >= 500:
            raise Retry(text)
        if status in {401, 403, 404, 405, 410} or 300 <= status < 400:
            raise Refused(f"{text}; check url and token_file")
        if status >= 400:
            raise Rejected(text)

    def probe(self) -> str:
        """Ask with OPTIONS, which no receiver takes for an alert."""
        status, text = self._request("OPTIONS", None, {})
        if status in {401, 403, 404}:
            raise Refused(f"{text}; check url and token_file")
        return text

    def _request(self, method: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, str]:
        url = str(self.options.url)
        if self.options.token_file is not None:
            try:
                headers = {**headers, "Authorization": f"Bearer {self.options.token_file.read_text().strip()}"}
            except OSError as error:
                raise Refused(f"{self.options.token_file}: cannot be read: {error.strerror}") from error
        try:
            response = self._pool.request(method, url, body=body, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise Retry(f"{url}: {error}") from error
        return response.status, f"{url}: HTTP {response.status}"
