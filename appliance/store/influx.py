"""Write all that comes of the messages to InfluxDB as line protocol; the schema is in docs/ARCHITECTURE.md.

Points are identified by measurement, tags and time, so writing one again changes nothing: model version and state are
fields.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from appliance.errors import Refused, Rejected, Retry
from appliance.outcome import Attempt
from appliance.records import Alert, Label, Score
from appliance.store.logs import Vitals

log = logging.getLogger(__name__)

BAD_POINTS = {400, 413, 422}
SET_UP_WRONG = {401, 403, 404}
TOO_OLD = "points beyond retention policy"
"""So InfluxDB 1 and 2 say that some points are older than the bucket keeps."""
TIMEOUT_MS = 10_000


@dataclass(frozen=True, slots=True)
class InfluxOptions:
    """Where InfluxDB is and what it knows us by."""

    url: str
    org: str
    bucket: str
    token: str
    verify_tls: bool = True
    cafile: str | None = None


class InfluxSink:
    """Writes lines of line protocol, synchronously: the client's own batching drops data in a long outage."""

    def __init__(self, options: InfluxOptions) -> None:
        self._options = options
        self._client = InfluxDBClient(
            url=options.url,
            token=options.token,
            org=options.org,
            timeout=TIMEOUT_MS,
            verify_ssl=options.verify_tls,
            ssl_ca_cert=options.cafile,
            enable_gzip=True,
        )
        self._write = self._client.write_api(write_options=SYNCHRONOUS)

    def write(self, batch: Sequence[str]) -> None:
        """Deliver lines, or raise what the answer means: see ``docs/ARCHITECTURE.md``, Export."""
        place = f"{self._options.url}, bucket {self._options.bucket}"
        try:
            self._write.write(self._options.bucket, record="\n".join(batch).encode())
        except ApiException as error:
            text = f"{place}: HTTP {error.status}: {_message(error)}"
            if TOO_OLD in text:  # InfluxDB has stored the rest of the batch; sending these again would change nothing
                log.warning("%s", text)
                return
            if error.status in BAD_POINTS:
                raise Rejected(text) from error
            if error.status in SET_UP_WRONG:
                raise Refused(f"{text}; check token, org and bucket") from error
            raise Retry(text, _retry_after(error)) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Retry(f"{place}: {error}") from error

    def probe(self) -> str:
        """Write a comment, which stores nothing but needs the same rights; return what answered, or raise."""
        self.write(["# probe"])
        return f"takes writes to bucket {self._options.bucket}"

    def close(self) -> None:
        """Close the connection."""
        self._client.close()  # type: ignore[no-untyped-call]


def _message(error: ApiException) -> str:
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else str(error.body or error.reason)
    return " ".join(body.split())[:300]


def _retry_after(error: ApiException) -> float | None:
    value = str(error.headers.get("Retry-After", "")) if error.headers else ""
    return float(value) if value.isascii() and value.isdigit() else None


def _tag(text: str) -> str:
    """Escape a tag's value or a measurement; a newline or a trailing backslash cannot be written at all."""
    clean = text.replace("\n", " ").replace("\r", " ").replace("\t", " ").rstrip("\\") or "_"
    return clean.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def _text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'


def _line(
    measurement: str, tags: Mapping[str, str], fields: Mapping[str, float | str | None], time: float
) -> list[str]:
    """Write one line, or none where no field has a value. Numbers are always floats, so that a field keeps one type."""
    parts = [
        f"{name}={_text(value) if isinstance(value, str) else repr(float(value))}"
        for name, value in fields.items()
        if value is not None and (isinstance(value, str) or isfinite(value))
    ]
    if not parts:
        return []
    head = ",".join([measurement, *(f"{name}={_tag(value)}" for name, value in tags.items())])
    return [f"{head} {','.join(parts)} {round(time * 1e6) * 1000}"]


def score_lines(site: str, score: Score) -> list[str]:
    r"""Write one ``anomaly`` point, and one point per channel or detector of every other kind.

    Examples
    --------
    >>> from appliance.records import Signal
    >>> score = Score("pump 1", "s", 0, 60, None, None, False, "learning", "learning", False, 1, 0, {}, {},
    ...     {"t": Signal(2, 1, 3)})
    >>> print(*score_lines("hall", score), sep="\n")  # doctest: +ELLIPSIS
    anomaly,site=hall,machine=pump\ 1 alarm=0.0,trust="learning",state="learning",model=0.0,head=0.0,... 60000000000
    signal,site=hall,machine=pump\ 1,channel=t mean=2.0,min=1.0,max=3.0 60000000000
    """
    tags = {"site": site, "machine": score.machine}
    fields: dict[str, float | str | None] = {
        "score": score.score,
        "threshold": score.threshold,
        "alarm": float(score.alarm),
        "trust": score.trust,
        "state": score.blank or "scored",
        "model": float(score.model),
        "head": float(score.head),
        "coverage": score.coverage,
        "extrapolated": float(score.extrapolated),
    }
    lines = _line("anomaly", tags, fields, score.end)
    for channel, signal in score.signals.items():
        lines += _line("signal", {**tags, "channel": channel}, signal._asdict(), score.end)
    for channel, share in score.contributions.items():
        lines += _line("evidence", {**tags, "channel": channel}, {"contribution": share}, score.end)
    for detector, evidence in score.evidence.items():
        lines += _line("evidence_kind", {**tags, "detector": detector}, {"evidence": evidence}, score.end)
    return lines


def alert_lines(site: str, alert: Alert) -> list[str]:
    """Write one ``alert`` point at the time of the change; a sensor's has its channel as a tag.

    Without the tag it would take the place of the machine's own alert where both change in the same window.
    """
    tags = {"site": site, "machine": alert.machine}
    if alert.kind == "sensor":
        tags["channel"] = next(iter(alert.channels))
    fields: dict[str, float | str | None] = {
        "id": alert.id,
        "kind": alert.kind,
        "state": alert.state,
        "peak_score": alert.peak_score,
        "summary": alert.summary,
        "since": alert.since,
    }
    return _line("alert", tags, fields, alert.updated_at)


def label_lines(site: str, label: Label) -> list[str]:
    """Write one ``label`` point where its stretch begins; its id is a tag, because two may begin at the same time."""
    assert label.start is not None
    tags = {"site": site, "machine": label.machine, "id": label.id}
    fields: dict[str, float | str | None] = {
        "verdict": label.verdict,
        "end": label.end,
        "name": label.fault,
        "channel": label.channel,
        "cleared": float(label.cleared),
        "alert": label.alert,
        "said_at": label.said_at,
        "said_by": label.said_by,
        "via": label.via,
        "note": label.note,
        "learned": label.learned,
    }
    return _line("label", tags, fields, label.start)


def attempt_lines(site: str, attempt: Attempt) -> list[str]:
    """Write one ``adaptation`` point; no two of a machine are at the same time."""
    fields: dict[str, float | str | None] = {
        "cause": attempt.cause,
        "label": attempt.label,
        "head": attempt.head,
        "labels": attempt.labels,
        "promoted": float(attempt.vetoed is None),
        "vetoed": attempt.vetoed,
        "faults": attempt.faults,
        "caught_before": attempt.caught_before,
        "caught": attempt.caught,
        "alerts_before": attempt.alerts_before,
        "alerts": attempt.alerts,
        "words": attempt.words,
    }
    return _line("adaptation", {"site": site, "machine": attempt.machine}, fields, attempt.at)


def vitals_lines(site: str, vitals: Vitals) -> list[str]:
    """Write one ``appliance`` point."""
    return _line("appliance", {"site": site}, vitals.values, vitals.time)
