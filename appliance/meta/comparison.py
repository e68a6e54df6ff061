"""What meta-training is worth: priors and hand-made features, each with the same few labels, on machines none has seen.

::

    Trial ─ Machine ─┬─ hand-made features ──────────┬─ ridge on k labelled events ─ VUS-PR on the common tail
                     ├─ evidence ────────────────────┤
                     └─ planes ─ encoder of a prior ─┘
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
import torch

from appliance.detect.encoder import Network
from appliance.detect.planes import Planes
from appliance.detect.tail import TailRank
from appliance.evaluation.methods import Support
from appliance.evaluation.metrics import auc_pr, vus_pr
from appliance.evaluation.support import common_tail, support_of
from appliance.evaluation.trials import Trial
from appliance.meta.episodes import Episode
from appliance.meta.head import USUAL
from appliance.meta.machines import Indices, Machine
from appliance.meta.prior import Prior
from appliance.meta.train import EncoderAndRidge
from appliance.records import Floats

EVIDENCE_MEAN = "evidence_mean"
HAND_MADE = "hand_made"
BLENDED = "+mean"
"""Suffix of a head averaged half and half with the evidence's mean, each as -ln tail rank."""
_CHUNK = 256
_MOST_WARM_UP = 3000
"""Windows that detectors are fitted on."""
_MOST_NORMALS = 4000


class Figure(msgspec.Struct, frozen=True):
    """One method on one machine with k labels."""

    dataset: str
    machine: str
    cluster: str
    method: str
    k: int
    vus_pr: float
    auc_pr: float


class Seen(NamedTuple):
    """All windows of a machine through every pair of eyes."""

    evidence: Floats
    """[n, detector] ln(1 + evidence)."""
    standard: Floats
    """[n, feature x channel]."""
    embeddings: Mapping[str, torch.Tensor]
    """[n, embedding], not whitened, by prior."""


