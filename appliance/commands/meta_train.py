"""``appliance meta-train``: recorded machines → a prior that every machine starts from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from appliance.commands.common import JsonOption, console, errors, plain, write_json

if TYPE_CHECKING:
    from appliance.evaluation.datasets import Skipped
    from appliance.meta.adapter_training import AdapterTraining, DescentOptions
    from appliance.meta.machines import Machine
    from appliance.meta.traced import TracedMachine
    from appliance.meta.train import Training, TrainingOptions, Validated

    M = TypeVar("M", Machine, TracedMachine)

NAMES = "NAME,..."
CHECKPOINT_SUFFIX = ".checkpoint"
Method = Literal["ridge", "maml", "reptile", "leo", "learned_optimizer"]


def meta_train(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Recordings, or a subfolder of them for each dataset.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="For the prior; its network goes beside it, as .onnx.")],
    method: Annotated[Method, typer.Option(help="How a head is made of the labels.")] = "ridge",
    datasets: Annotated[str | None, typer.Option(metavar=NAMES, help="Subfolders; default: all.")] = None,
    leave_out: Annotated[
        str, typer.Option(metavar=NAMES, help="Beginnings of dataset/machine that are kept for testing.")
    ] = "",
    most: Annotated[int, typer.Option(min=1, help="Machines of each dataset, at most.")] = 20,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="At most; it ends earlier where held-out machines say so.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0.0, help="CPU minutes, at most (ridge).")] = None,
    real_share: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Of episodes with a machine's own events.")
    ] = None,
    learn_prior: Annotated[
        bool, typer.Option("--learn-prior", help="Learn what is said without labels, too (ridge).")
    ] = False,
    freeze_encoder: Annotated[
        bool, typer.Option("--freeze-encoder", help="Leave the encoder random: what is training it worth? (ridge)")
    ] = False,
    no_encoder: Annotated[bool, typer.Option("--no-encoder", help="A head on the evidence alone (ridge).")] = False,
    fixed_families: Annotated[
        bool, typer.Option("--fixed-families", help="Always call the same made-up faults faults.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a prior on machines of many datasets, partly on their own events, partly on made-up faults.

    "ridge" trains an encoder of windows with a head. The other methods train how a head descends from labels, on what
    the service itself sees of a machine: that is traced first and kept in cache/ beside FILE. Machines whose licence
    would not let the prior be given away are left out, and one cluster of like machines in five tells when to stop. A
    checkpoint beside FILE is written at each validation: the same command goes on from it.

    Example: appliance meta-train --data recordings --method maml --out maml.safetensors
    """
    # Here, not above: torch takes seconds that --help should not.
    from appliance.meta.adapter_training import DescentOptions  # noqa: PLC0415
    from appliance.meta.encoder import EMBEDDING  # noqa: PLC0415
    from appliance.meta.machines import machines, permitted  # noqa: PLC0415
    from appliance.meta.traced import traced_machines  # noqa: PLC0415
    from appliance.meta.train import TrainingOptions  # noqa: PLC0415

    given = {name: value for name, value in (("steps", steps), ("real_share", real_share)) if value is not None}
    common: dict[str, Any] = {"method": method, "seed": seed, "semantics": not fixed_families, **given}
    of_ridge = {
        "--minutes": minutes,
        "--learn-prior": learn_prior,
        "--freeze-encoder": freeze_encoder,
        "--no-encoder": no_encoder,
    }
    for option, value in of_ridge.items():
        if value and method != "ridge":
            raise typer.BadParameter("only ridge has it: leave it out, or use --method ridge", param_hint=option)
    out.parent.mkdir(parents=True, exist_ok=True)
    with _reading() as (track, skipped):
        trials = permitted(
            data, _split(datasets) or None, most, seed, leave_out=_split(leave_out), skipped=skipped, track=track
        )
        if method == "ridge":
            seen = _parted(data, list(machines(trials, seed, skipped)))
        else:
            traced = _parted(data, list(traced_machines(trials, out.parent / "cache", skipped)))
    if method == "ridge":
        options = TrainingOptions(
            minutes=minutes,
            learn_prior=learn_prior,
            freeze_encoder=freeze_encoder,
            embedding=0 if no_encoder else EMBEDDING,
            **common,
        )
        record = _with_ridge(options, *seen, out)
    else:
        record = _by_gradient(DescentOptions(**common), *traced, out)
    if as_json:
        write_json(record)
        return
    uses = Counter(machine["use"] for machine in record["machines"])
    console.print(
        f"{plain(out)}: best at step {record['best_step']} of {record['steps']}; {uses['train']} machines taught, "
        f"{uses['validate']} held out"
    )


