"""``appliance meta-train``: recorded machines → a prior that every machine starts from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from appliance.commands.common import JsonOption, console, errors, plain, write_json

if TYPE_CHECKING:
    from appliance.evaluation.datasets import Skipped
    from appliance.meta.machines import Machine
    from appliance.meta.train import TrainingOptions, Validated

NAMES = "NAME,..."
CHECKPOINT_SUFFIX = ".checkpoint"
Method = Literal["ridge", "maml", "reptile", "leo", "learned_optimizer"]


def meta_train(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Recordings, or a subfolder of them for each dataset.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="For the prior; its network goes beside it, as .onnx.")],
    method: Annotated[Method, typer.Option(help="How a head is made of the labels.")] = "ridge",
    start: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A ridge prior whose encoder the other methods build on.")
    ] = None,
    datasets: Annotated[str | None, typer.Option(metavar=NAMES, help="Subfolders; default: all.")] = None,
    leave_out: Annotated[
        str, typer.Option(metavar=NAMES, help="Beginnings of dataset/machine that are kept for testing.")
    ] = "",
    most: Annotated[int, typer.Option(min=1, help="Machines of each dataset, at most.")] = 20,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    steps: Annotated[int, typer.Option(min=1, help="At most; it ends earlier where held-out machines say so.")] = 5000,
    minutes: Annotated[float | None, typer.Option(min=0.0, help="CPU minutes, at most (ridge).")] = None,
    real_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Of episodes with a machine's own events.")
    ] = 0.25,
    learn_prior: Annotated[bool, typer.Option("--learn-prior", help="Learn what is said without labels, too.")] = False,
    freeze_encoder: Annotated[
        bool, typer.Option("--freeze-encoder", help="Leave the encoder random: what is training it worth?")
    ] = False,
    no_encoder: Annotated[bool, typer.Option("--no-encoder", help="A head on the evidence alone.")] = False,
    fixed_families: Annotated[
        bool, typer.Option("--fixed-families", help="Always call the same made-up faults faults.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a prior on machines of many datasets, partly on their own events, partly on made-up faults.

    "ridge" trains encoder and head together. The other methods train a head that descends from labels, on the features
    of such a prior (--start). Machines whose licence would not let the prior be given away are left out, and one
    cluster of like machines in five tells when to stop. A checkpoint beside FILE is written at each validation: the
    same command goes on from it.

    Example: appliance meta-train --data recordings --out prior.safetensors --minutes 30
    """
    # Here, not above: torch takes seconds that --help should not.
    from appliance.meta.checkpoint import TrainingError  # noqa: PLC0415
    from appliance.meta.encoder import EMBEDDING  # noqa: PLC0415
    from appliance.meta.machines import held_out_of_training  # noqa: PLC0415
    from appliance.meta.train import TrainingOptions  # noqa: PLC0415

    if (method == "ridge") != (start is None):
        raise typer.BadParameter("ridge needs no --start, every other method does: name a prior that ridge made")
    options = TrainingOptions(
        method=method,
        seed=seed,
        steps=steps,
        minutes=minutes,
        real_share=real_share,
        learn_prior=learn_prior,
        freeze_encoder=freeze_encoder,
        embedding=0 if no_encoder else EMBEDDING,
        semantics=not fixed_families,
    )
    found = _machines(data, _split(datasets) or None, most, seed, _split(leave_out))
    machines, validation = (
        [machine for machine in found if held_out_of_training(machine.cluster) == held] for held in (False, True)
    )
    if not machines or not validation:
        raise TrainingError(
            f"{data}: {len(found)} machines in too few clusters to train on some and stop by others: add recordings"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    train = _with_ridge if start is None else _by_gradient
    record = train(options, start, machines, validation, out)
    if as_json:
        write_json(record)
        return
    console.print(
        f"{plain(out)}: {record['weights']:,} weights in the encoder, best at step {record['best_step']} of "
        f"{record['steps']}; {len(machines)} machines taught, {len(validation)} held out"
    )


def _with_ridge(
    options: TrainingOptions, _: Path | None, machines: Sequence[Machine], validation: Sequence[Machine], out: Path
) -> dict[str, Any]:
    from appliance.meta.prior import record_of, write  # noqa: PLC0415
    from appliance.meta.train import Training, episodes_of  # noqa: PLC0415

    training = Training(options, len(machines[0].detectors), *episodes_of(options, machines, validation))
    checkpoint = out.with_name(out.name + CHECKPOINT_SUFFIX)
    if checkpoint.exists():
        training.resume(checkpoint)
        errors.print(f"going on from step {training.step} of {plain(checkpoint)}")
    with _progress() as progress:
        bar = progress.add_task("learning", total=options.steps, completed=training.step)

        def report(point: Validated) -> None:
            training.save(checkpoint)
            parts = {f"k={k}": value for k, value in point.by_k.items()} | point.by_kind
            by_part = "  ".join(f"{name} {value:.3f}" for name, value in parts.items())
            best = "  best" if point is training.best else ""
            progress.console.print(
                f"step {point.step:5}  loss {point.loss:.3f}  held out {point.average_precision:.4f}  {by_part}{best}"
            )

        model = training.run(report, lambda: progress.advance(bar))
    record = record_of(training, machines, validation)
    write(out, model, record)
    checkpoint.unlink(missing_ok=True)
    return record


def _by_gradient(
    options: TrainingOptions, start: Path | None, machines: Sequence[Machine], validation: Sequence[Machine], out: Path
) -> dict[str, Any]:
    from appliance.meta.adapters import AdapterTraining  # noqa: PLC0415
    from appliance.meta.prior import machines_in, read, write  # noqa: PLC0415
    from appliance.meta.train import episodes_of  # noqa: PLC0415

    assert start is not None
    prior = read(start)
    training = AdapterTraining(options, prior.model, *episodes_of(options, machines, validation))
    checkpoint = out.with_name(out.name + CHECKPOINT_SUFFIX)
    if checkpoint.exists():
        training.resume(checkpoint)
        errors.print(f"going on from step {training.step} of {plain(checkpoint)}")
    with _progress() as progress:
        bar = progress.add_task("learning", total=options.steps, completed=training.step)

        def report(step: int, loss: float, held_out: float) -> None:
            training.save(checkpoint)
            progress.console.print(f"step {step:5}  loss {loss:.3f}  held out {held_out:.4f}")

        adapter = training.run(report, lambda: progress.advance(bar))
    record = prior.record | {
        "options": prior.record["options"] | {"method": options.method},
        "adapter_options": training.record,
        "machines": prior.record["machines"] + machines_in(machines, validation),
        "steps": training.step,
        "best_step": training.best_step,
        "curve": [list(point) for point in training.curve],
    }
    write(out, prior.model, record, adapter)
    checkpoint.unlink(missing_ok=True)
    return record


def _machines(
    data: Path, datasets: Sequence[str] | None, most: int, seed: int, leave_out: Sequence[str]
) -> list[Machine]:
    from appliance.meta.machines import machines  # noqa: PLC0415

    skipped: list[Skipped] = []
    with _progress() as progress:

        def track(entries: Sequence[object]) -> Iterable[object]:
            return progress.track(entries, description="machines")

        found = list(machines(data, datasets, most, seed, leave_out=leave_out, skipped=skipped.append, track=track))
    for (dataset, reason), count in sorted(Counter((each.dataset, each.reason) for each in skipped).items()):
        errors.print(f"{plain(dataset)}: {count} left out: {plain(reason)}", highlight=False)
    return found


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
