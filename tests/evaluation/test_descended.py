"""Heads that descend: which prior may judge a machine, and what is made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from appliance.evaluation.descended import DESCENDED, chosen
from appliance.evaluation.methods import Unsuited
from appliance.evaluation.trials import Trial
from appliance.meta.adapters import untrained
from appliance.meta.checkpoint import TrainingError
from appliance.meta.prior import write_descent
from tests.evaluation.conformance import trial
from tests.evaluation.test_adapted import EVENTS, HOPS, support, traced

DETECTORS = 5


def prior(folder: Path, name: str, *machines: tuple[str, str], detectors: int = DETECTORS) -> Path:
    """Write a prior that saw machines (dataset/machine, cluster)."""
    record = {
        "options": {"method": "maml", "seed": 0},
        "detectors": detectors,
        "machines": [{"machine": machine, "cluster": cluster} for machine, cluster in machines],
    }
    path = folder / f"{name}.safetensors"
    write_descent(
        path, {key: each + 0.01 * (name == "b") for key, each in untrained("maml", 2 * detectors, 0).items()}, record
    )
    return path


def judged(name: str, path: Path, of: Trial) -> np.ndarray:
    return chosen(name, [path], of, DETECTORS).adapted.judge(of, traced(), support(2), 0).test


def test_a_machine_takes_the_first_prior_that_never_saw_its_dataset_then_its_cluster(tmp_path: Path) -> None:
    own = prior(tmp_path, "a", ("synthetic/m", "m"))
    like = prior(tmp_path, "b", ("synthetic/other", "synthetic/other"))
    strange = prior(tmp_path, "c", ("else/m", "else/m"))
    digests = {path: chosen("adapt:maml", [path], trial(), DETECTORS).digest for path in (like, strange)}
    assert chosen("adapt:maml", [own, like, strange], trial(), DETECTORS).digest == digests[strange]
    assert chosen("adapt:maml", [own, like], trial(), DETECTORS).digest == digests[like]
    with pytest.raises(Unsuited, match="all 1 priors of maml have seen its cluster"):
        chosen("adapt:maml", [own], trial(), DETECTORS)
    with pytest.raises(Unsuited, match="there is no prior of leo"):
        chosen("adapt:leo", [own, like], trial(), DETECTORS)


def test_a_prior_of_other_detectors_is_unsuited(tmp_path: Path) -> None:
    path = prior(tmp_path, "a", detectors=7)
    with pytest.raises(Unsuited, match="trained with 7 detectors, this machine has 5"):
        chosen("adapt:maml", [path], trial(), DETECTORS)


@pytest.mark.parametrize("variant", ["", ":untrained", ":with_ridge"])
def test_labels_help_where_faults_recur(tmp_path: Path, variant: str) -> None:
    path = prior(tmp_path, "a")
    normal = np.ones(HOPS, dtype=bool)
    for first, end in EVENTS:
        normal[first:end] = False

    def standing(scores: np.ndarray) -> float:
        return float(np.mean([(scores[normal] < value).mean() for e in EVENTS[2:] for value in scores[slice(*e)]]))

    assert standing(judged(f"adapt:maml{variant}", path, trial())) > standing(traced().test.strangeness) + 0.02


def test_variants_are_made_of_what_their_names_say(tmp_path: Path) -> None:
    start, moved = prior(tmp_path, "a"), prior(tmp_path, "b")
    assert judged("adapt:maml", start, trial()).tobytes() == judged("adapt:maml:untrained", moved, trial()).tobytes()
    assert judged("adapt:maml", moved, trial()).tobytes() != judged("adapt:maml:untrained", moved, trial()).tobytes()
    with_ridge = chosen("adapt:maml:with_ridge", [start], trial(), DETECTORS).adapted
    assert judged("adapt:maml:with_ridge", start, trial()).tobytes() != judged("adapt:maml", start, trial()).tobytes()
    assert with_ridge.name in DESCENDED


def test_a_file_that_is_no_prior_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="is no prior"):
        chosen("adapt:maml", [tmp_path / "x"], trial(), DETECTORS)
