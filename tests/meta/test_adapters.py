from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from appliance.detect.head import heard
from appliance.meta.adapter_training import AdapterTraining, DescentOptions, examples_in, precision, stacked
from appliance.meta.adapters import METHODS, algorithm, mean_loudness, untrained
from appliance.meta.checkpoint import TrainingError
from appliance.meta.descend import descend
from appliance.meta.learning import Episodes as Tasks
from appliance.meta.learning import Examples
from appliance.meta.prior import descent_record, read_descent, write_descent
from appliance.meta.traced import TracedMachine
from appliance.meta.traced_episodes import TracedEpisodes, episodes_of

OPTIONS = DescentOptions("maml", steps=4, batch=2, validate_every=2, validation_episodes=3)


@pytest.fixture(scope="module")
def episodes(traced: list[TracedMachine]) -> TracedEpisodes:
    return TracedEpisodes(traced, seed=0)


@pytest.fixture(scope="module")
def features(traced: list[TracedMachine]) -> int:
    return 2 * traced[0].detectors


def training(traced: list[TracedMachine], options: DescentOptions) -> AdapterTraining:
    taught, held = episodes_of(traced[:1], traced[1:], options.seed, options.real_share, semantics=options.semantics)
    return AdapterTraining(options, 2 * traced[0].detectors, taught, held)


@pytest.mark.parametrize("method", METHODS)
def test_without_labels_the_untrained_head_is_the_mean_loudness(
    episodes: TracedEpisodes, features: int, method: str
) -> None:
    made, _ = algorithm(method, mean_loudness(features), seed=0)
    support, query = examples_in(episodes[3].support), examples_in(episodes[3].query)
    unlabelled = support._replace(weight=torch.zeros_like(support.weight))
    odds = made.learner.apply(made.adapt(untrained(method, features, 0), unlabelled), query.x)
    torch.testing.assert_close(odds, query.x[:, : features // 2].mean(dim=1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_labels_move_the_head(episodes: TracedEpisodes, features: int, method: str) -> None:
    made, _ = algorithm(method, mean_loudness(features), seed=0)
    meta, support, loss = untrained(method, features, 0), examples_in(episodes[3].support), made.learner.mean_loss
    assert float(loss(made.adapt(meta, support), support)) < 0.9 * float(loss(made.model(meta), support))


@pytest.mark.parametrize("method", METHODS)
def test_what_the_service_judges_with_says_what_the_network_says(
    traced: list[TracedMachine], episodes: TracedEpisodes, features: int, method: str
) -> None:
    meta = untrained(method, features, 0)
    part = descend(method, {name: each.double().numpy() for name, each in meta.items()}, episodes[3].support)
    made, _ = algorithm(method, mean_loudness(features), seed=0)
    adapted = made.adapt(meta, examples_in(episodes[3].support))
    assert traced[0].own is not None
    windows = traced[0].own.test[slice(0, 50)]
    ranked = 0.5 * windows.loudness
    odds = made.learner.apply(adapted, torch.from_numpy(heard(ranked, windows)).float()).detach().numpy()
    off = part.oddity(ranked, windows) - odds
    np.testing.assert_allclose(off, off[0], atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_training_ends_as_one_that_was_not(
    traced: list[TracedMachine], method: str, tmp_path: Path
) -> None:
    options = replace(OPTIONS, method=method)
    whole = training(traced, options).run(lambda _: None)
    path = tmp_path / "adapter.checkpoint"
    cut = training(traced, options)
    cut.run(lambda point: cut.save(path) if point.step == 2 else None)
    again = training(traced, options)
    again.resume(path)
    resumed = again.run(lambda _: None)
    assert again.step == 4
    assert [point.step for point in again.curve] == [0, 2, 4]
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
    with pytest.raises(TrainingError, match="another seed"):
        training(traced, replace(options, seed=5)).resume(path)


def test_where_training_makes_it_worse_the_start_is_kept(traced: list[TracedMachine]) -> None:
    wild = training(traced, replace(OPTIONS, rate=1e3))
    meta = wild.run(lambda _: None)
    assert wild.best.step == 0
    assert all(
        torch.equal(meta[name], tensor) for name, tensor in untrained("maml", 2 * traced[0].detectors, 0).items()
    )


def test_a_prior_is_read_as_it_was_written(traced: list[TracedMachine], tmp_path: Path) -> None:
    done = training(traced, OPTIONS)
    meta = done.run(lambda _: None)
    write_descent(tmp_path / "maml.safetensors", meta, descent_record(done, traced[:1], traced[1:]))
    prior = read_descent(tmp_path / "maml.safetensors")
    assert (prior.method, prior.detectors, prior.datasets) == ("maml", traced[0].detectors, frozenset({"hums"}))
    assert prior.clusters == {"hums/three", "hums/ten"}
    assert {each["licence"] for each in prior.record["machines"]} == {"MIT"}
    assert all(torch.equal(prior.meta[name], tensor) for name, tensor in meta.items())


def test_a_file_that_is_no_such_prior_says_so(tmp_path: Path) -> None:
    path = tmp_path / "prior.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="is no prior of a head that descends"):
        read_descent(path)
    record = {"options": {"method": "maml"}, "detectors": 4}
    write_descent(path, {"model.linear.weight": torch.zeros(1, 8)}, record)
    with pytest.raises(TrainingError, match="does not hold what maml needs"):
        read_descent(path)


def test_tasks_of_different_sizes_share_a_batch(episodes: TracedEpisodes) -> None:
    tasks = [(examples_in(episodes[number].support), examples_in(episodes[number].query)) for number in range(3)]
    support, query = stacked(tasks)
    sizes = [len(each.y) for each, _ in tasks]
    assert support.x.shape[:2] == (3, max(sizes))
    for number, size in enumerate(sizes):
        assert float(support.weight[number].sum()) == pytest.approx(1.0)
        assert not support.weight[number, size:].any()
    assert query.y.shape[0] == 3


def test_a_query_is_judged_by_its_ranking() -> None:
    made, params = algorithm("maml", torch.tensor([1.0, 0.0]), seed=0)
    meta = made.initial(params, torch.Generator().manual_seed(0))
    x = torch.tensor([[2.0, 1.0], [1.0, 1.0], [0.0, 1.0], [9.0, 9.0]])
    nothing = Examples(x, torch.zeros(4), torch.zeros(4))
    filled_up = torch.tensor([1.0, 1.0, 1.0, 0.0])
    queries = [Examples(x, torch.tensor(y), filled_up) for y in ([1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0])]
    areas = precision(made, meta, Tasks(*stacked([(nothing, query) for query in queries])))
    np.testing.assert_allclose(areas, [1.0, 1 / 3])
