import numpy as np
import pytest
import torch

from appliance.detect.encoder import Embedding, Network
from appliance.meta.encoder import Encoder
from appliance.meta.export import exported
from appliance.meta.head import RidgeHead, whitening
from tests.meta.grounds import machine


def normals(n: int = 200, size: int = 6, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return torch.randn(n, size, generator=generator, dtype=torch.float64) @ mix + 3.0


def head_with(embedding: int, detectors: int) -> RidgeHead:
    head = RidgeHead(embedding, detectors).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return head


def support(features: int, seed: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(30, features, generator=generator, dtype=torch.float64)
    is_fault = torch.zeros(30, dtype=torch.float64)
    is_fault[:10] = 1.0
    weight = torch.where(is_fault > 0, 0.2, 1.0 / 20.0)
    return rows, is_fault, weight


def test_whitening_is_the_inverse_root_of_the_shrunk_covariance() -> None:
    given = normals()
    centre, whiten = whitening(given)
    torch.testing.assert_close(centre, given.mean(dim=0))
    covariance = torch.cov(given.T, correction=0)
    shrunk = covariance + 0.1 * covariance.trace() / 6 * torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(whiten @ shrunk @ whiten, torch.eye(6, dtype=torch.float64), atol=1e-5, rtol=0.0)


def test_whitening_in_training_is_that_of_the_service() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = Encoder().eval()
    own = machine()
    warm_up = own.cut(np.flatnonzero(own.is_warm_up))
    embedding = Embedding(Network(exported(encoder)), warm_up, seed=0)
    with torch.no_grad():
        raw = encoder(*map(torch.from_numpy, own.scale.of(warm_up))).double()
    centre, whiten = whitening(raw)
    np.testing.assert_allclose(embedding.centre, centre.numpy(), atol=1e-5)
    np.testing.assert_allclose(embedding.of(warm_up), ((raw - centre) @ whiten).numpy(), atol=5e-3)


def test_whitening_has_gradients_where_all_variances_are_equal() -> None:
    corners = torch.eye(4, dtype=torch.float64).repeat(2, 1)
    corners[4:] *= -1.0
    corners.requires_grad_()
    whitening(corners)[1].sum().backward()
    assert corners.grad is not None
    assert torch.isfinite(corners.grad).all()


@torch.no_grad()
def test_the_head_is_the_least_squares_solution() -> None:
    head = head_with(0, 5)
    rows, is_fault, weight = support(6)
    found = head.adapt(rows, is_fault, weight)
    strength = head.log_strength.exp()
    counts = weight * torch.where(is_fault > 0, strength[0], strength[1] * 2.0)
    stacked = torch.cat([rows * counts.sqrt()[:, None], torch.diag((0.5 * head.log_penalty).exp())])
    wanted = torch.cat([(2 * is_fault - 1) * counts.sqrt(), (0.5 * head.log_penalty).exp() * head.prior])
    torch.testing.assert_close(found, torch.linalg.lstsq(stacked, wanted).solution, atol=1e-8, rtol=1e-8)


@torch.no_grad()
def test_what_weighs_nothing_leaves_the_prior() -> None:
    head = head_with(0, 5)
    rows, is_fault, weight = support(6)
    torch.testing.assert_close(head.adapt(rows, is_fault, torch.zeros_like(weight)), head.prior.detach())


class Squares(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = head_with(3, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        _, is_fault, weight = support(3)
        features = self.head.features(rows, 20, rows[:, :2].detach().abs())
        odds = self.head.log_odds(features, self.head.adapt(features, is_fault, weight))
        return odds.square().sum()


def test_gradients_through_the_solution_are_right() -> None:
    module = Squares()
    names = [name for name, _ in module.named_parameters()]

    def loss(rows: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        squares: torch.Tensor = torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), (rows,))
        return squares

    inputs = support(3)[0], *(parameter.detach().clone() for parameter in module.parameters())
    for each in inputs[1:]:
        each.requires_grad_()
    assert torch.autograd.gradcheck(loss, inputs, eps=1e-6, atol=1e-4)


def test_the_gradient_reaches_the_encoder_through_whitening_and_solution() -> None:
    head = head_with(3, 0)
    rows, is_fault, weight = support(3)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        features = head.features(rows, 20, rows[:, :0])
        return head.log_odds(features, head.adapt(features, is_fault, weight)).square().sum()

    assert torch.autograd.gradcheck(loss, (rows.requires_grad_(),), eps=1e-6, atol=1e-4)


@pytest.mark.parametrize(("embedding", "detectors"), [(0, 3), (4, 3), (4, 0)])
@torch.no_grad()
def test_features_are_embedding_distance_evidence_and_one(embedding: int, detectors: int) -> None:
    head = RidgeHead(embedding, detectors).double()
    features = head.features(normals(50, embedding) if embedding else torch.empty(50, 0), 40, torch.ones(50, detectors))
    assert features.shape == (50, len(head.prior))
    assert torch.equal(features[:, -1], torch.ones(50, dtype=features.dtype))
