import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from appliance.detect.encoder import Network
from appliance.evaluation.support import support_of
from appliance.meta.comparison import EVIDENCE_MEAN, HAND_MADE, Seen, _by_hand, _Task, compare, precision_of
from appliance.meta.episodes import Episodes
from appliance.meta.export import exported
from appliance.meta.head import USUAL
from appliance.meta.prior import Prior
from appliance.meta.train import EncoderAndRidge
from tests.meta.grounds import machine, trial


def prior(embedding: int, *seen: str) -> Prior:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = EncoderAndRidge(13, embedding).eval()
    return Prior(model, {"machines": [{"cluster": cluster} for cluster in seen], "options": {"method": "ridge"}})


@pytest.fixture(scope="module")
def figures() -> dict[tuple[str, int], float]:
    priors = {
        "random": [prior(32)],
        "evidence": [prior(0, "hums/hum"), prior(0)],
        "seen": [prior(0, "hums/hum")],
    }
    return {(each.method, each.k): each.vus_pr for each in compare(trial("hum", 3, 1), priors, [1, 5], seed=0)}


def test_a_prior_is_asked_only_where_its_cluster_was_not_seen(figures: dict[tuple[str, int], float]) -> None:
    assert {method.removesuffix("+mean") for method, _ in figures} == {
        "random",
        "evidence",
        EVIDENCE_MEAN,
        HAND_MADE,
    }


def test_events_that_recur_are_told_by_their_labels(figures: dict[tuple[str, int], float]) -> None:
    for method in ("random", "evidence", HAND_MADE):
        assert figures[method, 5] > 0.8, method
    assert {k for method, k in figures if method == HAND_MADE} == {1, 5}
    assert {k for method, k in figures if method == "random"} == {0, 1, 5}


def test_without_labels_the_evidence_says_what_the_priors_weights_make_of_it(
    figures: dict[tuple[str, int], float],
) -> None:
    assert figures["evidence", 0] == pytest.approx(figures[EVIDENCE_MEAN, 0], abs=1e-6)


def test_a_machine_with_too_few_events_is_left_out() -> None:
    assert compare(trial("hum", 1, 1), {}, [10], seed=0) == []


def test_the_hand_made_head_is_scikit_learns_ridge() -> None:
    rng = np.random.default_rng(0)
    seen = Seen(rng.exponential(size=(300, 4)), rng.normal(size=(300, 6)), {})
    support = support_of([(10, 14), (40, 60)], 2, [], 0)
    task = _Task.of(np.arange(100), np.arange(100, 300), support)
    rows = np.concatenate([seen.standard, seen.evidence - USUAL], axis=1)
    weight = task.weight * np.where(task.is_fault > 0, 0.5, 1.0)
    expected = Ridge(alpha=1.0).fit(rows[task.rows], task.is_fault, sample_weight=weight / weight.mean()).predict(rows)
    found = _by_hand(seen, task)
    np.testing.assert_allclose(found - found.mean(), expected - expected.mean(), atol=1e-9)


def test_the_exported_network_judges_episodes_as_the_encoder_does() -> None:
    model = prior(32).model
    assert model.encoder is not None
    drawn = [Episodes([machine(3)], 0)[number] for number in range(4)]
    own = model.encoder
    same = precision_of(model, Network(exported(own)), drawn)
    assert model.encoder is own
    with torch.random.fork_rng():
        torch.manual_seed(1)
        other = precision_of(model, Network(exported(EncoderAndRidge(13).encoder.eval())), drawn)  # type: ignore[union-attr]
    assert same != other
    model.encoder = own
    with torch.no_grad():
        from appliance.evaluation.metrics import auc_pr

        exact = np.mean([auc_pr(model.log_odds(each).double().numpy(), each.query_is_fault) for each in drawn])
    assert same == pytest.approx(exact, abs=1e-6)