def _parted(data: Path, found: list[M]) -> tuple[list[M], list[M]]:
    """Part machines into those to train on and those to stop by."""
    from appliance.meta.checkpoint import TrainingError  # noqa: PLC0415
    from appliance.meta.machines import held_out_of_training  # noqa: PLC0415

    taught, held = (
        [each for each in found if held_out_of_training(each.cluster) == is_held] for is_held in (False, True)
    )
    if not taught or not held:
        raise TrainingError(
            f"{data}: {len(found)} machines in too few clusters to train on some and stop by others: add recordings"
        )
    return taught, held


def _with_ridge(
    options: TrainingOptions, machines: Sequence[Machine], validation: Sequence[Machine], out: Path
) -> dict[str, Any]:
    from appliance.meta.prior import record_of, write  # noqa: PLC0415
    from appliance.meta.train import Training, episodes_of  # noqa: PLC0415

    training = Training(options, len(machines[0].detectors), *episodes_of(options, machines, validation))

    def told(point: Validated) -> str:
        parts = {f"k={k}": value for k, value in point.by_k.items()} | point.by_kind
        return "  ".join(f"{name} {value:.3f}" for name, value in parts.items())

    with _going_on(training, options.steps, out, told) as (report, stepped):
        model = training.run(report, stepped)
    record = record_of(training, machines, validation)
    write(out, model, record)
    return record


def _by_gradient(
    options: DescentOptions, machines: Sequence[TracedMachine], validation: Sequence[TracedMachine], out: Path
) -> dict[str, Any]:
    from appliance.meta.adapter_training import AdapterTraining  # noqa: PLC0415
    from appliance.meta.prior import descent_record, write_descent  # noqa: PLC0415
    from appliance.meta.traced_episodes import episodes_of  # noqa: PLC0415

    taught, held = episodes_of(machines, validation, options.seed, options.real_share, semantics=options.semantics)
    training = AdapterTraining(options, 2 * machines[0].detectors, taught, held)
    with _going_on(training, options.steps, out, lambda _: "") as (report, stepped):
        meta = training.run(report, stepped)
    record = descent_record(training, machines, validation)
    write_descent(out, meta, record)
    return record


@contextmanager
def _going_on(
    training: Training | AdapterTraining, steps: int, out: Path, told: Callable[[Any], str]
) -> Iterator[tuple[Callable[[Any], None], Callable[[], None]]]:
    """Go on from a checkpoint if there is one, write one at each validation, and remove it in the end."""
    checkpoint = out.with_name(out.name + CHECKPOINT_SUFFIX)
    if checkpoint.exists():
        training.resume(checkpoint)
        errors.print(f"going on from step {training.step} of {plain(checkpoint)}")
    with _progress() as progress:
        bar = progress.add_task("learning", total=steps, completed=training.step)

        def report(point: Any) -> None:
            training.save(checkpoint)
            loss = "" if point.loss is None else f"  loss {point.loss:.3f}"
            best = "  best" if point is training.best else ""
            progress.console.print(
                f"step {point.step:5}{loss}  held out {point.average_precision:.4f}  {told(point)}{best}"
            )

        yield report, lambda: progress.advance(bar)
    checkpoint.unlink(missing_ok=True)


@contextmanager
def _reading() -> Iterator[tuple[Callable[[Sequence[object]], Iterable[object]], Callable[[Skipped], None]]]:
    """Show what is read, and say at the end what is left out."""
    skipped: list[Skipped] = []
    with _progress() as progress:

        def track(entries: Sequence[object]) -> Iterable[object]:
            return progress.track(entries, description="machines")

        yield track, skipped.append
    for (dataset, reason), count in sorted(Counter((each.dataset, each.reason) for each in skipped).items()):
        errors.print(f"{plain(dataset)}: {count} left out: {plain(reason)}", highlight=False)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )


def _split(text: str | None) -> list[str]:
    return [part for each in (text or "").split(",") if (part := each.strip())]
