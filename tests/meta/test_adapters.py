from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from appliance.meta.adapters import AdapterTraining, algorithm, balanced, precision, stacked, task_of
from appliance.meta.checkpoint import TrainingError
from appliance.meta.learning import Examples
from appliance.meta.machines import Machine
from appliance.meta.train import EncoderAndRidge, TrainingOptions, episodes_of
from tests.meta.grounds import machine

METHODS = ("maml", "reptile", "leo", "learned_optimizer")
OPTIONS = TrainingOptions(steps=4, batch=2, validate_every=2, validation_episodes=3)


@pytest.fixture(scope="module")
def machines() -> list[Machine]:
    return [machine(3, 1, "one"), machine(2, 2, "two")]


@pytest.fixture(scope="module")
def model(machines: list[Machine]) -> EncoderAndRidge:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return EncoderAndRidge(len(machines[0].detectors)).eval()


def training(machines: list[Machine], model: EncoderAndRidge, options: TrainingOptions) -> AdapterTraining:
    return AdapterTraining(options, model, *episodes_of(options, machines[:1], machines[1:]))


@pytest.mark.parametrize("method", METHODS)
def test_without_labels_the_head_is_the_priors(machines: list[Machine], model: EncoderAndRidge, method: str) -> None:
    made, params = algorithm(method, model.head.prior.detach(), seed=0)
    meta = made.initial(params, torch.Generator().manual_seed(0))
    support, query = task_of(model, episodes_of(OPTIONS, machines, machines)[0][3])
    unlabelled = support._replace(weight=torch.zeros_like(support.weight))
    odds = made.learner.apply(made.adapt(meta, unlabelled), query.x)
    torch.testing.assert_close(odds, query.x @ model.head.prior.detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_labels_move_the_head(machines: list[Machine], model: EncoderAndRidge, method: str) -> None:
    made, params = algorithm(method, model.head.prior.detach(), seed=0)
    meta = made.initial(params, torch.Generator().manual_seed(0))
    support, _ = task_of(model, episodes_of(OPTIONS, machines, machines)[0][3])
    loss = made.learner.mean_loss
    assert float(loss(made.adapt(meta, support), support)) < 0.98 * float(loss(made.model(meta), support))


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_training_ends_as_one_that_was_not(
    machines: list[Machine], model: EncoderAndRidge, method: str, tmp_path: Path
) -> None:
    options = replace(OPTIONS, method=method)
    whole = training(machines, model, options).run(lambda *_: None)
    path = tmp_path / "adapter.checkpoint"
    cut = training(machines, model, options)
    cut.run(lambda step, *_: cut.save(path) if step == 2 else None)
    again = training(machines, model, options)
    again.resume(path)
    resumed = again.run(lambda *_: None)
    assert again.step == 4
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
    with pytest.raises(TrainingError, match="another seed"):
        training(machines, model, replace(options, seed=5)).resume(path)


def test_tasks_of_different_sizes_share_a_batch(machines: list[Machine], model: EncoderAndRidge) -> None:
    drawn = episodes_of(OPTIONS, machines, machines)[0]
    tasks = [task_of(model, drawn[number]) for number in range(3)]
    support, query = stacked(tasks)
    sizes = [len(each.y) for each, _ in tasks]
    assert support.x.shape[:2] == (3, max(sizes))
    for number, size in enumerate(sizes):
        assert float(support.weight[number].sum()) == pytest.approx(1.0)
        assert not support.weight[number, size:].any()
    assert query.y.shape[0] == 3


def test_weights_are_balanced_whatever_there_is_of_each_side() -> None:
    is_fault = torch.tensor([1.0, 0.0, 0.0, 0.0])
    weight = balanced(is_fault, torch.tensor([3.0, 1.0, 1.0, 2.0]))
    torch.testing.assert_close(weight, torch.tensor([0.5, 0.125, 0.125, 0.25]))
    assert torch.isfinite(balanced(torch.zeros(2), torch.ones(2))).all()


def test_a_query_is_judged_by_its_ranking(machines: list[Machine], model: EncoderAndRidge) -> None:
    made, params = algorithm("maml", torch.tensor([1.0, 0.0]), seed=0)
    meta = made.initial(params, torch.Generator().manual_seed(0))
    x = torch.tensor([[2.0, 1.0], [1.0, 1.0], [0.0, 1.0]])
    nothing = Examples(x, torch.zeros(3), torch.zeros(3))
    areas = [
        precision(made, meta, nothing, Examples(x, torch.tensor(y), torch.ones(3)))
        for y in ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0])
    ]
    np.testing.assert_allclose(areas, [1.0, 1 / 3])
