"""The outer loop: episodes → encoder and head, stopped early by machines that it never trains on.

::

    Episodes ─ EncoderAndRidge.log_odds ─ loss ─ Adam ─┬─ validation on held-out machines ─ best so far
                                               └─ checkpoint: weights, optimiser, episode number
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from appliance.evaluation.metrics import auc_pr
from appliance.meta import checkpoint
from appliance.meta.encoder import EMBEDDING, Encoder
from appliance.meta.episodes import Episode, Episodes
from appliance.meta.head import RidgeHead
from appliance.meta.learning import named, part, seeded
from appliance.meta.machines import Machine

torch.set_num_threads(1)  # the networks are too small for more, and sums then always come out the same

T = TypeVar("T")

_LARGEST_GRADIENT = 1.0
_HEAD_RATE = 5.0
"""Times the rate of the encoder: the head's few numbers are logarithms and have far to go."""
VALIDATION_SEED = 1000
"""Added to the seed, for episodes that only validate..."""
_VALIDATION_REAL_SHARE = 0.5
"""...of which so many have events of the machine's own, however many of those that teach."""
_LEAST_SHARE = 0.02
"""Of a query, so that one with a single fault does not outshout the others."""


@dataclass(frozen=True)
class TrainingOptions:
    """All that a training follows from, beside the recordings; kept with what it makes."""

    method: str = "ridge"
    seed: int = 0
    steps: int = 5000
    batch: int = 4
    """Episodes whose gradients make a step."""
    rate: float = 1e-3
    weight_decay: float = 0.05
    """Of the encoder, decoupled (AdamW)."""
    validate_every: int = 80
    validation_episodes: int = 120
    patience: int = 30
    """Validations without a better one, after which it ends."""
    minutes: float | None = None
    """Of CPU, after which it ends all the same."""
    real_share: float = 0.25
    """Of episodes with a machine's own events. With half of them, at twice the rate and without decay, held-out average
    precision fell after 240 steps while the loss went on falling: the machines taught have few events to learn."""
    semantics: bool = True
    """Draw anew in every episode which made-up faults are called faults."""
    learn_prior: bool = False
    """Learn what the head says without labels, too. Left at the evidence's mean it can only gain from labels; learned,
    it ranked unseen machines worse than that (0.297 against 0.418 VUS-PR in the mean over six datasets)."""
    freeze_encoder: bool = False
    """Leave the encoder as it was drawn: the comparison that says what training it is worth."""
    embedding: int = EMBEDDING
    """0: no encoder, evidence alone."""


class EncoderAndRidge(nn.Module):
    """Encoder and head: one episode in, the log odds of its query out."""

    def __init__(self, detectors: int, embedding: int = EMBEDDING) -> None:
        super().__init__()
        self.encoder = Encoder(embedding) if embedding else None
        self.head = RidgeHead(embedding, detectors)

    def features(self, episode: Episode) -> torch.Tensor:
        """[n, feature] of all windows of an episode."""
        cells, mask = (torch.from_numpy(array) for array in episode.perceived.planes)
        evidence = torch.from_numpy(episode.perceived.evidence)
        embeddings = evidence[:, :0] if self.encoder is None else self.encoder(cells, mask)
        return self.head.features(embeddings, episode.normals, evidence)

    def log_odds(self, episode: Episode) -> torch.Tensor:
        """[query] after the support has been learned."""
        features = self.features(episode)
        is_fault = torch.from_numpy(episode.support_is_fault).float()
        weight = torch.from_numpy(episode.support_weight).float()
        weights = self.head.adapt(features[episode.support], is_fault, weight)
        return self.head.log_odds(features[episode.query], weights)


class Validated(NamedTuple):
    """One point of the validation curve."""

    step: int
    loss: float
    """Mean over the steps since the point before."""
    average_precision: float
    """Mean over the validation episodes, made-up and real ones for the same."""
    by_k: dict[int, float]
    """And by number of labelled events."""
    by_kind: dict[str, float]
    """And of real and of made-up ones."""
    secs: float
    """CPU of training, since it began."""


