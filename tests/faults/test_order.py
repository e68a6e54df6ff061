"""Repeats and disorder within lateness change no score, and wrong clocks harm nobody."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from appliance import assembly
from appliance.config import load
from appliance.outcome import Outcome
from appliance.records import Message
from tests.faults import plant
from tests.faults.appliance import JSON_SOURCE, Appliance
from tests.small_plant import Plant

LATENESS_SECS = 20
LATE_SOURCE = JSON_SOURCE + f"lateness_secs = {LATENESS_SECS}\n"
YEAR_SECS = 365 * 86_400.0


def outcome(folder: Path, sent: Iterable[Message], sources: str = JSON_SOURCE) -> Outcome:
    """Process messages and return all that came of them."""
    result = Outcome()
    settings = load(Appliance(folder, 1883, sources=sources).config)
    pipeline = assembly.pipeline(settings, Plant())  # what was learned from is in the outcome
    pipeline.process(sent, result)
    return result


def test_repeats_and_disorder_within_lateness_change_no_score(tmp_path: Path) -> None:
    ordered = plant.messages(6000)
    chance = random.Random(5)
    cell = len(plant.MACHINES)
    # Each machine's first message stays first: it decides where the machine's grid begins.
    disorder = [0.0] * cell + [chance.uniform(0, LATENESS_SECS - 2) for _ in ordered[cell:]]
    shuffled = sorted(range(len(ordered)), key=lambda number: number / cell + disorder[number])
    disturbed = []
    for place, number in enumerate(shuffled):
        disturbed.append(ordered[number])
        if chance.random() < 0.05:
            disturbed.append(ordered[chance.choice(shuffled[max(place - 200, 0) : place + 1])])
    repeats = len(disturbed) - len(ordered)
    assert repeats > 200
    expected, found = (outcome(tmp_path, sent, LATE_SOURCE) for sent in (ordered, disturbed))
    first, second = ({(score.machine, score.end): score for score in run.scores} for run in (expected, found))
    assert first == second
    assert any(score.score is not None for score in first.values())
    duplicates = sum(value for (_, name), value in found.counts.items() if name == "readings_duplicate")
    late = sum(value for (_, name), value in found.counts.items() if name == "readings_late")
    assert (duplicates, late) == (3 * repeats, 0)


def test_a_reading_a_year_ahead_is_refused_and_closes_nobodys_windows(tmp_path: Path) -> None:
    sent = plant.messages(6000)
    ahead = Message(b"plant/pump", b'{"time": %d, "temp": 1}' % (plant.STARTS_AT + YEAR_SECS), sent[3000].received_at)
    expected = outcome(tmp_path, sent)
    found = outcome(tmp_path, [*sent[:3000], ahead, *sent[3000:]])
    assert found.scores == expected.scores
    assert [(entry.reason, entry.message) for entry in found.quarantined] == [("in_the_future", ahead)]


def test_a_clock_set_back_is_counted_late_and_changes_no_score(tmp_path: Path) -> None:
    sent = plant.messages(6000)
    back = [
        Message(b"plant/pump", b'{"time": %d, "temp": 1}' % (plant.STARTS_AT - YEAR_SECS + n), sent[3000].received_at)
        for n in range(10)
    ]
    expected = outcome(tmp_path, sent)
    found = outcome(tmp_path, [*sent[:3000], *back, *sent[3000:]])
    assert found.scores == expected.scores
    assert found.counts["pump", "readings_late"] == len(back)
    assert not found.quarantined
