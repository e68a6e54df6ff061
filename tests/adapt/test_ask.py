"""What is asked: where the detector is in doubt, and only once about like things."""

from __future__ import annotations

import numpy as np

from appliance.adapt.ask import novelty, questions
from appliance.detect.traces import Traces

WINDOWS = 200
THRESHOLD = 4.0


def scores(**at: float) -> np.ndarray:
    values = np.full(WINDOWS, 0.5)
    for name, value in at.items():
        values[int(name[1:])] = value
    return values


def traces(**features: tuple[float, float]) -> Traces:
    rows = np.zeros((WINDOWS, 4))
    for name, value in features.items():
        rows[int(name[1:]), 2:] = value
    return Traces(np.ones(WINDOWS), rows, 2)


def ask(values: np.ndarray, seen: Traces, *labelled: int, most: int = 3) -> list[int]:
    known = np.zeros(WINDOWS, dtype=bool)
    known[list(labelled)] = True
    return [question.strangest for question in questions(values, np.full(WINDOWS, THRESHOLD), seen, known, most)]


def test_what_is_near_the_threshold_is_asked_first_and_what_is_clear_never() -> None:
    values = scores(w10=3.9, w50=3.0, w90=12.0, w130=4.6)
    seen = traces(w10=(9, 0), w50=(0, 9), w90=(9, 9), w130=(-9, 0))
    assert ask(values, seen) == [10, 130, 50]
    assert ask(values, seen, most=1) == [10]
    assert ask(scores(), traces()) == []


def test_of_like_stretches_only_one_is_asked_before_others() -> None:
    values = scores(w10=4.0, w50=3.99, w90=3.5)
    seen = traces(w10=(9, 0), w50=(9, 0.1), w90=(0, 9))
    assert ask(values, seen, most=2) == [10, 90]


def test_what_is_like_something_labelled_is_not_asked_again() -> None:
    values = scores(w10=4.0, w50=4.0)
    seen = traces(w10=(9, 0), w50=(9, 0), w90=(0, 9))
    assert ask(values, seen, 10) == []
    assert ask(values, seen, 90) == [10]


def test_neighbouring_windows_are_one_question_and_windows_without_a_score_none() -> None:
    values = scores(w10=3.5, w11=3.8, w13=3.6, w60=3.9)
    values[60] = np.nan
    found = questions(values, np.full(WINDOWS, THRESHOLD), traces(w11=(5, 5)), np.zeros(WINDOWS, dtype=bool), 5)
    assert [(each.first, each.end, each.strangest) for each in found] == [(10, 14, 11)]
    assert 0 < found[0].worth <= 1


def test_novelty_is_what_known_windows_do_not_explain() -> None:
    rows = np.array([[3.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    assert novelty(rows, []).tolist() == [1.0, 1.0, 1.0]
    np.testing.assert_allclose(novelty(rows, [np.array([[3.0, 0.0]])]), [0.0, 1.0, 0.1])