class Training:
    """A training that can be interrupted: a function of its options, the episodes, and nothing else.

    Parameters
    ----------
    episodes
        To learn from.
    validation
        On machines that are not among those of ``episodes``.
    """

    def __init__(self, options: TrainingOptions, detectors: int, episodes: Episodes, validation: Episodes) -> None:
        self.options = options
        with seeded(options.seed):
            self.model = EncoderAndRidge(detectors, options.embedding)
        self.model.head.prior.requires_grad_(options.learn_prior)
        if options.freeze_encoder and self.model.encoder is not None:
            self.model.encoder.requires_grad_(False)
        self.curve: list[Validated] = []
        self.step = 0
        self.secs = 0.0
        self._episodes = episodes
        self._validation = [validation[number] for number in range(options.validation_episodes)]
        head = list(self.model.head.parameters())
        groups = [{"params": head, "share": _HEAD_RATE, "weight_decay": 0.0}]
        if self.model.encoder is not None:
            groups.append(
                {"params": list(self.model.encoder.parameters()), "share": 1.0, "weight_decay": options.weight_decay}
            )
        self._optimiser = torch.optim.AdamW(groups, lr=options.rate)
        self._best = copy.deepcopy(self.model.state_dict())

    @property
    def best(self) -> Validated | None:
        """The point of the curve whose weights are kept."""
        return max(self.curve, key=lambda point: point.average_precision, default=None)

    @property
    def finished(self) -> bool:
        """Whether it has taken all its steps or its time, or no longer gets better."""
        options, best = self.options, self.best
        stale = best is not None and sum(point.step > best.step for point in self.curve) >= options.patience
        late = options.minutes is not None and self.secs >= 60.0 * options.minutes
        return stale or late or self.step >= options.steps

    def run(self, report: Callable[[Validated], None], stepped: Callable[[], None] = lambda: None) -> EncoderAndRidge:
        """Go on until finished; return what did best on the held-out machines."""
        options, losses = self.options, []
        if not self.curve:
            self.curve.append(self._validate(float("nan"), time.process_time()))  # it may get worse from the start
        while not self.finished:
            began = time.process_time()
            for group in self._optimiser.param_groups:
                group["lr"] = options.rate * group["share"] * (1.0 - self._share_done())
            losses.append(self._learn(range(self.step * options.batch, (self.step + 1) * options.batch)))
            self.step += 1
            if self.step % options.validate_every == 0 or self.step == options.steps:
                point = self._validate(float(np.mean(losses)), began)
                losses.clear()
                self.curve.append(point)
                if point is self.best:
                    self._best = copy.deepcopy(self.model.state_dict())
                self.secs += time.process_time() - began
                report(point)
            else:
                self.secs += time.process_time() - began
            stepped()
        self.model.load_state_dict(self._best)
        return self.model

    def _share_done(self) -> float:
        spent = 0.0 if self.options.minutes is None else self.secs / (60.0 * self.options.minutes)
        return min(1.0, max(self.step / self.options.steps, spent))

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        moments = {
            f"{number}.{moment}": tensor
            for number, state in self._optimiser.state_dict()["state"].items()
            for moment, tensor in state.items()
        }
        tensors = named("model.", self.model.state_dict()) | named("best.", self._best) | named("adam.", moments)
        progress = {"step": self.step, "secs": self.secs, "curve": [point._asdict() for point in self.curve]}
        checkpoint.write(path, tensors, asdict(self.options), progress)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises
        ------
        TrainingError
            It cannot be read, or was made with other options.
        """
        tensors, progress = checkpoint.read(path, asdict(self.options))
        self.model.load_state_dict(part(tensors, "model."))
        self._best = part(tensors, "best.")
        optimiser = self._optimiser.state_dict()
        for name, tensor in part(tensors, "adam.").items():
            number, moment = name.split(".")
            optimiser["state"].setdefault(int(number), {})[moment] = tensor
        self._optimiser.load_state_dict(optimiser)
        self.step, self.secs = progress["step"], progress["secs"]
        by_k = [{int(k): value for k, value in point.pop("by_k").items()} for point in progress["curve"]]
        self.curve = [Validated(**point, by_k=each) for point, each in zip(progress["curve"], by_k, strict=True)]

    def _learn(self, numbers: range) -> float:
        """Take one step down the mean loss of some episodes."""
        self._optimiser.zero_grad()
        total = 0.0
        for number in numbers:
            loss = query_loss(self.model, self._episodes[number]) / len(numbers)
            loss.backward()
            total += float(loss.detach())
        nn.utils.clip_grad_norm_(self.model.parameters(), _LARGEST_GRADIENT)
        self._optimiser.step()
        return total

    @torch.no_grad()
    def _validate(self, loss: float, began: float) -> Validated:
        reached = [
            auc_pr(self.model.log_odds(episode).double().numpy(), episode.query_is_fault)
            for episode in self._validation
        ]

        def means(keys: Sequence[T]) -> dict[T, float]:
            return {
                key: float(np.nanmean([area for area, own in zip(reached, keys, strict=True) if own == key]))
                for key in dict.fromkeys(keys)
            }

        by_k = dict(sorted(means([episode.k for episode in self._validation]).items()))
        by_kind = means([str(episode.kind) for episode in self._validation])
        secs = self.secs + time.process_time() - began
        return Validated(self.step, loss, float(np.nanmean(reached)), by_k, by_kind, secs)


def episodes_of(
    options: TrainingOptions, machines: Sequence[Machine], validation: Sequence[Machine]
) -> tuple[Episodes, Episodes]:
    """Make the episodes to learn from, and those that validate."""
    return (
        Episodes(machines, options.seed, real_share=options.real_share, semantics=options.semantics),
        Episodes(validation, options.seed + VALIDATION_SEED, real_share=_VALIDATION_REAL_SHARE),
    )


def query_loss(model: EncoderAndRidge, episode: Episode) -> torch.Tensor:
    """Cross-entropy of the query, faults and others counting the same."""
    is_fault = torch.from_numpy(episode.query_is_fault).float()
    share = is_fault.mean().clamp(_LEAST_SHARE, 1.0 - _LEAST_SHARE)
    weight = torch.where(is_fault > 0, 0.5 / share, 0.5 / (1.0 - share))
    return binary_cross_entropy_with_logits(model.log_odds(episode), is_fault, weight)
