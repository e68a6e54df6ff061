from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import Refused, Rejected, Retry
from appliance.notify import build_notifier, parse_options
from appliance.records import Alert

ALERT = Alert("m-1", "m", "open", 0.0, 60.0, 61.0, None, 5.0, 4.0, {"t": 1.0}, {"level": 9.0}, "Hot.")


class Receiver(ThreadingHTTPServer):
    """Answers as it is told and remembers what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 204
        self.answer: dict[str, str] = {}
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/hook"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        for name, value in {"Content-Length": "0", **self.server.answer}.items():
            self.send_header(name, value)
        self.end_headers()

    do_OPTIONS = do_GET = do_POST  # noqa: N815 - the base class chooses the names

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def no_publish(topic: str, payload: bytes, *, retain: bool = False) -> None:
    raise AssertionError("a webhook needs no broker")


def notifier(url: str, **options: Any) -> Any:
    return build_notifier(parse_options({"type": "webhook", "url": url, **options}), no_publish)


def test_an_alert_is_posted_as_json_with_a_key_against_repeats(receiver: Receiver) -> None:
    notifier(receiver.url).write([ALERT, replace(ALERT, state="closed", updated_at=99.0, closed_at=99.0)])
    (first, second) = receiver.requests
    assert first[:2] == ("POST", "/hook")
    assert first[2]["Content-Type"] == "application/json"
    body = json.loads(first[3])
    assert (body["id"], body["state"], body["since"], body["closed_at"]) == (
        "m-1",
        "open",
        "1970-01-01T00:00:00Z",
        None,
    )
    assert first[2]["Idempotency-Key"] == "m-1/open/61"
    assert second[2]["Idempotency-Key"] == "m-1/closed/99"
    assert "Authorization" not in first[2]


def test_a_name_in_any_script_can_be_sent(receiver: Receiver) -> None:
    notifier(receiver.url).write([replace(ALERT, id="насос-1", machine="насос")])
    assert receiver.requests[0][2]["Idempotency-Key"].isascii()
    assert json.loads(receiver.requests[0][3])["machine"] == "насос"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *((status, Retry) for status in (408, 425, 429, 500, 503)),
        *((status, Refused) for status in (401, 403, 404, 301, 307)),
        *((status, Rejected) for status in (400, 413, 422)),
    ],
)
def test_each_answer_says_what_to_do_next(receiver: Receiver, status: int, error: type[Exception]) -> None:
    receiver.status = status
    with pytest.raises(error, match=f"HTTP {status}"):
        notifier(receiver.url).write([ALERT])


def test_a_redirect_is_never_followed(receiver: Receiver, tmp_path: Path) -> None:
    receiver.status, receiver.answer = 302, {"Location": receiver.url.replace("hook", "elsewhere")}
    with pytest.raises(Refused, match="HTTP 302; check url and token_file"):
        notifier(receiver.url).write([ALERT])
    assert [request[1] for request in receiver.requests] == ["/hook"]


def test_the_pause_a_server_asks_for_is_passed_on(receiver: Receiver) -> None:
    receiver.status, receiver.answer = 429, {"Retry-After": "17"}
    with pytest.raises(Retry) as caught:
        notifier(receiver.url).write([ALERT])
    assert caught.value.after_secs == 17.0


def test_the_token_is_read_anew_each_time(receiver: Receiver, tmp_path: Path) -> None:
    token = tmp_path / "token"
    target = notifier(receiver.url, token_file=str(token))
    with pytest.raises(Refused, match="cannot be read"):
        target.write([ALERT])
    token.touch(mode=0o600)
    for text in ("first\n", "second"):
        token.write_text(text)
        target.write([ALERT])
    assert [request[2]["Authorization"] for request in receiver.requests] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("text", ["a\nb", "ключ"])
def test_a_token_no_header_takes_is_refused_and_not_shown(receiver: Receiver, tmp_path: Path, text: str) -> None:
    token = tmp_path / "token"
    token.write_text(text)
    token.chmod(0o600)
    with pytest.raises(Refused, match="holds characters that no header takes") as caught:
        notifier(receiver.url, token_file=str(token)).write([ALERT])
    assert text not in str(caught.value)


def test_a_server_that_is_not_there_is_tried_again() -> None:
    with pytest.raises(Retry, match=r"http://127\.0\.0\.1:1/hook"):
        notifier("http://127.0.0.1:1/hook").write([ALERT])


def test_the_probe_sends_no_alert(receiver: Receiver) -> None:
    assert "HTTP 204" in notifier(receiver.url).probe()
    assert [request[0] for request in receiver.requests] == ["OPTIONS"]
    receiver.status = 401
    with pytest.raises(Refused):
        notifier(receiver.url).probe()
