"""``appliance ask``: the few stretches of a machine's past whose label would teach the appliance most."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
import typer

from appliance.commands.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    clock,
    console,
    list_table,
    plain,
    short_clock,
    write_json,
)
from appliance.config import Settings, load
from appliance.explain import reasons
from appliance.records import Floats, Label, Score
from appliance.store import queries
from appliance.store.database import Database

LOOK_BACK_SECS = 14 * 86_400.0
"""What is older nobody remembers."""
MOST_WINDOWS = 20_000
DAY_SECS = 86_400.0
MOST_NAMED = 3


class Asked(NamedTuple):
    """A question in words."""

    start: float
    end: float
    score: float
    threshold: float
    channels: list[str]
    why: list[str]
    worth: float


def ask(
    machine: Annotated[str, typer.Argument(help="As `appliance machines` shows it.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show what a label would teach most: where the detector is in doubt, and nothing like it has been labelled.

    At most as many a day as feedback.questions_per_day; labels of the last day count. Answer with `appliance label`.

    Example: appliance ask pump-1
    """
    settings = load(config)
    database = Database(settings.storage.database, read_only=True)
    known = [each["machine"] for each in queries.machines(database)]
    if machine not in known:
        raise typer.BadParameter(f"no machine is called {machine}; there are: {', '.join(known) or 'none yet'}")
    asked = questions_of(settings, database, machine)
    if as_json:
        write_json([each._asdict() for each in asked])
        return
    if not asked:
        console.print(f"Nothing to ask about {plain(machine)}.")
        return
    table = list_table()
    table.add_column("from – to (UTC)", no_wrap=True)
    table.add_column("score", no_wrap=True, justify="right")
    table.add_column("what")
    for each in asked:
        table.add_row(
            f"{short_clock(each.start)} – {clock(each.end)[11:16]}",
            f"{each.score:.1f} / {each.threshold:.1f}",
            plain(f"{', '.join(each.channels)}: {'; '.join(each.why)}"),
        )
    console.print(table)
    first = asked[0]
    start, end = (f"{clock(time)[:16].replace(' ', 'T')}Z" for time in (first.start, first.end))
    console.print("Was the first one a fault? Say so, or false_alarm if it was nothing:")
    told = "" if config == DEFAULT_CONFIG else f" --config {shlex.quote(str(config))}"
    console.print(
        f"  appliance label {plain(machine)} fault --from {start} --to {end}{told}", soft_wrap=True, highlight=False
    )


def questions_of(settings: Settings, database: Database, machine: str) -> list[Asked]:
    """Choose what to ask about a machine, most worth first."""
    # Here, not above: numpy's and scipy's second is not to be spent on --help.
    from appliance.adapt.ask import questions  # noqa: PLC0415
    from appliance.detect.traces import Traces  # noqa: PLC0415
    from appliance.store.results import Results  # noqa: PLC0415

    newest = queries.scores(database, machine=machine, since=0.0, limit=1)
    if not newest:
        return []
    now = newest[0].end
    labels = queries.labels(database, machine=machine, limit=1000)
    most = settings.feedback.questions_per_day - sum(label.said_at > now - DAY_SECS for label in labels)
    scores = queries.scores(database, machine=machine, since=now - LOOK_BACK_SECS, limit=MOST_WINDOWS)
    store = Results(database)
    model = store.model(machine)
    if model is None or "warm_up" not in model.state or most <= 0:  # made by an older version: to be made anew
        return []
    blocks = store.traces(machine, model.version, now - LOOK_BACK_SECS - DAY_SECS, now + 1.0)
    detectors = Traces.restore(model.state["warm_up"]).detectors
    seen = {float(end): row for block in blocks for end, row in zip(block.ends, block.traits, strict=True)}
    scores = [score for score in scores if score.end in seen]
    if not scores:
        return []
    traits = np.array([seen[score.end] for score in scores], dtype=np.float64)
    found = questions(
        _column([score.score for score in scores]),
        _column([score.threshold for score in scores]),
        Traces(np.ones(len(scores)), traits, detectors),
        np.array([_spoken_of(score, labels) for score in scores]),
        most,
    )
    return [_in_words(scores[each.first : each.end], scores[each.strangest], each.worth) for each in found]


def _column(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values])


def _spoken_of(score: Score, labels: Sequence[Label]) -> bool:
    """Whether a label, of whatever verdict, touches a window."""
    return any(
        label.start is not None and label.start < score.end and (label.end is None or label.end > score.start)
        for label in labels
    )


def _in_words(stretch: Sequence[Score], strangest: Score, worth: float) -> Asked:
    assert strangest.score is not None
    assert strangest.threshold is not None
    blamed = sorted(strangest.contributions.items(), key=lambda each: -each[1])[:MOST_NAMED]
    return Asked(
        stretch[0].start,
        stretch[-1].end,
        strangest.score,
        strangest.threshold,
        [name for name, share in blamed if share > 0],
        reasons(strangest.evidence),
        round(worth, 3),
    )
