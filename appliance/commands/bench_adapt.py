"""``appliance bench adapt``: what it costs to learn from a label, from what is stored to a head in service."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NamedTuple, TypeVar

import numpy as np
import typer
from rich.table import Table

from appliance.commands.bench_detect import HOP, LENGTH, hum
from appliance.commands.common import JsonOption, console, write_json

CHANNELS = 10
EVENTS, EVENT_WINDOWS = 5, 20
STRANGE = 6.0
"""By so much, in spreads of the noise, two channels rise during an event."""
REPEATS = 9
T = TypeVar("T")


class Stored(NamedTuple):
    """A machine with labelled events, as the service has it when the last label arrives."""

    detector: Any
    warm_up: Any
    past: Any
    spans: list[Any]


def adapt(
    windows: Annotated[int, typer.Option(min=500, help="Stored since the warm-up, which has as many.")] = 2000,
    channels: Annotated[int, typer.Option(min=1, help="Of the machine.")] = CHANNELS,
    as_json: JsonOption = False,
) -> None:
    """Measure CPU and memory of learning from five labelled events, for each adapter that runs in the service.

    "Head" is the adapter alone, "calibration" ranks all stored normal windows under the new head, "rehearsal" plays the
    old and the new head over all of them for the guard. Medians of nine runs; memory is what the process holds more
    than before.

    Example: appliance bench adapt --windows 4000
    """
    from appliance.adapt.adapters import ADAPTERS  # noqa: PLC0415 - scipy takes a second that --help should not

    stored = _stored(windows, channels)
    rows = [_measure(name, make(), stored, windows, channels) for name, make in ADAPTERS.items()]
    if as_json:
        write_json(rows)
        return
    table = Table("adapter", "head ms", "calibration ms", "together", "rehearsal ms", "memory MB")
    for row in rows:
        table.add_row(
            row["adapter"],
            f"{row['head_ms']:.1f}",
            f"{row['calibration_ms']:.1f}",
            f"{row['head_ms'] + row['calibration_ms']:.1f}",
            f"{row['rehearsal_ms']:.1f}",
            f"{row['memory_mb']:+.1f}",
        )
    console.print(table)


def _stored(windows: int, channels: int) -> Stored:
    from appliance.adapt.support import Span  # noqa: PLC0415
    from appliance.detect.detector import DetectorOptions  # noqa: PLC0415
    from appliance.detect.fitting import fit  # noqa: PLC0415
    from appliance.detect.scales import Past  # noqa: PLC0415
    from appliance.detect.traces import Traces  # noqa: PLC0415

    cells = windows * HOP + LENGTH
    series = hum(2 * cells, channels)
    detector, warm_up = fit(series[:, :cells], length=LENGTH, hop=HOP, seed=1, options=DetectorOptions())
    apart = windows // (EVENTS + 1)
    spans = [Span(apart * n, apart * n + EVENT_WINDOWS, "fault") for n in range(1, EVENTS + 1)]
    for span in spans:
        series[:2, cells + span.first * HOP : cells + span.end * HOP] += STRANGE
    past, seen = Past(LENGTH, HOP), []
    for start in range(cells, 2 * cells - LENGTH + 1, HOP):
        window = series[:, start : start + LENGTH].copy()
        seen.append(detector.score(window, past))
        past.extend(window[:, :HOP].astype(np.float32))
    strangeness = np.array([verdict.strangeness for verdict in seen])
    return Stored(
        detector, warm_up, Traces(strangeness, np.array([each.traits for each in seen]), warm_up.detectors), spans
    )


def _measure(name: str, adapter: Any, stored: Stored, windows: int, channels: int) -> dict[str, Any]:
    from appliance.adapt.prior import Prior  # noqa: PLC0415
    from appliance.adapt.promote import Budget, Rehearsal  # noqa: PLC0415
    from appliance.adapt.support import Support  # noqa: PLC0415
    from appliance.incidents import AlertRules  # noqa: PLC0415
    from appliance.service import rss_mb  # noqa: PLC0415

    detector, warm_up, past, spans = stored
    ends = np.arange(len(past), dtype=np.float64) * HOP
    per_week = Budget(1.0, 7 * 86_400.0 / HOP)
    before = rss_mb()
    support = Support.of(warm_up, past, spans, straddle=LENGTH // HOP)
    head, head_ms = _median_ms(partial(adapter.adapt, Prior(), support))
    calibrator, calibration_ms = _median_ms(partial(detector.recalibrated, head, warm_up, past[support.normal]))

    def rehearse() -> None:
        for each, its in ((detector.head, detector.calibrator), (head, calibrator)):
            Rehearsal(each, support, ends, rules=AlertRules(), budget=per_week).show(its)

    _, rehearsal_ms = _median_ms(rehearse)
    return {
        "adapter": name,
        "windows": windows,
        "channels": channels,
        "head_ms": round(head_ms, 2),
        "calibration_ms": round(calibration_ms, 2),
        "rehearsal_ms": round(rehearsal_ms, 2),
        "memory_mb": round(rss_mb() - before, 1),
    }


def _median_ms(do: Callable[[], T]) -> tuple[T, float]:
    """Return what it gives, and the median of the CPU milliseconds that it takes."""
    taken = []
    for _ in range(REPEATS):
        began = time.process_time()
        found = do()
        taken.append(1e3 * (time.process_time() - began))
    return found, float(np.median(taken))
