"""The closed-form head: whitened embeddings and evidence of a support → a linear score, differentiably.

Ridge regression inside the training loop after Bertinetto et al. 2019, "Meta-learning with differentiable closed-form
solvers" (R2-D2), centred on meta-learned weights and with a meta-learned penalty for each feature.
"""

from __future__ import annotations

import math

import torch
from torch import nn

SHRINKAGE = 0.1
"""Share of the mean variance that is added to every direction before whitening: sixty windows say little of the
directions in which they hardly vary."""
_ITERATIONS = 12
_TINY = 1e-6
_EMBEDDING_PENALTY = 4.0
"""Logarithm at the start: evidence is believed before an embedding that nobody has trained yet."""
USUAL = math.log(2.0)
"""ln(1 + evidence) of an average normal window."""


def whitening(normals: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return centre [d] and symmetric whitening matrix [d, d] of a machine's normal embeddings [n, d].

    The inverse square root comes from coupled Newton-Schulz iterations (Higham 2008, eq. 6.35): unlike an
    eigendecomposition it has gradients where variances are equal.
    """
    centre = normals.mean(dim=0)
    offsets = normals - centre
    covariance = offsets.T @ offsets / len(normals)
    size = covariance.shape[0]
    identity = torch.eye(size, dtype=normals.dtype, device=normals.device)
    variance = covariance.trace() / size + _TINY
    covariance = covariance + SHRINKAGE * variance * identity
    norm = covariance.norm()
    root, inverse = covariance / norm, identity
    for _ in range(_ITERATIONS):
        turn = 0.5 * (3.0 * identity - inverse @ root)
        root, inverse = root @ turn, turn @ inverse
    return centre, inverse / norm.sqrt()


class RidgeHead(nn.Module):
    r"""A linear score that starts from the prior's weights :math:`w_0` and is bent by the support.

    .. math:: \delta = \arg\min_\delta \sum_i s_i (\phi_i^\top (w_0 + \delta) - t_i)^2 + \delta^\top \Lambda \delta

    with targets :math:`t = \pm 1`. Without a labelled event the score is the prior's own, :math:`\phi^\top w_0`.

    Parameters
    ----------
    embedding, detectors
        Features of a window: its whitened embedding and ln(1 + evidence) of each detector; either may be 0.
    """

    def __init__(self, embedding: int, detectors: int) -> None:
        super().__init__()
        width = embedding + 1 if embedding else 0  # and the distance from the normal
        features = width + detectors + 1
        prior = torch.zeros(features)
        prior[width : width + detectors] = 1.0 / max(detectors, 1)
        prior[-1] = -1.0
        self.embedding = embedding
        self.prior = nn.Parameter(prior)
        penalty = torch.zeros(features)
        penalty[:width] = _EMBEDDING_PENALTY
        self.log_penalty = nn.Parameter(penalty)
        self.log_strength = nn.Parameter(torch.tensor([1.0, 1.0]))
        self.log_temperature = nn.Parameter(torch.tensor(0.0))

    def features(self, embeddings: torch.Tensor, normals: int, evidence: torch.Tensor) -> torch.Tensor:
        """[n, feature] of windows whose first ``normals`` are assumed-normals of the machine."""
        parts = [evidence - USUAL, evidence.new_ones(len(evidence), 1)]
        if self.embedding:
            centre, whiten = whitening(embeddings[:normals])
            white = (embeddings - centre) @ whiten
            distance = white.square().mean(dim=1, keepdim=True).log1p()
            parts = [white.arcsinh(), distance, *parts]
        return torch.cat(parts, dim=1)

    def adapt(self, features: torch.Tensor, is_fault: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Weights [feature] for one machine.

        Parameters
        ----------
        features
            [support, feature].
        is_fault
            [support] 1 for a window of a labelled event, else 0.
        weight
            [support] 1 for each event, shared by its windows; the normals together count 1.
        """
        events = (weight * is_fault).sum()
        strength = self.log_strength.exp()
        counts = weight * torch.where(is_fault > 0, strength[0], strength[1] * events)
        scale = (-0.5 * self.log_penalty).exp()
        scaled = features * scale
        missed = 2.0 * is_fault - 1.0 - features @ self.prior
        gram = scaled.T @ (scaled * counts[:, None]) + torch.eye(scaled.shape[1], dtype=scaled.dtype)
        bent: torch.Tensor = self.prior + scale * torch.linalg.solve(gram, scaled.T @ (counts * missed))
        return bent

    def log_odds(self, features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """[n] of a fault."""
        odds: torch.Tensor = self.log_temperature.exp() * (features @ weights)
        return odds
