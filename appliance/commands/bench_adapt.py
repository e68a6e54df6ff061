"""``appliance bench adapt``: what it costs to learn from a label, from what is stored to a head in service."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NamedTuple, TypeVar

import numpy as np
import typer

from appliance.commands.bench_detect import HOP, LENGTH, hum
from appliance.commands.common import JsonOption, console, list_table, write_json

CHANNELS = 10
METHODS = "ridge, prototype, maml, reptile, leo, learned_optimizer"
EVENTS, EVENT_WINDOWS = 5, 20
STRANGE = 6.0
"""By so much, in spreads of the noise, two channels rise during an event."""
REPEATS, STARTS = 9, 3
"""Of what runs in this process, and of what starts one of its own."""
_APART = ("descent_ms", "process_ms", "call_ms", "peak_mb")
"""What is measured of a process of its own."""
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
    methods: Annotated[str, typer.Option(metavar="NAME,...", help="What to measure.")] = METHODS,
    as_json: JsonOption = False,
) -> None:
    """Measure CPU and memory of learning from five labelled events, for each adapter.

    "Head" is the adapter's CPU in this process, "ranking" that of all stored normal windows under the new head for the
    calibration, "guard" plays the old and the new head over all of them; "memory" is what this process holds more than
    before. What descends does so in a process of its own, from made-up meta-parameters: "descent" and "process" are its
    CPU, of the descent and of all, "call" the time on the clock, "peak" its memory. Medians of nine runs, of three that
    start a process.

    Example: appliance bench adapt --windows 4000
    """
    stored = _stored(windows, channels)
    rows = [_measure(name.strip(), stored, windows, channels) for name in methods.split(",")]
    if as_json:
        write_json(rows)
        return
    table = list_table()
    table.add_column("adapter\n", no_wrap=True)
    for what in ("head", "ranking", "guard", "memory", "descent", "process", "call", "peak"):
        table.add_column(f"{what}\n{'MB' if what in {'memory', 'peak'} else 'ms'}", justify="right")
    for row in rows:
        apart = (row[key] for key in _APART)
        table.add_row(
            row["adapter"],
            f"{row['head_ms']:.1f}",
            f"{row['calibration_ms']:.1f}",
            f"{row['rehearsal_ms']:.1f}",
            f"{row['memory_mb']:+.1f}",
            *("" if value is None else f"{value:.0f}" for value in apart),
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


class _Descents:
    """A solver that remembers what each process took."""

    def __init__(self) -> None:
        from appliance.config import AdaptationSettings  # noqa: PLC0415
        from appliance.solver import Solver  # noqa: PLC0415

        limits = AdaptationSettings()
        self._solver = Solver(limits.worker_secs, limits.worker_mb)
        self._used: list[Any] = []

    def __call__(self, method: str, meta: Any, task: Any) -> Any:
        part = self._solver(method, meta, task)
        self._used.append(self._solver.used)
        return part

    def medians(self) -> dict[str, float | None]:
        if not self._used:
            return dict.fromkeys(_APART)
        *secs, peak_mb = np.median(self._used, axis=0).tolist()
        return dict(zip(_APART, [*(round(1e3 * each, 1) for each in secs), round(peak_mb, 1)], strict=True))


def _adapter(name: str, detectors: int, solver: _Descents) -> Any:
    """Make an adapter, with meta-parameters of no meaning where it needs some."""
    from appliance.adapt.adapters import ADAPTERS  # noqa: PLC0415
    from appliance.adapt.adapters.descending import METHODS, Descending, shapes  # noqa: PLC0415

    if name in ADAPTERS:
        return ADAPTERS[name]()
    if name not in METHODS:
        raise typer.BadParameter(f"{name} is no adapter; there are {', '.join([*ADAPTERS, *METHODS])}")
    rng = np.random.default_rng(1)
    meta = {each: 0.05 * rng.normal(size=shape) for each, shape in shapes(name, 2 * detectors).items()}
    return Descending(name, meta, solver)


def _measure(name: str, stored: Stored, windows: int, channels: int) -> dict[str, Any]:
    from appliance.adapt.adapters import ADAPTERS  # noqa: PLC0415
    from appliance.adapt.prior import Prior  # noqa: PLC0415
    from appliance.adapt.promote import Budget, Rehearsal  # noqa: PLC0415
    from appliance.adapt.support import Support  # noqa: PLC0415
    from appliance.incidents import AlertRules  # noqa: PLC0415
    from appliance.service import rss_mb  # noqa: PLC0415

    detector, warm_up, past, spans = stored
    solver = _Descents()
    adapter = _adapter(name, warm_up.detectors, solver)
    repeats = REPEATS if name in ADAPTERS else STARTS
    ends = np.arange(len(past), dtype=np.float64) * HOP
    per_week = Budget(1.0, 7 * 86_400.0 / HOP)
    before = rss_mb()
    support = Support.of(warm_up, past, spans, straddle=LENGTH // HOP)
    head, head_ms = _median_ms(partial(adapter.adapt, Prior(), support), repeats)
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
        "rss_mb": round(rss_mb(), 1),
        **solver.medians(),
    }


def _median_ms(do: Callable[[], T], repeats: int = REPEATS) -> tuple[T, float]:
    """Return what it gives, and the median of the CPU milliseconds that it takes."""
    taken = []
    for _ in range(repeats):
        began = time.process_time()
        found = do()
        taken.append(1e3 * (time.process_time() - began))
    return found, float(np.median(taken))
