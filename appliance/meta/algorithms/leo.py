"""LEO: descend in a small latent space from which the parameters are decoded."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad

from appliance.meta.algorithms.base import MODEL, Algorithm
from appliance.meta.learning import Examples, Params, named, part, shares

LEO = "leo."
RELATION_LAYERS = 3
SPREAD = 0.1
"""Of decoded parameters at the start, as a share of the usual one of fresh weights."""


@dataclass(frozen=True, kw_only=True)
class Leo(Algorithm):
    """Meta-learning with latent embedding optimisation (Rusu et al. 2019, algorithm 1).

    Each group of examples, in classification a class, gets one latent code z; its mean and spread are what encoder and
    relation network say of the group's examples, each beside every other of the task (equations 1 to 3 there). A
    decoder turns each code into mean and spread of one row of parameters (equation 5). The codes descend the support's
    loss (equation 4), the decoded parameters descend it a little more (section 2.4), all with learned step sizes. The
    outer loss adds β KL(z ‖ N(0, 1)), γ (z' − z)² with z' held fixed, weight decay, and the correlation of the
    decoder's rows (equation 6).

    Two things differ. The layers have biases, which regression cannot do without; the decoder's starts at the network's
    own parameters, so that codes of 0, of a group without examples, decode to the start. And a task draws once,
    not anew at each step of the descent, so that the descent is of one function.

    Parameters
    ----------
    feature_size
        What the encoder sees of each example.
    features
        Network parameters, examples → what the encoder sees [example, feature_size].
    groups
        Targets → how far each example belongs to each group [example, group].
    decoded
        Names of the parameters that are decoded, each with as many rows as there are groups (any shape for one group);
        the learner's head if empty. All others are learned by the outer loop and the same for all tasks.
    shape
        Groups, and numbers decoded for each.
    """

    feature_size: int
    features: Callable[[Params, Examples], Tensor]
    groups: Callable[[Tensor], Tensor]
    shape: tuple[int, int]
    decoded: tuple[str, ...] = ()
    latents: int = 16
    steps: int = 5
    step_size: float = 1.0
    finetuning_steps: int = 5
    finetuning_step_size: float = 1e-3
    kl_weight: float = 1e-3
    encoder_weight: float = 1e-2
    decay_weight: float = 1e-6
    orthogonality_weight: float = 1e-2

    def initial(self, params: Params, generator: torch.Generator) -> Params:
        """Start with fresh networks, except that codes of 0 decode to the network's own parameters."""
        like = next(iter(params.values()))

        def fresh(inputs: int, outputs: int) -> Tensor:
            scale = math.sqrt(2 / (inputs + outputs))
            return torch.randn(inputs, outputs, generator=generator, dtype=like.dtype) * scale

        both = 2 * self.latents
        net = {"encoder": fresh(self.feature_size, self.latents), "encoder_bias": like.new_zeros(self.latents)}
        for layer in range(RELATION_LAYERS):
            net |= {f"relation{layer}": fresh(both, both), f"relation{layer}_bias": like.new_zeros(both)}
        net["decoder"] = fresh(self.latents, 2 * self.shape[1])
        net["spread"] = like.new_full((self.shape[1],), math.log(SPREAD))
        net["step_size"] = like.new_full((self.latents,), self.step_size)
        net["finetuning_step_size"] = like.new_full((self.shape[1],), self.finetuning_step_size)
        return named(MODEL, params) | named(LEO, net)

    @property
    def noise_size(self) -> int:
        """One number for each latent and for each decoded parameter."""
        groups, row = self.shape
        return groups * (self.latents + row)

    def adapt(self, meta: Params, support: Examples, noise: Tensor | None = None) -> Params:
        """Encode, descend in the latent space, decode, descend a little more."""
        return self._adapt(meta, support, noise)[0]

    def task_loss(self, meta: Params, support: Examples, query: Examples, noise: Tensor) -> Tensor:
        """Return the query's loss with what codes cost: their divergence, and the encoder's distance from them."""
        params, moved, (code, mean, log_spread) = self._adapt(meta, support, noise)
        distance = (moved.detach() - code).square().mean()
        costs = self.kl_weight * divergence(mean, log_spread) + self.encoder_weight * distance
        return self.learner.mean_loss(params, query) + costs

    def penalty(self, meta: Params) -> Tensor:
        """Return weight decay of the networks, and how alike the decoder's rows are."""
        weights = [meta[LEO + "encoder"], meta[LEO + "decoder"]]
        weights += [meta[f"{LEO}relation{layer}"] for layer in range(RELATION_LAYERS)]
        decay = torch.stack([weight.square().sum() for weight in weights]).sum()
        return self.decay_weight * decay + self.orthogonality_weight * correlation(meta[LEO + "decoder"])

    def encode(self, meta: Params, support: Examples) -> tuple[Tensor, Tensor]:
        """Return mean and log spread of each group's code, each [group, latent]; both 0 for an empty group.

        Time and memory grow with the square of the examples: every example is seen beside every other.
        """
        net = part(meta, LEO)
        codes = self.features(self.model(meta), support) @ net["encoder"] + net["encoder_bias"]  # (example, latent)
        n = len(codes)
        pairs = torch.cat([codes[:, None].expand(n, n, -1), codes[None].expand(n, n, -1)], dim=-1)
        for layer in range(RELATION_LAYERS):
            pairs = pairs if layer == 0 else pairs.relu()
            pairs = pairs @ net[f"relation{layer}"] + net[f"relation{layer}_bias"]  # (example, example, 2 latent)
        related = torch.einsum("ijl,j->il", pairs, shares(support.weight))
        member = self.groups(support.y) * support.weight[:, None]  # (example, group)
        mean, log_spread = (shares(member).mT @ related).chunk(2, dim=-1)
        return mean, log_spread

    def _adapt(
        self, meta: Params, support: Examples, noise: Tensor | None
    ) -> tuple[Params, Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Return all parameters, the codes after their descent, and before: drawn, mean, logarithm of the spread."""
        net = part(meta, LEO)
        groups, row = self.shape
        mean, log_spread = self.encode(meta, support)
        code, decoded_noise = mean, None
        if noise is not None:
            code_noise, decoded_noise = noise.reshape(groups, -1).split([self.latents, row], dim=1)
            code = mean + log_spread.exp() * code_noise

        def support_loss(code: Tensor) -> Tensor:
            return self.learner.mean_loss(self._decode(meta, code, decoded_noise), support)

        moved = code
        for _ in range(self.steps):
            moved = moved - net["step_size"] * grad(support_loss)(moved)
        params = self._decode(meta, moved, decoded_noise)
        names = self._decoded
        adapted = {name: params[name] for name in names}
        slope = grad(lambda some: self.learner.mean_loss(params | some, support))
        widths = [params[name].numel() // groups for name in names]
        sizes = dict(zip(names, net["finetuning_step_size"].split(widths), strict=True))
        for _ in range(self.finetuning_steps):
            for name, gradient in slope(adapted).items():
                step = gradient.reshape(groups, -1) * sizes[name]
                adapted[name] = adapted[name] - step.reshape(gradient.shape)
        return params | adapted, moved, (code, mean, log_spread)

    def _decode(self, meta: Params, code: Tensor, noise: Tensor | None) -> Params:
        """Decode codes [group, latent] to all of the network's parameters."""
        model, net = self.model(meta), part(meta, LEO)
        shift, log_spread = (code @ net["decoder"]).chunk(2, dim=-1)  # each (group, row)
        if noise is not None:
            usual = math.sqrt(2 / sum(self.shape))
            shift = shift + noise * usual * (net["spread"] + log_spread).exp()
        widths = [model[name].numel() // len(code) for name in self._decoded]
        rows = dict(zip(self._decoded, shift.split(widths, dim=1), strict=True))
        return model | {name: model[name] + some.reshape(model[name].shape) for name, some in rows.items()}

    @property
    def _decoded(self) -> tuple[str, ...]:
        return self.decoded or self.learner.head


def divergence(mean: Tensor, log_spread: Tensor) -> Tensor:
    """KL(N(mean, spread²) ‖ N(0, 1)) in nats, averaged over all entries []."""
    return (mean.square() + (2 * log_spread).exp() - 1 - 2 * log_spread).mean() / 2


def correlation(weight: Tensor) -> Tensor:
    """Return the mean squared correlation [] between different rows [row, column]: 0 where they are orthogonal."""
    rows = torch.nn.functional.normalize(weight, dim=1)
    return (rows @ rows.T - torch.eye(len(rows), dtype=rows.dtype)).square().mean()
