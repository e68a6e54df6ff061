import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import DecodeError
from appliance.ingest.names import Template, machine_name
from appliance.ingest.reasons import REASONS
from appliance.ingest.topics import Route, Router, TopicPattern

PLANT = Route("plant", TopicPattern("plant/{line}/{machine}/{channel...}"), "{line}-{machine}")
REST = Route("rest", TopicPattern("{site}/{machine...}"), "{site}:{machine}")


@pytest.mark.parametrize(
    ("pattern", "subscription", "topic", "fields"),
    [
        ("plant/{machine}", "plant/+", "plant/press", {"machine": "press"}),
        ("plant/{machine}", "plant/+", "plant/press/temp", None),
        ("plant/{machine}", "plant/+", "plant/", None),
        ("plant/{machine}", "plant/+", "Plant/press", None),
        ("{machine}/data.json", "+/data.json", "press/dataxjson", None),
        ("{m}/x/{channel...}", "+/x/#", "press/x/motor/temp", {"m": "press", "channel": "motor/temp"}),
        ("{m}/x/{channel...}", "+/x/#", "press/x", None),
        ("{machine}", "+", "a\nb", {"machine": "a\nb"}),
        ("fixed/{channel}", "fixed/+", "fixed/temp", {"channel": "temp"}),
    ],
)
def test_pattern(pattern: str, subscription: str, topic: str, fields: dict[str, str] | None) -> None:
    assert TopicPattern(pattern).filter == subscription
    assert TopicPattern(pattern).match(topic) == fields


@pytest.mark.parametrize(
    ("pattern", "remedy"),
    [
        ("$share/group/{machine}", "shared subscriptions are not supported"),
        ("plant/+/{machine}", "write {name} for '+'"),
        ("plant/{machine}/#", "a last level {name...} for '#'"),
        ("plant/{machine...}/x", "must be the last level"),
        ("plant/{machine}/{machine}", "twice"),
        ("plant/m-{machine}", "must be a whole level"),
        ("plant/{ma chine}", "must be a whole level"),
        ("plant/{0}", "must be a whole level"),
        ("/plant/{machine}", "empty level"),
        ("", "empty level"),
        ("plant/\x00/{machine}", "control"),
        ("plant/press", "names nothing"),
    ],
)
def test_a_pattern_that_cannot_be_used_says_what_to_write(pattern: str, remedy: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the text is compared below, unescaped
        TopicPattern(pattern)
    assert remedy in str(error.value)


def test_a_route_needs_the_names_of_its_machine_id() -> None:
    with pytest.raises(ValueError, match=r"source 'plant': the machine id '\{machine\}' needs \{machine\}"):
        Route("plant", TopicPattern("plant/{line}/{channel}"))
    with pytest.raises(ValueError, match="not a template"):
        Route("plant", TopicPattern("plant/{line}"), "press")


def test_a_topic_names_source_machine_and_channel() -> None:
    found = Router([PLANT]).match("plant/l1/presse-ü/motor/temp".encode())
    assert (found.source, found.machine, found.channel) == ("plant", "l1-presse-ü", "motor/temp")
    assert found.topic == "plant/l1/presse-ü/motor/temp"
    assert found.fields == {"line": "l1", "machine": "presse-ü", "channel": "motor/temp"}


def test_a_machine_id_is_one_level() -> None:
    assert Router([REST]).match(b"site/node/device").machine == "site:node:device"


def test_the_first_of_overlapping_patterns_wins() -> None:
    assert Router([PLANT, REST]).match(b"plant/l1/press/temp").source == "plant"
    assert Router([REST, PLANT]).match(b"plant/l1/press/temp").source == "rest"


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        (b"plant/\xff/press/temp", "topic_not_utf8"),
        (b"other", "topic_unknown"),
        (b"", "topic_unknown"),
        (b"plant/l1/pr\x00ess/temp", "bad_name"),
        (b"plant/l1/pr\ness/temp", "bad_name"),
        ("plant/l1/press/te\u202emp".encode(), "bad_name"),
        (b"plant/l1/press/" + b"t" * 201, "bad_name"),
        (b"plant/l1/" + b"m" * 65_000 + b"/temp", "bad_name"),
        (b"plant/l1/press+/temp", "bad_name"),
        (b"plant/l1/press" + b"/x" * 1000, "bad_name"),
    ],
)
def test_topics_that_are_refused(topic: bytes, reason: str) -> None:
    router = Router([PLANT])
    for _ in range(2):
        with pytest.raises(DecodeError) as error:
            router.match(topic)
        assert error.value.reason == reason
        assert len(error.value.detail) < 400


@pytest.mark.parametrize("name", [".", "..", "", "a#"])
def test_names_no_machine_may_have(name: str) -> None:
    with pytest.raises(DecodeError, match="bad_name"):
        machine_name(name)


@given(st.binary(max_size=60) | st.text("plant/l{}+#\x00 ", max_size=40).map(str.encode))
def test_any_topic_is_matched_or_refused(topic: bytes) -> None:
    try:
        found = Router([PLANT, REST]).match(topic)
    except DecodeError as error:
        assert error.reason in REASONS  # noqa: PT017 - a topic may also match
    else:
        assert found.topic.encode() == topic
        assert machine_name(found.machine) == found.machine


def test_distinct_topics_do_not_grow_memory() -> None:
    router = Router([REST])

    def flood(first: int, count: int) -> None:
        for number in range(first, first + count):
            router.match(b"site/machine-%d" % number)

    flood(0, 20_000)
    tracemalloc.start()
    flood(20_000, 20_000)
    grown, _ = tracemalloc.get_traced_memory()
    flood(40_000, 20_000)
    later, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert later < 1.1 * grown + sys.getsizeof(router)


@pytest.mark.parametrize("text", ["{a", "a}", "{}", "{a b}", "{0}", "{a!r}", "plain", ""])
def test_a_text_that_is_no_template(text: str) -> None:
    with pytest.raises(ValueError, match="not a template"):
        Template(text)
