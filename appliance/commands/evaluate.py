"""``appliance evaluate``: measures the appliance, and what it is compared with, on a folder of recordings."""

from __future__ import annotations

import difflib
import os
import shlex
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from appliance.commands import sanity as known_answers
from appliance.commands.common import JsonOption, console, duration, errors, plain, write_json
from appliance.errors import ResultsError

if TYPE_CHECKING:
    from appliance.evaluation.datasets import Entry
    from appliance.evaluation.runner import Measured, Request

QUICK_MACHINES = (
    ("smd", "machine-1-6"),
    ("skab", "valve2"),
    ("tep", "fault04"),
    ("jumpstarter_d2", "service25"),
)
QUICK_METHODS = ("appliance", "evidence_mean", "isolation_forest", "river_hst", "random")
NAMES = "NAME,..."


def evaluate(
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Recordings, or a subfolder of them for each dataset.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="For results.csv, summary.json, report.html and the cache.")
    ] = None,
    datasets: Annotated[str | None, typer.Option(metavar=NAMES, help="Subfolders; default: all.")] = None,
    methods: Annotated[str | None, typer.Option(metavar=NAMES, help="Default: all that suit --k.")] = None,
    k: Annotated[str, typer.Option(metavar="N,...", help="Labelled events to learn from; 0 is always in.")] = "0",
    prior: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Of a method that descends, such as adapt:maml. Repeat: of several, a machine takes the first that "
            "has not seen its dataset, else its cluster.",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="At most so many, of methods that draw; default: what each asks for.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; default: one for each core.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Four machines, five methods, one seed.")] = False,
    sanity: Annotated[
        bool, typer.Option("--sanity", help="Instead, try meta-learning on problems with known answers; no --data.")
    ] = False,
    held_out_weights: Annotated[
        bool, typer.Option("--held-out-weights", help="Instead, choose each dataset's scale weights on the others.")
    ] = False,
    held_out_prior: Annotated[
        bool, typer.Option("--held-out-prior", help="Instead, choose how far labels are trusted on other datasets.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure the appliance, and what it is compared with, on recorded machines with known events.

    A recording's events are in its labels, in its own list, or in events.csv beside it (machine, start, end). What was
    measured is kept: after an interruption or a change only the rest is done. Exit status: 0 fine, 1 a machine failed.

    Example: appliance evaluate --data recordings --out out/evaluation --k 0,1,5

    --sanity trains the meta-learning algorithms on sine waves and handwritten digits: minutes, or seconds with --quick.

    Example: appliance evaluate --sanity --quick
    """
    if sanity:
        if data is not None or out is not None:
            raise typer.BadParameter("it makes its own problems: leave --data and --out out", param_hint="--sanity")
        known_answers.sanity(quick, as_json)
        return
    if data is None or out is None:
        missing = "--data" if data is None else "--out"
        raise typer.BadParameter("needed, unless for --sanity: name a folder", param_hint=missing)
    try:
        from appliance.evaluation.outputs import notes, write_outputs  # noqa: PLC0415 - slow to load, as what follows
    except ModuleNotFoundError as missing:
        raise ResultsError(f"the report needs {missing.name}: pip install 'appliance[evaluate,train]'") from missing
    from appliance.evaluation.datasets import find  # noqa: PLC0415
    from appliance.evaluation.runner import Request  # noqa: PLC0415
    from appliance.evaluation.terminal import summary_table, targets_table  # noqa: PLC0415

    ks = _ks(k)
    asked, priors = _methods(methods, quick, ks), tuple(prior or ())
    _check(asked, priors)
    entries = find(data, None if datasets is None else _split(datasets))
    if quick:
        entries = _quick(entries)
    if held_out_weights:
        _hold_out_weights(entries, out, as_json)
        return
    if held_out_prior:
        _hold_out_prior(entries, out, ks, as_json)
        return
    request = Request(asked, ks, out / "cache", 1 if quick else seeds, priors)
    try:
        request.cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(f"{out}: cannot be written to: {error.strerror}; name another folder") from error
    options = {"--data": data, "--out": out, "--datasets": datasets, "--methods": methods, "--k": k, "--seeds": seeds}
    given = [text for option, value in options.items() if value is not None for text in (option, str(value))]
    given += [text for path in priors for text in ("--prior", str(path))]
    machines = list(_run(entries, request, jobs or os.cpu_count() or 1))
    for note in (*_skipped(machines), *notes(machines)):
        errors.print(plain(note), soft_wrap=True, highlight=False)
    summary = write_outputs(out, machines, shlex.join(["appliance", "evaluate", *given, *["--quick"] * quick]))
    if as_json:
        import msgspec  # noqa: PLC0415

        write_json(msgspec.to_builtins(summary))
    else:
        console.print(summary_table(summary))
        console.print(targets_table(summary))
        console.print(f"Report: {plain(out / 'report.html')}", soft_wrap=True, highlight=False)
    if any(each.failed for each in machines):
        raise typer.Exit(1)


def _run(entries: Sequence[Entry], request: Request, jobs: int) -> Iterator[Measured]:
    """Measure machines; tell a person at the terminal what goes on, and anybody else when a dataset is done."""
    from appliance.evaluation.pool import run_all  # noqa: PLC0415

    done: dict[str, list[Measured]] = defaultdict(list)
    total = {entry.dataset: sum(other.dataset == entry.dataset for other in entries) for entry in entries}
    began = time.monotonic()
    columns = BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn(compact=True), TextColumn("{task.fields[now]}")
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        bar = progress.add_task("machines", total=len(entries), now="")

        def watch(running: Iterable[Entry]) -> None:
            progress.update(bar, now=plain(", ".join(f"{entry.dataset} {entry.path.stem}" for entry in running)))

        for entry, measured in run_all(entries, request, min(jobs, len(entries)), watch):
            progress.advance(bar)
            done[entry.dataset].append(measured)
            if len(done[entry.dataset]) == total[entry.dataset] and not errors.is_terminal:
                line = _in_words(entry.dataset, done[entry.dataset], time.monotonic() - began)
                errors.print(line, highlight=False, soft_wrap=True)
            yield measured


def _hold_out_weights(entries: Sequence[Entry], out: Path, as_json: bool) -> None:
    """Write held_out_weights.json and print what the scale weights reach on datasets that did not choose them."""
    import msgspec  # noqa: PLC0415

    from appliance.evaluation.datasets import Skipped, load  # noqa: PLC0415
    from appliance.evaluation.held_out import held_out, judge  # noqa: PLC0415
    from appliance.evaluation.terminal import held_out_table  # noqa: PLC0415

    judged = []
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        for entry in progress.track(entries, description="machines"):
            trial = load(entry)
            if not isinstance(trial, Skipped) and (machine := judge(trial, out / "cache")) is not None:
                judged.append(machine)
    found = held_out(judged)
    out.mkdir(parents=True, exist_ok=True)
    (out / "held_out_weights.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    if as_json:
        write_json(msgspec.to_builtins(found))
    else:
        console.print(held_out_table(found))


def _hold_out_prior(entries: Sequence[Entry], out: Path, ks: Sequence[int], as_json: bool) -> None:
    """Print what labels bring with a prior that other datasets chose; write that, and the prior that all choose."""
    import msgspec  # noqa: PLC0415

    from appliance.bundle.manifest import About, Dataset  # noqa: PLC0415
    from appliance.bundle.packing import write_inputs  # noqa: PLC0415
    from appliance.evaluation.held_out_prior import chosen_on_all, held_out_priors  # noqa: PLC0415
    from appliance.evaluation.runner import prior_gains  # noqa: PLC0415
    from appliance.evaluation.terminal import held_out_prior_table  # noqa: PLC0415

    if not any(ks):
        raise typer.BadParameter("a prior says how far labels are trusted: ask for --k 1,2,5,10", param_hint="--k")
    machines = []
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        for entry in progress.track(entries, description="machines"):
            gains = prior_gains(entry, out / "cache", ks)
            if gains is not None:
                machines.append(gains)
    found = held_out_priors(machines)
    out.mkdir(parents=True, exist_ok=True)
    (out / "held_out_prior.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    metrics = {f"gain, {each.tested_on}, k = {k}": gain.value for each in found for k, gain in each.gain.items()}
    trained_on = sorted({(each.dataset, each.licence) for each in machines})
    about = About(
        name="adaptation",
        version=1,
        made_at=datetime.now(UTC),
        datasets=tuple(Dataset(*each) for each in trained_on),
        metrics=metrics,
        training={"ks": list(ks), "choice": "appliance evaluate --held-out-prior"},
    )
    write_inputs(out, about, chosen_on_all(machines).tensors())
    if as_json:
        write_json(msgspec.to_builtins(found))
    else:
        console.print(held_out_prior_table(found))
        console.print(
            f"The prior that all of them choose: {plain(out / 'prior.safetensors')}; look through about.json, then "
            "appliance bundle pack",
            soft_wrap=True,
            highlight=False,
        )


def _skipped(machines: Iterable[Measured]) -> Iterator[str]:
    """Say how many machines of a dataset the protocol leaves out, and for one of them why."""
    gathered: dict[str, list[Measured]] = defaultdict(list)
    for each in machines:
        if each.skipped is not None:
            gathered[each.dataset].append(each)
    for dataset, those in sorted(gathered.items()):
        first = min(those, key=lambda each: each.machine)
        yield f"{dataset}: {len(those)} machines skipped, such as {first.machine}: {first.skipped}"


def _in_words(dataset: str, machines: Sequence[Measured], secs: float) -> str:
    skipped = sum(each.skipped is not None for each in machines)
    failed = sum(bool(each.failed) for each in machines)
    computed = sum(each.computed for each in machines)
    return (
        f"{plain(dataset)}: {len(machines)} machines, {skipped} skipped, {failed} failed; "
        f"{computed} measurements were new; {duration(secs)} since the start"
    )


def _quick(entries: Sequence[Entry]) -> list[Entry]:
    """Four machines: known short ones as far as they are there, then the first."""
    ranked = sorted(entries, key=lambda entry: (entry.dataset, entry.path.stem) not in QUICK_MACHINES)
    return ranked[: len(QUICK_MACHINES)]


def _methods(text: str | None, quick: bool, ks: Sequence[int]) -> tuple[str, ...]:
    from appliance.evaluation.adapted import ADAPTED  # noqa: PLC0415
    from appliance.evaluation.baselines import METHODS  # noqa: PLC0415
    from appliance.evaluation.descended import DESCENDED  # noqa: PLC0415
    from appliance.evaluation.methods import MissingExtra  # noqa: PLC0415
    from appliance.evaluation.service import APPLIANCE  # noqa: PLC0415

    usual = (APPLIANCE, *METHODS, *ADAPTED)
    if text is None:
        return QUICK_METHODS if quick else usual if any(ks) else (APPLIANCE, *METHODS)
    known = (*usual, *DESCENDED)
    for name in (asked := _split(text)):
        if name not in known:
            near = difflib.get_close_matches(name, known, 1) or [", ".join(known)]
            raise typer.BadParameter(f"there is no method {name}; did you mean {near[0]}?", param_hint="--methods")
        with suppress(MissingExtra):
            if not any(ks) and (
                name in ADAPTED or name in DESCENDED or (name in METHODS and METHODS[name]().needs_labels)
            ):
                raise typer.BadParameter(f"{name} learns from labelled events: ask for --k 1", param_hint="--k")
    return tuple(dict.fromkeys(asked))


def _check(methods: Sequence[str], priors: Sequence[Path]) -> None:
    """Refuse priors that no method uses, methods that have none, and files that are none, before anything is done."""
    from appliance.evaluation.descended import DESCENDED, read  # noqa: PLC0415

    descending = [name for name in methods if name in DESCENDED]
    if descending and not priors:
        raise typer.BadParameter(f"{descending[0]} needs one: make it with appliance meta-train", param_hint="--prior")
    if priors and not descending:
        raise typer.BadParameter(f"no method uses it: ask for --methods {next(iter(DESCENDED))}", param_hint="--prior")
    for path in priors:
        read(path)


def _ks(text: str) -> tuple[int, ...]:
    if not all(number.isdecimal() for number in _split(text)):
        raise typer.BadParameter(f"{text!r}: write numbers of events, such as 0,1,5", param_hint="--k")
    return tuple(sorted({0, *map(int, _split(text))}))


def _split(text: str) -> list[str]:
    return [part for each in text.split(",") if (part := each.strip())]
