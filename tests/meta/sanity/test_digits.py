"""Methods of the digits problem: the baselines without meta-learning, and where training starts."""

from __future__ import annotations

import torch

from appliance.meta.sanity.digits import (
    FEATURES,
    PRETRAINED,
    QUICK_TASKS,
    Trained,
    accuracy,
    baselines,
    embedding,
    nearest,
    network,
    pretrained,
    trained,
)
from appliance.meta.sanity.images import SHOTS, split, tasks_of_unseen


def untold(_name: str, _steps: int) -> None:
    pass


def reached(run: Trained, shots: int) -> float:
    algorithm, meta = run
    test = tasks_of_unseen(split(0).unseen, shots, QUICK_TASKS)
    return accuracy(algorithm.predict(meta, test.support, test.query.x), test.query.y)


def test_prototypes_use_no_image_that_weighs_nothing() -> None:
    one, five = (tasks_of_unseen(split(0).unseen, shots) for shots in SHOTS)
    spoilt = one.support._replace(x=one.support.x * one.support.weight[..., None, None, None])
    assert torch.equal(nearest(one), nearest(one._replace(support=spoilt)))
    assert not torch.equal(nearest(one), nearest(five))


def test_ordinary_training_is_told_of_every_step_and_makes_a_better_body_under_the_same_new_head() -> None:
    told: list[str] = []
    known, _ = split(0)
    body_trained = pretrained(known, 0.15, lambda name, steps: told.extend([name] * steps))
    assert told == [PRETRAINED] * 45
    assert {name: t.shape for name, t in body_trained.items()} == {name: t.shape for name, t in network()[1].items()}
    runs = baselines(body_trained)
    for way in ("prototypes", "fine-tuned"):
        for shots in SHOTS:
            assert reached(runs[f"{PRETRAINED}, {way}"], shots) > reached(runs[f"untrained, {way}"], shots) + 0.005


def test_an_untrained_method_is_no_better_than_the_untrained_body() -> None:
    """What the command's test asks of prototypical networks is more than they bring along."""
    fresh = network()[1]
    runs = trained(split(0).known, fresh, 0.0, untold)
    for shots in SHOTS:
        assert reached(runs["prototypical networks"], shots) == reached(
            baselines(fresh)["untrained, prototypes"], shots
        )


def test_one_method_starts_from_the_pre_trained_body_and_the_others_from_a_fresh_one() -> None:
    other = {name: t + 1 for name, t in network()[1].items()}
    starts = {
        name: meta["model.body.0.bias"] for name, (_, meta) in trained(split(0).known, other, 0.0, untold).items()
    }
    moved = {name for name, bias in starts.items() if torch.equal(bias, other["body.0.bias"])}
    assert moved == {"pre-trained, then prototypical networks"}
    assert all(torch.equal(bias, network()[1]["body.0.bias"]) for name, bias in starts.items() if name not in moved)


def test_what_the_head_sees_is_the_embedding() -> None:
    learner, params = network()
    params |= {"head.weight": torch.randn(3, FEATURES, generator=torch.Generator().manual_seed(0))}
    test = tasks_of_unseen(split(0).unseen, 1)
    one = test.query._replace(x=test.query.x[0], y=test.query.y[0], weight=test.query.weight[0])
    seen = embedding()(params, one)
    assert torch.allclose(learner.apply(params, one.x), seen @ params["head.weight"].T, atol=1e-4)
