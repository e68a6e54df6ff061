"""A restart or a replay around labels and commands: the same heads, the same scores."""

from __future__ import annotations

import copy

from appliance.outcome import Outcome
from appliance.records import Message
from appliance.store import packing
from tests.lived_plant import AFTER, AGAIN, FIRST, LONG, fault, slight, told
from tests.small_plant import Plant, readings, said


def story() -> list[Message]:
    return [
        *readings(range(AFTER, AFTER + 200)),
        fault(FIRST, AFTER + 200, name="slight"),
        *slight(AFTER + 200),
        fault(AGAIN, AFTER + 280),
        *slight(AFTER + 280),
        told("rollback", at=AFTER + 360),
        *slight(AFTER + 360),
        told("adapt", at=AFTER + 440),
        *slight(AFTER + 440),
        said("false_alarm", at=AFTER + 520, start=AGAIN, end=AGAIN + LONG),
        *slight(AFTER + 520),
    ]


def test_a_restart_at_any_message_around_labels_and_commands_changes_nothing(lived: Plant) -> None:
    messages = story()
    whole = copy.deepcopy(lived)
    expected = whole.send(messages)
    assert len(expected.heads) >= 4
    spoken = [number for number, message in enumerate(messages) if message.topic.startswith(b"appliance/")]
    cuts = sorted({cut for number in spoken for cut in (number, number + 1, number + 40)})
    resumed, found = copy.deepcopy(lived), Outcome()
    states = packing.unpack(packing.pack(resumed.pipeline.checkpoint()))
    for first, end in zip([0, *cuts], [*cuts, len(messages)], strict=True):
        before, resumed = resumed, Plant()
        resumed.blocks, resumed.seen = before.blocks, before.seen
        resumed.models, resumed.heads = before.models, before.heads
        assert resumed.pipeline.restore(packing.unpack(packing.pack(states)), resumed.models) == {}
        resumed.pipeline.remember(messages[:first])
        part = resumed.send(messages[first:end])
        states |= resumed.pipeline.checkpoint()
        for name in ("scores", "alerts", "labels", "heads", "attempts"):
            getattr(found, name).extend(getattr(part, name))
    assert [head.words for head in found.heads] == [head.words for head in expected.heads]
    assert packing.pack([head.state for head in found.heads]) == packing.pack([head.state for head in expected.heads])
    assert found.alerts == expected.alerts
    assert found.attempts == expected.attempts
    assert found.scores == expected.scores
    assert packing.pack(states["machine/m"]) == packing.pack(whole.pipeline.checkpoint()["machine/m"])


def test_a_replay_that_finds_the_future_stored_makes_the_same_heads(lived: Plant) -> None:
    """After a crash the archive already holds what came after the checkpoint."""
    states = packing.unpack(
        packing.pack(lived.pipeline.checkpoint() or {"machine/m": lived.pipeline.machines["m"].snapshot()})
    )
    first = copy.deepcopy(lived)
    expected = first.send(story())
    again = Plant()
    again.blocks, again.seen, again.models, again.heads = first.blocks, list(first.seen), first.models, first.heads
    assert again.pipeline.restore(states, again.models) == {}
    found = Outcome()
    again.pipeline.process(story(), found)
    assert found.scores == expected.scores
    assert packing.pack([head.state for head in found.heads]) == packing.pack([head.state for head in expected.heads])
