import pytest
import torch

from appliance.detect.planes import PLANES
from appliance.meta.encoder import EMBEDDING, Encoder, weights_of

CHANNELS = (1, 3, 10, 38)
LENGTHS = (16, 17, 32, 64, 256)
MOST_WEIGHTS = 50_000


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Encoder().eval()


def some(n: int, channels: int, length: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    cells = 2.0 * torch.randn(n, channels, PLANES, length, generator=generator)
    return cells, torch.ones(n, channels, length)


def test_it_is_small(encoder: Encoder) -> None:
    assert weights_of(encoder) < MOST_WEIGHTS
    kinds = {type(module).__name__ for module in encoder.modules()}
    assert not any("BatchNorm" in kind or kind in {"LSTM", "GRU", "RNN"} for kind in kinds)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("length", LENGTHS)
@torch.no_grad()
def test_it_takes_any_number_of_channels_and_cells(encoder: Encoder, channels: int, length: int) -> None:
    embeddings = encoder(*some(3, channels, length))
    assert embeddings.shape == (3, EMBEDDING)
    assert torch.isfinite(embeddings).all()


@torch.no_grad()
def test_the_order_of_the_channels_does_not_matter(encoder: Encoder) -> None:
    cells, mask = some(4, 10, 32)
    mask[:, 3, :20] = 0.0
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(encoder(cells[:, order], mask[:, order]), encoder(cells, mask), atol=1e-5, rtol=0.0)


@torch.no_grad()
def test_a_missing_channel_changes_nothing_whatever_it_holds(encoder: Encoder) -> None:
    cells, mask = some(4, 5, 32)
    other, _ = some(4, 2, 32, seed=9)
    wider = torch.cat([cells, 100.0 * other], dim=1), torch.cat([mask, torch.zeros(4, 2, 32)], dim=1)
    torch.testing.assert_close(encoder(*wider), encoder(cells, mask), atol=1e-5, rtol=0.0)


@torch.no_grad()
def test_a_missing_cell_is_not_the_same_as_a_zero(encoder: Encoder) -> None:
    cells, mask = some(4, 3, 32)
    gaps = mask.clone()
    gaps[:, 1, 8:16] = 0.0
    zeros = cells * gaps[:, :, None]
    assert (encoder(zeros, gaps) - encoder(zeros, mask)).abs().max() > 1e-3
    torch.testing.assert_close(encoder(cells, gaps), encoder(zeros, gaps), atol=1e-6, rtol=0.0)


@torch.no_grad()
def test_how_large_something_is_reaches_the_embedding(encoder: Encoder) -> None:
    cells, mask = some(1, 4, 32)
    once, twice, thrice = (encoder(factor * cells, mask) for factor in (1.0, 2.0, 3.0))
    assert (twice - once).norm() > 0.1 * once.norm()
    assert (thrice - once).norm() > (twice - once).norm()


@torch.no_grad()
def test_a_window_without_any_reading_still_gives_numbers(encoder: Encoder) -> None:
    cells, mask = some(2, 3, 32)
    assert torch.isfinite(encoder(cells, torch.zeros_like(mask))).all()


def test_it_works_under_vmap_with_second_derivatives(encoder: Encoder) -> None:
    params = {name: weights.detach() for name, weights in encoder.named_parameters()}
    cells, mask = some(6, 3, 16)

    def loss(params: dict[str, torch.Tensor], cells: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        embeddings: torch.Tensor = torch.func.functional_call(encoder, params, (cells, mask))
        return embeddings.square().mean()

    def after_one_step(params: dict[str, torch.Tensor], cells: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        gradient = torch.func.grad(loss)(params, cells, mask)
        return loss({name: params[name] - 0.1 * gradient[name] for name in params}, cells, mask)

    tasks = cells.unflatten(0, (2, 3)), mask.unflatten(0, (2, 3))
    gradients = torch.func.vmap(torch.func.grad(after_one_step), in_dims=(None, 0, 0))(params, *tasks)
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
    alone = torch.func.grad(after_one_step)(params, tasks[0][1], tasks[1][1])
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient[1], alone[name], atol=1e-5, rtol=1e-4)
