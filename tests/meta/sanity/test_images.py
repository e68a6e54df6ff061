"""Handwritten digits as few-shot tasks."""

from __future__ import annotations

from collections import Counter

import torch

from appliance.meta.sanity.digits import (
    QUERIES,
    SHOTS,
    WAYS,
    bent,
    draw,
    episodes,
    images,
    nearest,
    split,
    tasks_of_unseen,
)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_every_class_is_unseen_in_three_of_ten_splits_and_never_known_there() -> None:
    names = {x.data_ptr(): digit for digit, x in enumerate(images())}
    counts = Counter(names[x.data_ptr()] for number in range(10) for x in split(number).unseen)
    assert counts == dict.fromkeys(range(10), 3)
    for number in range(10):
        known, unseen = split(number)
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


def test_images_of_a_task_are_bent_alike_and_other_tasks_otherwise() -> None:
    x = images()[3][:1].expand(2, WAYS, 4, 1, 8, 8)
    moved = bent(x, generator())
    assert (moved[0] - moved[0, 0, 0]).abs().max() == 0
    assert (moved[0] - moved[1]).abs().max() > 0.1
    assert (moved - x).abs().max() > 0.1


def test_prototypes_use_no_image_that_weighs_nothing() -> None:
    one, five = (tasks_of_unseen(split(0).unseen, shots) for shots in SHOTS)
    assert torch.equal(one.query.x, five.query.x)
    spoilt = one.support._replace(x=one.support.x * one.support.weight[..., None, None, None])
    assert torch.equal(nearest(one), nearest(one._replace(support=spoilt)))
    assert not torch.equal(nearest(one), nearest(five))
