from __future__ import annotations

import numpy as np

from appliance.simulate.plant import DEMO_DAYS, LEARNING_DAYS
from appliance.simulate.simulator import DEFAULT_START
from appliance.simulate.story import LABELLED, UNLABELLED, occurrences, operator_labels, story_machines


def test_both_fans_send_the_same_readings_and_both_have_what_is_told_of_them() -> None:
    fans = story_machines(3, days=DEMO_DAYS, learning_days=LEARNING_DAYS, period_secs=60.0)
    assert [fan.machine for fan in fans] == [LABELLED, UNLABELLED]
    np.testing.assert_array_equal(fans[0].values, fans[1].values)
    for fan in fans:
        told = [each for each in occurrences(DEFAULT_START) if each.verdict == "fault"]
        assert [(fault["start_time"], fault["end_time"]) for fault in fan.meta["truth"]] == [
            (each.start, each.end) for each in told
        ]
        assert fan.labels is not None
        assert not fan.labels[: fan.train_end].any()
        routines = [each for each in occurrences(DEFAULT_START) if each.verdict == "false_alarm"]
        speed = fan.values[:, fan.channels.index("motor_speed_rpm")]
        for each in routines:
            during = (fan.times >= each.start + 600) & (fan.times < each.end)
            assert speed[during].max() < 0.8 * speed[fan.times == each.start - 60]


def test_labels_come_after_what_they_are_about_and_before_it_comes_again() -> None:
    happened, said = occurrences(0.0), operator_labels(0.0)
    assert [label.said_at for label in said] == sorted(label.said_at for label in said)
    assert len({label.id for label in said}) == len(said) == 4
    for label in said:
        assert label.machine == LABELLED
        assert label.end is not None
        assert label.end < label.said_at
    for each in happened:
        before = [label for label in said if label.verdict == each.verdict and label.said_at < each.start]
        assert len(before) == each.labels_before
