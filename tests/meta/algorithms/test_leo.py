"""LEO: codes, their divergence, the relation network, the decoder and the penalties."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.distributions import Normal, kl_divergence

from appliance.meta.algorithms.leo import correlation, divergence
from appliance.meta.learning import Examples, Params
from tests.meta.problems import differences, episodes, furthest, learner, leo, task, trained


def noise_of(size: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_divergence_is_that_of_torch() -> None:
    mean, log_spread = noise_of(12).reshape(3, 4), noise_of(12, 2).reshape(3, 4)
    expected = kl_divergence(Normal(mean, log_spread.exp()), Normal(0.0, 1.0)).mean()
    assert abs(divergence(mean, log_spread) - expected) < 1e-12
    assert divergence(torch.zeros(2, 2), torch.zeros(2, 2)) == 0


def test_rows_at_right_angles_are_not_correlated() -> None:
    assert abs(correlation(3 * torch.eye(3, 5))) < 1e-12
    assert abs(correlation(torch.ones(2, 5)) - 0.5) < 1e-6  # each of the two pairs correlates by 1, itself left out
    assert abs(correlation(torch.tensor([[1.0, 0.0], [1.0, 1.0]])) - 0.25) < 1e-6


def test_codes_are_means_over_pairs_by_class() -> None:
    """Against the sums of equations 1 and 2, written out."""
    algorithm = leo()
    meta, (support, _) = trained(algorithm), task()
    mean, log_spread = algorithm.encode(meta, support)
    for group in range(2):
        total, weights = torch.zeros(6, dtype=torch.float64), 0.0
        for i in range(6):
            if int(support.y[i]) == group:
                inner = torch.zeros(6, dtype=torch.float64)
                for j in range(6):
                    inner += float(support.weight[j]) * related(meta, support.x[i], support.x[j])
                total += float(support.weight[i]) * inner / float(support.weight.sum())
                weights += float(support.weight[i])
        assert (total / weights - torch.cat([mean[group], log_spread[group]])).abs().max() < 1e-12


def related(meta: Params, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    pair = torch.cat([x @ meta["leo.encoder"] + meta["leo.encoder_bias"] for x in (left, right)])
    for layer in range(3):
        pair = pair @ meta[f"leo.relation{layer}"] + meta[f"leo.relation{layer}_bias"]
        pair = pair.relu() if layer < 2 else pair
    return pair


def test_exchanging_the_classes_exchanges_the_codes() -> None:
    algorithm = leo()
    meta, (support, _) = trained(algorithm), task()
    for code, exchanged in zip(
        algorithm.encode(meta, support), algorithm.encode(meta, support._replace(y=1 - support.y)), strict=True
    ):
        assert (code - exchanged.flip(0)).abs().max() < 1e-12
        assert (code[0] - code[1]).abs().max() > 1e-3


def test_a_code_depends_on_the_other_classes_too() -> None:
    algorithm = leo()
    meta, (support, _) = trained(algorithm), task()
    other = support._replace(x=torch.where(support.y[:, None] == 1, support.x + 1, support.x))
    assert (algorithm.encode(meta, support)[0][0] - algorithm.encode(meta, other)[0][0]).abs().max() > 1e-3


def test_only_the_head_is_decoded_and_the_body_is_shared() -> None:
    algorithm = leo()
    meta = trained(algorithm)
    batch = episodes(torch.Generator().manual_seed(2))
    adapted = algorithm.adapt_all(meta, batch.support)
    assert torch.equal(adapted["0.weight"], meta["model.0.weight"].expand(4, -1, -1))
    assert adapted["2.weight"].std(0).min() > 1e-3


def test_without_descent_the_parameters_are_the_decoded_codes() -> None:
    algorithm = replace(leo(), steps=0, finetuning_steps=0)
    meta, (support, _) = trained(algorithm), task()
    noise = noise_of(algorithm.noise_size)
    mean, log_spread = algorithm.encode(meta, support)
    code_noise, row_noise = noise.reshape(2, 8).split([3, 5], dim=1)
    shift, spread = ((mean + log_spread.exp() * code_noise) @ meta["leo.decoder"]).split(5, dim=1)
    rows = shift + (meta["leo.spread"] + spread).exp() * (2 / 7) ** 0.5 * row_noise
    adapted = algorithm.adapt(meta, support, noise)
    assert (adapted["2.weight"] - meta["model.2.weight"] - rows[:, :4]).abs().max() < 1e-12
    assert (adapted["2.bias"] - meta["model.2.bias"] - rows[:, 4]).abs().max() < 1e-12
    assert furthest(adapted, algorithm.adapt(meta, support)) > 1e-2  # without noise the mean is taken


def test_the_latent_descent_follows_the_derivative_by_the_code() -> None:
    """One latent step against differences of the support's loss."""
    plain, stepping = replace(leo(), steps=0, finetuning_steps=0), replace(leo(), steps=1, finetuning_steps=0)
    meta, (support, _) = trained(plain), task()
    code = plain.encode(meta, support)[0]

    def loss(at: Params) -> torch.Tensor:
        rows = (at["code"] @ meta["leo.decoder"])[:, :5]
        head = {"2.weight": meta["model.2.weight"] + rows[:, :4], "2.bias": meta["model.2.bias"] + rows[:, 4]}
        return learner()[0].mean_loss(plain.model(meta) | head, support)

    moved = code - meta["leo.step_size"] * differences(loss, {"code": code})["code"]
    expected = meta["model.2.bias"] + (moved @ meta["leo.decoder"])[:, 4]
    assert (stepping.adapt(meta, support)["2.bias"] - expected).abs().max() < 1e-8