def compare(trial: Trial, priors: Mapping[str, Sequence[Prior]], ks: Sequence[int], seed: int) -> list[Figure]:
    """Judge one machine by every method and number of labels; nothing where it has too few events.

    Parameters
    ----------
    priors
        By name, several of which the first that has not seen the machine's cluster is taken.
    """
    tail = common_tail(trial.event_hops, [0, *ks])
    if tail is None:
        return []
    machine = Machine.of(trial, seed, _MOST_WARM_UP)
    chosen = {
        name: prior
        for name, those in priors.items()
        if (prior := next((each for each in those if trial.cluster not in each.seen), None)) is not None
    }
    seen = _look(machine, chosen)
    test = np.flatnonzero(trial.is_test)
    warm_up = np.flatnonzero(machine.is_warm_up)
    labels = trial.test_labels[tail.start :]
    figures = []
    for k in tail.ks:
        support = support_of(trial.event_hops, k, [], 0)
        task = _Task.of(warm_up, test, support)
        for name, scores in _answers(seen, chosen, task):
            on_tail = scores[test[tail.start :]]
            vus = vus_pr(on_tail, labels, max(1, trial.length // trial.hop))
            area = auc_pr(on_tail, labels)
            figures.append(Figure(trial.dataset, trial.machine, trial.cluster, name, k, vus, area))
    return figures


@dataclass(frozen=True)
class _Task:
    """What is known of a machine: rows of all its windows."""

    warm_up: Indices
    normals: Indices
    """Assumed-normals: the warm-up and the past that is not labelled, thinned."""
    faults: Indices
    weight: Floats
    """[normals + faults] 1 for each event, 1 for all normals together."""

    @classmethod
    def of(cls, warm_up: Indices, test: Indices, support: Support) -> _Task:
        normals = np.concatenate([warm_up, test[support.normal]])
        normals = normals[:: -(-len(normals) // _MOST_NORMALS)]
        _, event, sizes = np.unique(support.event, return_inverse=True, return_counts=True)
        weight = np.concatenate([np.full(len(normals), 1.0 / len(normals)), 1.0 / sizes[event]])
        return cls(warm_up, normals, test[support.fault], weight)

    @property
    def rows(self) -> Indices:
        return np.concatenate([self.normals, self.faults])

    @property
    def is_fault(self) -> Floats:
        return np.repeat([0.0, 1.0], [len(self.normals), len(self.faults)])


def _look(machine: Machine, priors: Mapping[str, Prior]) -> Seen:
    evidence, standard = [], []
    embeddings: dict[str, list[torch.Tensor]] = {name: [] for name in priors}
    for first in range(0, len(machine.ends), _CHUNK):
        perceived = machine.perceive(machine.cut(np.arange(first, min(first + _CHUNK, len(machine.ends)))))
        evidence.append(perceived.evidence)
        standard.append(perceived.standard.astype(np.float32))
        for name, prior in priors.items():
            if prior.model.encoder is not None:
                with torch.no_grad():
                    embeddings[name].append(prior.model.encoder(*map(torch.from_numpy, perceived.planes)))
    return Seen(
        np.concatenate(evidence).astype(np.float64),
        np.concatenate(standard).astype(np.float64),
        {
            name: torch.cat(parts).double() if parts else torch.empty(len(machine.ends), 0, dtype=torch.float64)
            for name, parts in embeddings.items()
        },
    )


def _answers(seen: Seen, priors: Mapping[str, Prior], task: _Task) -> Iterator[tuple[str, Floats]]:
    """Score all windows by every method."""
    mean = seen.evidence.mean(axis=1)
    yield EVIDENCE_MEAN, mean
    ranked_mean = _ranked(mean, task.normals)
    heads: dict[str, Floats] = {name: _by_prior(prior, seen, name, task) for name, prior in priors.items()}
    if len(task.faults):
        heads[HAND_MADE] = _by_hand(seen, task)
    for name, scores in heads.items():
        yield name, scores
        yield name + BLENDED, 0.5 * ranked_mean + 0.5 * _ranked(scores, task.normals)


@torch.no_grad()
def _by_prior(prior: Prior, seen: Seen, name: str, task: _Task) -> Floats:
    head = copy.deepcopy(prior.model.head).double()
    rows = np.concatenate([task.warm_up, np.arange(len(seen.evidence))])  # the warm-up first: it whitens
    embeddings, evidence = seen.embeddings[name][rows], torch.from_numpy(seen.evidence[rows])
    features = head.features(embeddings, len(task.warm_up), evidence)[len(task.warm_up) :]
    weights: torch.Tensor = head.prior
    if len(task.faults):
        weights = head.adapt(features[task.rows], torch.from_numpy(task.is_fault), torch.from_numpy(task.weight))
    scores: Floats = (features @ weights).numpy()
    return scores


def _by_hand(seen: Seen, task: _Task) -> Floats:
    """Ridge regression of the label on features and evidence, penalty 1, as scikit-learn's with balanced weights."""
    rows = np.concatenate([seen.standard, seen.evidence - USUAL], axis=1)
    is_fault, events = task.is_fault, task.weight[len(task.normals) :].sum()
    weight = task.weight * np.where(is_fault > 0, 1.0 / events, 1.0)
    weight /= weight.mean()
    centre = np.average(rows[task.rows], axis=0, weights=weight)
    offsets = rows[task.rows] - centre
    gram = offsets.T @ (offsets * weight[:, None]) + np.eye(rows.shape[1])
    target = is_fault - np.average(is_fault, weights=weight)
    scores: Floats = (rows - centre) @ np.linalg.solve(gram, offsets.T @ (weight * target))
    return scores


def _ranked(scores: Floats, normals: Indices) -> Floats:
    """-ln tail rank of scores [n] among those of a machine's own normals."""
    ranks = TailRank(_standard(scores, normals)[normals, None])
    return np.array([ranks.evidence([score])[0] for score in _standard(scores, normals)])


def _standard(scores: Floats, normals: Indices) -> Floats:
    """Scores in spreads of the normals: the tail's floor is meant for numbers of that size."""
    return (scores - np.median(scores[normals])) / max(float(scores[normals].std()), np.finfo(np.float64).tiny)


class _Exported(torch.nn.Module):
    """An encoder's place, taken by the network that the service would run."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = network

    def forward(self, cells: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self._network.encode(Planes(cells.numpy(), mask.numpy())))


@torch.no_grad()
def precision_of(model: EncoderAndRidge, network: Network, episodes: Sequence[Episode]) -> float:
    """Mean average precision of episodes' queries, with a network in the place of a model's encoder."""
    stand_in = copy.copy(model)
    stand_in._modules = model._modules | {"encoder": _Exported(network)}
    areas = [auc_pr(stand_in.log_odds(each).double().numpy(), each.query_is_fault) for each in episodes]
    return float(np.nanmean(areas))
