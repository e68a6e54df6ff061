"""Rows as an evaluation would write them: plausible in size and spread, made without running anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from appliance.evaluation.examples import Example
from appliance.evaluation.results import Row, Tail


class Fleet(NamedTuple):
    machines: int
    clusters: int
    level: float
    weeks: float
    gain: float
    """VUS-PR per doubling of labels."""


FLEETS = {
    "SMD": Fleet(28, 28, 0.42, 2.3, 0.01),
    "MSL": Fleet(24, 24, 0.30, 0.4, 0.005),
    "SMAP": Fleet(50, 50, 0.33, 0.8, 0.004),
    "SKAB": Fleet(12, 4, 0.50, 0.1, 0.12),
    "JumpStarter": Fleet(20, 10, 0.34, 5.0, 0.008),
}
METHODS = {
    "appliance": 0.08,
    "evidence_mean": 0.05,
    "blend": 0.06,
    "ridge": -0.06,
    "evidence:nearest": 0.01,
    "evidence:reconstruction": 0.0,
    "evidence:extreme": -0.02,
    "evidence:spread": -0.05,
    "evidence:relation": -0.07,
    "evidence:spectrum": -0.10,
    "river_half_space_trees": -0.12,
    "river_zscore": -0.09,
    "isolation_forest": 0.005,
    "rrcf": -0.04,
    "cnn_forecaster": -0.03,
    "random": -0.30,
}
LEARNERS = ("appliance", "blend", "ridge")


def fake_rows(ks: tuple[int, ...] = (0, 1, 2, 5, 10), datasets: Iterable[str] = FLEETS) -> list[Row]:
    """Rows for every method; ``ks`` = (0,) leaves the labels out."""
    rng = np.random.default_rng(0)
    return [
        row
        for dataset in datasets
        for number in range(FLEETS[dataset].machines)
        for row in _machine(rng, dataset, FLEETS[dataset], number, ks)
    ]


def _machine(rng: np.random.Generator, dataset: str, fleet: Fleet, number: int, ks: tuple[int, ...]) -> Iterator[Row]:
    own = rng.normal(0, 0.15)
    for method, lead in METHODS.items():
        taste = rng.normal(0, 0.03)
        tails: tuple[Tail, ...] = ("whole", "common") if len(ks) > 1 else ("whole",)
        for tail in tails:
            labels = ks if tail == "common" and method in LEARNERS else (0,)
            for k in labels:
                for draw in range(3 if k else 1):
                    vus = fleet.level + lead + own + taste + fleet.gain * np.log2(1 + k) + rng.normal(0, 0.01)
                    yield _row(rng, dataset, fleet, number, method, k, draw, tail, float(np.clip(vus, 0.02, 0.98)))


def _row(
    rng: np.random.Generator,
    dataset: str,
    fleet: Fleet,
    number: int,
    method: str,
    k: int,
    draw: int,
    tail: Tail,
    vus_pr: float,
) -> Row:
    weeks = fleet.weeks * (0.5 + number / fleet.machines)
    alerting = method in {"appliance", "evidence_mean"} or method.startswith("evidence:")
    count = int(rng.poisson(1.2 * weeks))
    per_day = int(rng.poisson(1.3 * 7 * weeks))
    return Row(
        dataset=dataset,
        machine=f"{dataset.lower()}-{number + 1}",
        cluster=f"group-{number % fleet.clusters}",
        method=method,
        k=k,
        seed=0,
        draw=draw,
        tail=tail,
        hops=int(weeks * 2500) + 200,
        events=3 + number % 7,
        vus_pr=vus_pr,
        auc_pr=vus_pr * 0.9,
        recall_budget=float(np.clip(vus_pr + rng.normal(0, 0.1), 0, 1)) if alerting else None,
        delay_s=float(rng.gamma(2, 600)) if alerting and rng.random() > 0.1 else None,
        false_alerts=count if alerting else None,
        budget_alerts=weeks if alerting else None,
        false_alerts_per_week=count / weeks if alerting else None,
        recall_day=float(np.clip(vus_pr + 0.2, 0, 1)) if alerting else None,
        delay_day_s=float(rng.gamma(2, 300)) if alerting else None,
        false_alerts_day=per_day if alerting else None,
        budget_alerts_day=7 * weeks if alerting else None,
        adapt_ms=float(rng.gamma(4, 3)) if k else None,
        fit_ms=float(rng.gamma(9, 20)),
        score_us=float(rng.gamma(9, 5)),
    )


def fake_example(machine: str = "smd-3") -> Example:
    rng = np.random.default_rng(5)
    hours = np.arange(4000) / 12
    events = [(80.0, 83.0), (210.0, 222.0)]
    inside = np.any([(a <= hours) & (hours < b) for a, b in events], axis=0)
    score = rng.gamma(1.5, 0.4, len(hours)) + 3.5 * inside
    daily = np.sin(2 * np.pi * hours / 24)
    return Example(
        dataset="SMD",
        machine=machine,
        title="median VUS-PR of its dataset",
        times=hours,
        score=score,
        threshold=np.full(len(hours), 4.0),
        signals={
            "cpu_load": 0.5 + 0.2 * daily + rng.normal(0, 0.03, len(hours)) + 0.3 * inside,
            "disk_write_mb_s": 40 + 8 * daily + rng.normal(0, 2, len(hours)) + 25 * inside,
        },
        events=events,
        alerts=[(80.5, 83.5), (150.0, 150.6), (211.0, 219.0)],
    )
