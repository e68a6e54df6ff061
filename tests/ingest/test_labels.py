from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import DecodeError
from appliance.ingest.commands import read_command
from appliance.ingest.labels import label_route, read_label, write_label
from appliance.ingest.reasons import REASONS
from appliance.records import Label, TopicMatch

FAULT = {"verdict": "fault", "from": "2026-03-12T14:00Z", "to": "2026-03-12T15:00+00:00"}
NOON = 1_773_316_800.0


def read(**body: Any) -> Label:
    return read_label("pump-1", json.dumps(body).encode(), NOON)


def refused(**body: Any) -> str:
    with pytest.raises(DecodeError) as error:
        read(**body)
    assert error.value.reason == "bad_label"
    assert error.value.detail.startswith("label on pump-1: ")
    return error.value.detail.removeprefix("label on pump-1: ")


def test_a_label_says_what_was_when_and_who_says_so() -> None:
    label = read(**FAULT, name="bearing", by="maria", via="web", note="replaced <b>it</b>", id="7", said_at=NOON - 60)
    assert label == Label(
        id="7", machine="pump-1", verdict="fault", start=NOON + 7200, end=NOON + 10_800, said_at=NOON - 60,
        said_by="maria", via="web", fault="bearing", note="replaced <b>it</b>",
    )  # fmt: skip


def test_without_an_id_the_message_itself_is_one() -> None:
    assert read(**FAULT).id == read(**FAULT).id
    assert len({read(**FAULT).id, read(**FAULT, note="again").id, read(**FAULT, said_at=NOON).id}) == 3
    other = read_label("pump-2", json.dumps(FAULT).encode(), NOON)
    assert other.id != read(**FAULT).id


def test_a_label_arrives_when_it_is_not_said_when() -> None:
    assert read(**FAULT).said_at == NOON


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"verdict": "falt"}, 'verdict "falt": did you mean "fault"?'),
        ({"verdict": 7}, "verdict a value of type int; use one of fault, false_alarm, maintenance"),
        ({}, "verdict None; use one of fault"),
        (FAULT | {"form": 1}, '"form" is no key of a label: did you mean "from"?'),
        ({"verdict": "fault"}, "a fault needs from and to, or the id of an alert"),
        ({"verdict": "maintenance", "from": NOON}, "a maintenance needs from and to"),
        (FAULT | {"to": FAULT["from"]}, "its end is not after its start; swap from and to"),
        ({"verdict": "fault", "to": NOON}, "to without from"),
        (FAULT | {"from": "2026-03-12T14:00"}, "has no zone"),
        (FAULT | {"from": "yesterday"}, "from: 'yesterday' is not an ISO 8601 time"),
        (FAULT | {"alert": "a"}, "an alert says when it was; leave out from and to"),
        (FAULT | {"channel": "temp"}, "a fault is of the whole machine; leave out the channel"),
        (FAULT | {"cleared": True}, "cleared is for bad_sensor only"),
        (FAULT | {"cleared": "yes"}, 'cleared "yes": write true or false'),
        (FAULT | {"name": ["bearing"]}, "name a value of type list: write text"),
        (FAULT | {"by": "a\x1bb"}, "by: 'a\\x1bb' holds control or invisible characters"),
        (FAULT | {"note": "x" * 1001}, "note: write text of at most 1000 characters"),
        ({"verdict": "new_normal", "from": NOON, "to": NOON + 1}, "a new normal has no end"),
        ({"verdict": "false_alarm", "alert": "a", "name": "bearing"}, "a false_alarm has no name"),
        ({"verdict": "bad_sensor"}, "a bad_sensor needs its channel"),
    ],
)
def test_what_is_wrong_is_said_with_the_remedy(body: dict[str, Any], detail: str) -> None:
    assert detail in refused(**body)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [(b"", "not_json"), (b"[1]", "bad_label"), (b'"fault"', "bad_label"), (b" " * 70_000, "bad_label")],
)
def test_what_is_no_label_at_all_is_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as error:
        read_label("m", payload, NOON)
    assert error.value.reason == reason


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
keys = st.sampled_from(["verdict", "from", "to", "alert", "name", "channel", "cleared", "by", "via", "note", "id", "x"])


@given(st.dictionaries(keys, values) | values, st.sampled_from(["fault", "bad_sensor", "new_normal", None]))
def test_only_a_decode_error_leaves_whatever_is_sent(body: Any, verdict: str | None) -> None:
    if isinstance(body, dict) and verdict is not None:
        body |= {"verdict": verdict}
    try:
        label = read_label("m", json.dumps(body).encode(), NOON)
    except DecodeError as error:
        assert error.reason in REASONS  # noqa: PT017 - it may also be a label
    else:
        assert read_label("m", write_label(label), NOON) == label


def test_labels_have_a_topic_of_their_own_for_each_machine() -> None:
    route = label_route("plant/box")
    assert route.pattern.filter == "plant/box/machines/+/label"
    found = route.match("plant/box/machines/line 1:pump/label")
    assert isinstance(found, TopicMatch)
    assert found.machine == "line 1:pump"
    assert route.match("plant/box/machines/pump/label/answer") is None


@pytest.mark.parametrize(
    ("payload", "detail"),
    [
        (b" " * 70_000, "command to m: 70000 bytes; there are at most 65536"),
        (b"[]", 'command to m: is no JSON object; write {"command": "adapt"}'),
        (
            b'{"command": "adapt", "comand": 1}',
            'command to m: "comand" is no key of a command: did you mean "command"?',
        ),
        (b'{"command": "adapt", "id": 7}', "command to m: id a value of type int: write text"),
    ],
)
def test_commands_are_refused_with_the_remedy(payload: bytes, detail: str) -> None:
    with pytest.raises(DecodeError) as refused:
        read_command("m", payload)
    assert refused.value.detail == detail