def test_fine_tuning_follows_the_derivative_by_the_decoded_parameters() -> None:
    plain, tuned = replace(leo(), finetuning_steps=0), replace(leo(), finetuning_steps=1)
    meta, (support, _) = trained(plain), task()
    before = plain.adapt(meta, support)
    head = {name: before[name] for name in ("2.weight", "2.bias")}
    slope = differences(lambda some: learner()[0].mean_loss(before | some, support), head)
    sizes = meta["leo.finetuning_step_size"]
    after = tuned.adapt(meta, support)
    assert (after["2.weight"] - before["2.weight"] + sizes[:4] * slope["2.weight"]).abs().max() < 1e-8
    assert (after["2.bias"] - before["2.bias"] + sizes[4] * slope["2.bias"]).abs().max() < 1e-8


def test_the_meta_gradient_is_that_of_differences() -> None:
    """Without the encoder's penalty, whose derivative deliberately leaves the moved codes out."""
    algorithm = replace(leo(), encoder_weight=0.0, kl_weight=0.3, orthogonality_weight=0.2, decay_weight=0.1)
    meta, (support, query) = trained(algorithm), task()
    noise = noise_of(algorithm.noise_size)

    def loss(meta: Params) -> torch.Tensor:
        return algorithm.task_loss(meta, support, query, noise) + algorithm.penalty(meta)

    slope = torch.func.grad(loss)(meta)
    assert furthest(slope, differences(loss, meta)) < 1e-6
    assert min(float(t.abs().max()) for t in slope.values()) > 1e-6


def test_the_encoder_penalty_pulls_codes_and_leaves_the_descent_alone() -> None:
    with_penalty, without = replace(leo(), encoder_weight=1.0), replace(leo(), encoder_weight=0.0)
    meta, (support, query) = trained(leo()), task()
    noise = noise_of(leo().noise_size)
    slopes = [torch.func.grad(each.task_loss)(meta, support, query, noise) for each in (with_penalty, without)]
    changed = {name for name in meta if (slopes[0][name] - slopes[1][name]).abs().max() > 1e-12}
    assert changed == {name for name in meta if "encoder" in name or "relation" in name}


def test_one_group_decodes_a_whole_network() -> None:
    count = sum(t.numel() for t in learner()[1].values())
    algorithm = replace(leo(), groups=lambda y: torch.ones(len(y), 1), shape=(1, count), decoded=tuple(learner()[1]))
    meta = trained(algorithm)
    support = task()[0]
    moved = algorithm.adapt(meta, Examples(support.x.flip(1), support.y, support.weight))
    start = algorithm.model(meta)
    assert all((moved[name] - start[name]).abs().max() > 1e-3 for name in start)
