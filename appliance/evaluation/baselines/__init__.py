"""What the appliance is compared with, one method a file; each is imported only when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from appliance.detect.evidence import EVIDENCE
from appliance.evaluation.methods import Method, MissingExtra


def _registered(module: str, maker: str, extra: str | None, *arguments: str) -> Callable[[], Method]:
    def make() -> Method:
        try:
            baseline = importlib.import_module(f"appliance.evaluation.baselines.{module}")
        except ModuleNotFoundError as missing:
            if extra is None:
                raise
            msg = f"{module} needs the package {missing.name}: pip install 'appliance[{extra}]'"
            raise MissingExtra(msg) from missing
        method: Method = getattr(baseline, maker)(*arguments)
        return method

    return make


METHODS: dict[str, Callable[[], Method]] = {
    "random": _registered("random", "Random", None),
    **{f"evidence:{name}": _registered("evidence", "SingleEvidence", None, name) for name in EVIDENCE},
    "evidence_mean": _registered("evidence", "EvidenceMean", None),
    "river_hst": _registered("river_hst", "RiverHalfSpaceTrees", None),
    "river_zscore": _registered("river_zscore", "RiverZScore", None),
    "rrcf": _registered("rrcf", "RobustRandomCutForest", "evaluate"),
    "isolation_forest": _registered("isolation_forest", "IsolationForestOnFeatures", "evaluate"),
    "cnn_forecaster": _registered("cnn_forecaster", "CnnForecaster", "train"),
    "logistic": _registered("linear", "Logistic", "evaluate"),
    "ridge": _registered("linear", "Ridge", "evaluate"),
    "devnet": _registered("devnet", "DevNet", "train"),
    "deepsad": _registered("deepsad", "DeepSad", "train"),
    "finetuned": _registered("finetuned", "FineTuned", "train"),
}
"""Name → maker; only the maker imports what the method needs.

Raises
------
MissingExtra
    By the maker, where that is not installed.
"""
