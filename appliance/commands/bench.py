"""``appliance bench``: measure what the appliance costs, each figure against a reference of the same run."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import orjson
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from appliance.commands.bench_adapt import adapt
from appliance.commands.bench_detect import detect
from appliance.commands.bench_encode import encode
from appliance.commands.common import JsonOption, console, write_json
from appliance.commands.processes import StartError, appliance, broker, process, running_status
from appliance.config import Settings, load
from appliance.ingest.publisher import Publisher

bench = typer.Typer(help="Measure what the appliance costs on this machine.", no_args_is_help=True)
bench.command()(detect)
bench.command()(adapt)
bench.command()(encode)

WARMUP_WINDOWS = 110
LENGTH, HOP = 64, 16
PATIENCE_SECS = 300.0

CONFIG = """\
log_level = "warning"
[mqtt]
port = {port}
[[source]]
name = "bench"
topic = "bench/{{machine}}"
format = {{ type = "json" }}
period_secs = 1
length = {length}
hop = {hop}
warmup_hours = {warmup}
[storage]
data_dir = "{folder}/data"
"""

IDLE_SUBSCRIBER = """\
import sys
import paho.mqtt.client as mqtt
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="idle", protocol=mqtt.MQTTv5)
client.on_connect = lambda client, *_: client.subscribe("bench/+", qos=1)
client.on_message = lambda *_: None
client.connect("127.0.0.1", int(sys.argv[1]))
client.loop_forever()
"""
"""The reference: a paho subscriber whose callback does nothing, acknowledging as paho does by itself."""


class Usage(NamedTuple):
    """What a process has used since it began."""

    cpu_secs: float
    written_mb: float


@bench.callback()
def group() -> None:
    """Measure what the appliance costs on this machine."""


@bench.command()
def ingest(
    machines: Annotated[int, typer.Option(min=1, max=1000)] = 100,
    channels: Annotated[int, typer.Option(min=1, max=500)] = 10,
    samples: Annotated[int, typer.Option(min=64, help="Samples per machine that are measured, after learning.")] = 600,
    as_json: JsonOption = False,
) -> None:
    """Measure CPU per QoS 1 message, memory and bytes written, against a paho subscriber that does nothing.

    The machines first learn; only what comes after is measured: journal, acknowledgement, windows, scores, database.

    Example: appliance bench ingest --machines 20
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="appliance-bench-")))
        port = stack.enter_context(broker(folder))
        config = folder / "appliance.toml"
        warmup = WARMUP_WINDOWS * HOP / 3600
        config.write_text(CONFIG.format(port=port, folder=folder, length=LENGTH, hop=HOP, warmup=warmup))
        settings = load(config)
        stack.enter_context(appliance(config, settings, folder))
        pid = running_status(settings)["pid"]
        publisher = stack.enter_context(Publisher("127.0.0.1", port))
        fleet = _Fleet(machines, channels)
        learning = WARMUP_WINDOWS * HOP + 2 * LENGTH
        progress = stack.enter_context(Progress(console=Console(stderr=True), transient=True))
        bar = progress.add_task("learning", total=machines * learning)
        _publish(publisher, fleet.messages(learning), lambda: progress.advance(bar, 1000))
        _drained(settings)
        bar = progress.add_task("measuring the appliance", total=machines * samples)
        before, began = usage(pid), time.monotonic()
        _publish(publisher, fleet.messages(samples), lambda: progress.advance(bar, 1000))
        _drained(settings)
        seconds, after = time.monotonic() - began, usage(pid)
        status = running_status(settings)
        idle = stack.enter_context(process([sys.executable, "-c", IDLE_SUBSCRIBER, str(port)], folder / "idle.log"))
        time.sleep(1.0)
        bar = progress.add_task("measuring the reference", total=machines * samples)
        idle_before = usage(idle.pid)
        # Both subscribe now; only the reference's own CPU is read.
        _publish(publisher, fleet.messages(samples), lambda: progress.advance(bar, 1000))
        time.sleep(1.0)
        idle_after = usage(idle.pid)
    count = machines * samples
    ours = (after.cpu_secs - before.cpu_secs) / count * 1e6
    reference = (idle_after.cpu_secs - idle_before.cpu_secs) / count * 1e6
    figures = {
        "machines": machines,
        "channels": channels,
        "messages": count,
        "messages_per_sec": round(count / seconds),
        "cpu_us_per_message": round(ours, 1),
        "cpu_us_per_message_paho_idle": round(reference, 1),
        "ratio": round(ours / reference, 2),
        "rss_mb": status["rss_mb"],
        "written_mb_per_million_readings": round((after.written_mb - before.written_mb) / (count * channels) * 1e6, 1),
    }
    if as_json:
        write_json(figures)
        return
    table = Table("figure", "value", show_header=False)
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), f"{value:,}")
    console.print(table)


def usage(pid: int) -> Usage:
    """Read CPU time and bytes written to storage of a process from /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    written = int(dict(line.split(": ") for line in lines)["write_bytes"])
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), written / 2**20)


class _Fleet:
    """Machines that hum: sines with noise, one JSON message per machine and second."""

    def __init__(self, machines: int, channels: int) -> None:
        self._topics = [f"bench/machine-{number:03}" for number in range(machines)]
        self._names = [f"channel_{number}" for number in range(channels)]
        self._rng = np.random.default_rng(1)
        self._time = int(time.time()) - 86_400

    def messages(self, samples: int) -> Iterator[tuple[str, bytes]]:
        shape = (len(self._topics), len(self._names))
        phases = np.arange(shape[1]) + 1
        for _ in range(samples):
            self._time += 1
            swing = np.sin(self._time / (10.0 * phases))
            values = np.round(20 + 5 * swing + self._rng.normal(size=shape), 3).tolist()
            for topic, row in zip(self._topics, values, strict=True):
                yield topic, orjson.dumps({"time": self._time, **dict(zip(self._names, row, strict=True))})


def _publish(publisher: Publisher, messages: Iterator[tuple[str, bytes]], advance: Callable[[], Any]) -> None:
    for number, (topic, payload) in enumerate(messages, start=1):
        publisher.publish(topic, payload)
        if number % 1000 == 0:
            advance()
    publisher.drain()


def _drained(settings: Settings) -> None:
    until = time.monotonic() + PATIENCE_SECS
    time.sleep(3.0)  # a status written after the last message
    while running_status(settings).get("backlog", 1):
        if time.monotonic() > until:
            raise StartError("the appliance did not finish what was published")
        time.sleep(0.2)
    time.sleep(1.0)
