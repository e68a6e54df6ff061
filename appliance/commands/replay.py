"""``appliance replay``: publishes recorded machines over MQTT as their sensors would, interleaved in time."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from appliance.ingest.publisher import Publisher, PublishError
from appliance.ingest.times import EARLIEST
from appliance.recordings import Recording, read_recording
from appliance.simulate.encoders import DEFAULT_TOPICS, Encoder, PayloadFormat, TopicError, build_encoder

PROGRESS_SECS = 0.2
"""Between two updates of the progress bar: they must not cost more than publishing."""
LOOK_UP_SECS = 0.2
"""The longest wait before an interruption is seen."""
BROKER_LOST, INTERRUPTED = 1, 130
"""Exit codes; 130 is 128 + SIGINT, as shells report it."""


def replay(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings: .npz, .csv or .parquet.")],
    broker: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to publish.")] = "localhost:1883",
    topic: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="With {machine}, {channel}; default by format.")
    ] = None,
    payload_format: Annotated[PayloadFormat, typer.Option("--format", help="Of the payloads.")] = "json",
    speed: Annotated[str, typer.Option(metavar="N|max", help="Times faster than recorded.")] = "1",
    start: Annotated[
        str | None,
        typer.Option(
            metavar="ISO|now|keep",
            help="Time of the first sample; now: as late as no sample lies in the future. "
            "Default: as recorded, and now for recordings without a date.",
        ),
    ] = None,
    user: Annotated[str | None, typer.Option(help="MQTT user.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="File whose first line is the password.")] = None,
    cafile: Annotated[Path | None, typer.Option(help="Authority of the broker's certificate; turns TLS on.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Publish recorded machines as their sensors would: all together, in the order of their times, QoS 1.

    With --start now and --speed max, weeks are replayed in minutes into a running service.

    Format value sends bare numbers, which get the time of their arrival.

    Example: appliance replay out/*.npz --broker localhost:1883 --speed max --start now
    """
    host, port = _address(broker)
    pace = _pace(speed)
    recordings = placed([read_recording(file) for file in files], start, pace, time.time())
    try:
        encoder = build_encoder(payload_format, topic or DEFAULT_TOPICS[payload_format], recordings)
    except TopicError as error:
        raise typer.BadParameter(str(error), param_hint="--topic") from error
    password = _first_line(password_file) if password_file else None
    publisher = Publisher(host, port, user=user, password=password, cafile=cafile)
    console = Console(stderr=True)
    readings = 0
    began = shown = time.monotonic()
    try:
        with _interruption() as interrupted, publisher, _progress(console) as progress:
            bar = progress.add_task("publishing", total=sum(len(recording.times) for recording in recordings))
            for done, count in enumerate(publish(publisher, encoder, recordings, pace, interrupted), start=1):
                readings += count
                if time.monotonic() - shown > PROGRESS_SECS:
                    shown = time.monotonic()
                    progress.update(bar, completed=done)
        code = INTERRUPTED if interrupted.is_set() else 0
    except PublishError as error:
        console.print(f"[red]{escape(str(error))}", soft_wrap=True)
        code = BROKER_LOST
    summary = {
        "machines": len(recordings),
        "messages": publisher.sent,
        "readings": readings,
        "acked": publisher.acked,
        "seconds": round(time.monotonic() - began, 3),
    }
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        text = (
            "{messages} messages with {readings} readings of {machines} machines, {acked} acknowledged, in {seconds} s"
        )
        console.print(text.format(**summary), highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def placed(recordings: Sequence[Recording], start: str | None, speed: float, now: float) -> list[Recording]:
    """Shift recordings in time as ``--start`` says.

    Those that are shifted are shifted together. For ``now`` they are placed as late as no sample lies in the future
    when it is published at ``speed``: at speed 1 the first one is at ``now``, without a limit the last one is.

    Raises
    ------
    typer.BadParameter
        If ``start`` is neither a time with a zone, ``now`` nor ``keep``.
    """
    if start == "keep":
        return list(recordings)
    moving = [start is not None or recording.times.min() < EARLIEST for recording in recordings]
    if not any(moving):
        return list(recordings)
    first = min(recording.times.min() for recording, moves in zip(recordings, moving, strict=True) if moves)
    last = max(recording.times.max() for recording, moves in zip(recordings, moving, strict=True) if moves)
    ahead = (last - first) * max(0.0, 1 - 1 / speed)
    target = now - ahead if start is None or start == "now" else _moment(start)
    return [
        recording.rebased(recording.times[0] - first + target) if moves else recording
        for recording, moves in zip(recordings, moving, strict=True)
    ]


def publish(
    publisher: Publisher, encoder: Encoder, recordings: Sequence[Recording], speed: float, interrupted: threading.Event
) -> Iterator[int]:
    """Publish the samples of all recordings in the order of their times; yields the number of readings of each.

    Parameters
    ----------
    speed
        Times faster than recorded; infinite for as fast as the broker takes them.
    interrupted
        No further message is begun once it is set.

    Raises
    ------
    PublishError
        If the broker goes away.
    """
    times = np.concatenate([recording.times for recording in recordings])
    machine = np.repeat(np.arange(len(recordings)), [len(recording.times) for recording in recordings])
    row = np.concatenate([np.arange(len(recording.times)) for recording in recordings])
    counts = np.concatenate([np.count_nonzero(~np.isnan(recording.values), axis=1) for recording in recordings])
    order = np.argsort(times, kind="stable")
    first, last = float(times[order[0]]), float(times[order[-1]])
    began = time.monotonic()
    for message in encoder.opening(first):
        publisher.publish(*message)
    for index in order.tolist():
        which, at = int(machine[index]), float(times[index])
        due = began + (at - first) / speed
        while not interrupted.is_set() and (ahead := due - time.monotonic()) > 0:
            publisher.idle(min(ahead, LOOK_UP_SECS))
        if interrupted.is_set():
            return
        for message in encoder.sample(which, at, recordings[which].values[row[index]].tolist()):
            publisher.publish(*message)
        yield int(counts[index])
    for message in encoder.closing(last):
        publisher.publish(*message)


@contextmanager
def _interruption() -> Iterator[threading.Event]:
    """Give an event that the first Ctrl-C sets: what is on its way is sent and counted. A second one aborts."""
    interrupted = threading.Event()

    def note(*_: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, former)

    former = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, former)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        return text, 1883
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise typer.BadParameter(f"{text!r} is no address: write HOST:PORT", param_hint="--broker")
    return host, int(port)


def _pace(text: str) -> float:
    try:
        speed = math.inf if text == "max" else float(text)
    except ValueError:
        speed = 0.0
    if not speed > 0:
        raise typer.BadParameter(f"{text!r} is no speed: write a number above 0, or max", param_hint="--speed")
    return speed


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise typer.BadParameter(
            f"{text!r} is no start: write ISO 8601 with a zone (2026-01-05T06:00Z), now, or keep", param_hint="--start"
        )
    return moment.timestamp()


def _first_line(path: Path) -> str:
    try:
        return path.read_text("utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path}: cannot be read: {error}", param_hint="--password-file") from error
