import numpy as np
import pytest
import torch

from appliance.detect.encoder import Embedding, EncoderError, Network
from appliance.detect.normalise import Normaliser
from appliance.detect.planes import PLANES, Planes, PlaneScale
from appliance.detect.windows import Windows, cut
from appliance.meta.encoder import EMBEDDING, Encoder
from appliance.meta.export import exported, quantised
from tests.detect.conformance import HOP, LENGTH, machine_signal

AGREEMENT = 1e-5


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Encoder().eval()


@pytest.fixture(scope="module")
def model(encoder: Encoder) -> bytes:
    return exported(encoder, {"made": "for a test"})


@pytest.fixture(scope="module")
def network(model: bytes) -> Network:
    return Network(model)


def windows_of(channels: int) -> Windows:
    series = machine_signal(3000, channels, seed=3)
    return Normaliser(series, rate=0.0).apply(cut(series, LENGTH, HOP))


@torch.no_grad()
def by_torch(encoder: Encoder, planes: Planes) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    embeddings: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = encoder(*map(torch.from_numpy, planes)).numpy()
    return embeddings


@pytest.mark.parametrize("channels", [1, 3, 10, 38])
@pytest.mark.parametrize("length", [16, 17, 32, 64, 256])
@pytest.mark.parametrize("gaps", [False, True])
def test_the_service_computes_what_training_computed(
    encoder: Encoder, network: Network, channels: int, length: int, *, gaps: bool
) -> None:
    rng = np.random.default_rng(length)
    mask = (rng.random((7, channels, length)) > 0.3 * gaps).astype(np.float32)
    mask[:, 1:2] *= not gaps  # a whole channel, where there are two
    planes = Planes(2.0 * rng.normal(size=(7, channels, PLANES, length)).astype(np.float32), mask)
    np.testing.assert_allclose(network.encode(planes), by_torch(encoder, planes), atol=AGREEMENT, rtol=0.0)


def test_a_batch_too_large_for_memory_is_encoded_in_parts(encoder: Encoder, network: Network) -> None:
    windows = windows_of(38)
    planes = PlaneScale(windows, seed=0).of(windows)
    assert planes.mask.size > 2**18
    np.testing.assert_allclose(network.encode(planes), by_torch(encoder, planes), atol=AGREEMENT, rtol=0.0)


def test_the_file_says_what_it_was_told_and_nothing_of_where_it_was_made(model: bytes, network: Network) -> None:
    assert network.metadata == {"made": "for a test"}
    assert b".py" not in model


def test_what_is_no_encoder_is_refused() -> None:
    with pytest.raises(EncoderError, match="make it with appliance meta-train"):
        Network(b"no model")


def test_a_machines_own_warm_up_is_the_centre_and_the_unit(network: Network) -> None:
    warm_up = windows_of(4)
    embedding = Embedding(network, warm_up, seed=0)
    own = embedding.of(warm_up)
    assert own.shape == (len(warm_up), EMBEDDING)
    np.testing.assert_allclose(own.mean(axis=0), 0.0, atol=1e-4)
    covariance = np.cov(own, rowvar=False)
    assert np.linalg.eigvalsh(covariance)[-1] <= 1.01
    assert np.linalg.eigvalsh(covariance)[-1] > 0.9
    strange = warm_up.values[:50].copy()
    strange[:, 0] += 6.0
    assert np.linalg.norm(embedding.of(Windows(strange)), axis=1).min() > np.linalg.norm(own, axis=1).mean()


def test_an_embedding_comes_back_from_a_snapshot_bit_for_bit(network: Network) -> None:
    warm_up = windows_of(4)
    embedding = Embedding(network, warm_up, seed=0)
    fitted, live = embedding.snapshot()
    assert live == {}
    np.testing.assert_array_equal(Embedding.restored(network, fitted).of(warm_up), embedding.of(warm_up))


def test_eight_bits_say_nearly_the_same(model: bytes, network: Network) -> None:
    windows = windows_of(10)
    planes = PlaneScale(windows, seed=0).of(windows)
    half = len(planes.mask) // 2
    small = quantised(model, [Planes(planes.cells[:half], planes.mask[:half])])
    assert len(small) < 0.7 * len(model)
    later = Planes(planes.cells[half:], planes.mask[half:])
    exact, rounded = network.encode(later), Network(small).encode(later)
    assert np.abs(rounded - exact).max() > 0.0
    assert np.corrcoef(exact.ravel(), rounded.ravel())[0, 1] > 0.99
