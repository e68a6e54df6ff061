from __future__ import annotations

import pytest

from appliance.evaluation.support import CommonTail, common_tail, support_of

FIVE = [(2, 4), (9, 11), (20, 21), (30, 33), (40, 42)]


@pytest.mark.parametrize(
    ("ks", "expected"),
    [
        ((0, 1, 2, 5, 10), CommonTail(11, (0, 1, 2))),
        ((0, 1), CommonTail(4, (0, 1))),
        ((0, 3), CommonTail(21, (0, 3))),
        ((0, 4), None),
        ((0,), None),
    ],
)
def test_the_tail_begins_after_the_largest_k_that_leaves_two_events(
    ks: tuple[int, ...], expected: CommonTail | None
) -> None:
    assert common_tail(FIVE, ks) == expected


def test_the_order_in_which_ks_are_asked_for_does_not_matter() -> None:
    assert common_tail(FIVE, (2, 0, 1, 2)) == common_tail(FIVE, (0, 1, 2))


def test_a_machine_with_few_events_does_not_qualify() -> None:
    assert common_tail([(2, 4), (9, 11)], (0, 1)) is None
    assert common_tail([], (0, 1)) is None


def test_the_tail_does_not_begin_inside_an_event() -> None:
    sharing = [(2, 5), (4, 9), (20, 22), (30, 31)]
    assert common_tail(sharing, (0, 1)) == CommonTail(9, (0, 1))


def test_events_that_touch_at_a_session_border_stay_apart() -> None:
    touching = [(2, 5), (5, 9), (9, 12), (20, 21)]
    assert common_tail(touching, (0, 2)) == CommonTail(9, (0, 2))
    support = support_of(touching, 2, [], grace_hops=3)
    assert support.event.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert support.seen == 9


def test_a_hop_of_two_events_belongs_to_the_earlier() -> None:
    support = support_of([(2, 5), (4, 7)], 2, [], grace_hops=0)
    assert support.fault.tolist() == [2, 3, 4, 5, 6]
    assert support.event.tolist() == [0, 0, 0, 1, 1]


def test_without_labels_there_is_no_past() -> None:
    support = support_of(FIVE, 0, [(0, 1)], grace_hops=0)
    assert (support.k, support.seen, support.fault.size, support.false_alarm.size) == (0, 0, 0, 0)


def test_alerts_about_no_event_were_called_false() -> None:
    alerts = [(0, 1), (10, 15), (17, 19), (25, 27), (38, None)]
    support = support_of(FIVE, 4, alerts, grace_hops=3)
    assert support.seen == 33
    assert support.false_alarm.tolist() == [0, 17, 18, 25, 26]


def test_what_opens_in_the_grace_is_about_the_event_before() -> None:
    assert support_of(FIVE, 2, [(6, 8)], grace_hops=3).false_alarm.size == 0
    assert support_of(FIVE, 2, [(6, 8)], grace_hops=2).false_alarm.tolist() == [6, 7]


def test_a_false_alert_that_still_stands_ends_with_the_past_and_spares_events() -> None:
    support = support_of(FIVE, 2, [(7, None)], grace_hops=1)
    assert support.false_alarm.tolist() == [7, 8]
    assert support.normal.tolist() == [0, 1, 4, 5, 6, 7, 8]
