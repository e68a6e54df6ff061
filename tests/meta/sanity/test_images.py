"""Handwritten digits as few-shot tasks."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import torch

from appliance.meta.sanity.images import (
    QUERIES,
    SHOTS,
    UNSEEN,
    WAYS,
    bent,
    draw,
    episodes,
    images,
    split,
    tasks_of_unseen,
)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_splits_hold_out_every_pair_of_digits_once_and_none_that_anything_was_chosen_on() -> None:
    names = {x.data_ptr(): digit for digit, x in enumerate(images())}
    pairs = Counter(pair for unseen in UNSEEN[1:] for pair in combinations(sorted(unseen), 2))
    assert pairs == dict.fromkeys(combinations(range(3, 10), 2), 1)
    for number, digits in enumerate(UNSEEN):
        known, unseen = split(number)
        assert tuple(names[x.data_ptr()] for x in unseen) == digits
        assert sorted(names[x.data_ptr()] for x in known + unseen) == list(range(10))


def test_no_image_is_in_support_and_query_and_none_is_of_another_class() -> None:
    numbered = [torch.arange(100.0).reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8) + 1000 * label for label in range(5)]
    support, query = episodes(draw(generator(), numbered, 4), torch.tensor([5, 5, 5, 5]))
    for task in range(4):
        inside, outside = (some.x[task, :, 0, 0, 0].tolist() for some in (support, query))
        assert len({*inside, *outside}) == WAYS * (max(SHOTS) + QUERIES)
        for some, values in ((support, inside), (query, outside)):
            labels = {(int(y), value // 1000) for y, value in zip(some.y[task], values, strict=True)}
            assert len(labels) == WAYS


def test_a_task_of_one_shot_weighs_one_image_of_each_class() -> None:
    support, query = episodes(draw(generator(), list(images()), 2), torch.tensor([1, 5]))
    assert [support.weight[task].sum() for task in range(2)] == [WAYS, 5 * WAYS]
    assert sorted(support.y[0][support.weight[0] > 0].tolist()) == [0, 1, 2]
    assert bool((query.weight == 1).all())


def test_images_of_a_task_are_bent_nearly_alike_and_other_tasks_otherwise() -> None:
    x = images()[3][:1].expand(30, WAYS, 4, 1, 8, 8)
    moved = bent(x, generator()).flatten(1, 2).flatten(2)
    within = torch.stack([torch.pdist(task).mean() for task in moved]).mean()
    assert within > 0.1
    assert torch.pdist(moved[:, 0]).mean() > 1.3 * within
    assert bool(((moved >= 0) & (moved <= 1.001)).all())


def test_any_number_of_shots_is_judged_on_the_same_images() -> None:
    one, five = (tasks_of_unseen(split(0).unseen, shots) for shots in SHOTS)
    assert torch.equal(one.query.x, five.query.x)
    assert bool((one.support.weight <= five.support.weight).all())
