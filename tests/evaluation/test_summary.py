from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.errors import ResultsError
from appliance.evaluation.bootstrap import Estimate
from appliance.evaluation.grouping import grouped
from appliance.evaluation.results import Row
from appliance.evaluation.summary import EVERYWHERE, choose_best_single, is_single, summarise, write_summary
from appliance.evaluation.targets import targets
from appliance.evaluation.terminal import summary_table, targets_table
from tests.fake_results import fake_rows

DEFAULTS: dict[str, Any] = {"k": 0, "seed": 0, "draw": 0, "tail": "whole", "hops": 100, "events": 3}


def row(dataset: str, machine: int, method: str, vus_pr: float | None, **others: Any) -> Row:
    own = {"dataset": dataset, "machine": f"m{machine}", "cluster": f"c{machine}", "method": method, "vus_pr": vus_pr}
    return Row(**(DEFAULTS | own | others))


def value(found: Estimate | None) -> float:
    assert found is not None
    return found.value


def test_draws_are_averaged_within_a_machine_first() -> None:
    rows = [row("A", 1, "appliance", 0.0, draw=draw) for draw in range(9)] + [row("A", 2, "appliance", 1.0)]
    cell = summarise(rows).cell("A", "appliance")
    assert cell is not None
    assert (cell.figures["vus_pr"].value, cell.machines, cell.clusters) == (0.5, 2, 2)
    assert "delay_s" not in cell.figures


def test_gain_and_harm_compare_with_the_own_k0_on_the_common_tail() -> None:
    gains = (0.3, -0.01, -0.03, -0.04)
    rows = [row("A", i, "appliance", 0.9) for i in range(4)]
    rows += [row("A", i, "appliance", 0.5, tail="common") for i in range(4)]
    rows += [row("A", i, "appliance", 0.5 + gain, tail="common", k=5) for i, gain in enumerate(gains)]
    cell = summarise(rows).cell("A", "appliance", 5, "common")
    assert cell is not None
    assert value(cell.gain) == pytest.approx(0.055)
    assert value(cell.harmed) == 0.5
    assert cell.delta_to_reference is None


def test_a_delta_pairs_the_machines_that_both_methods_know() -> None:
    rows = [row("A", i, "appliance", 0.1 * i) for i in range(4)]
    rows += [row("A", i, "rrcf", 0.1 * i - 0.05) for i in range(1, 7)]
    cell = summarise(rows).cell("A", "rrcf")
    assert cell is not None
    assert cell.delta_to_reference is not None
    assert cell.delta_to_reference.machines == 3
    assert cell.delta_to_reference.value == pytest.approx(-0.05)
    assert cell.delta_to_reference.low == pytest.approx(-0.05)


def test_every_dataset_counts_the_same_in_the_mean() -> None:
    rows = [row("A", i, "appliance", 0.8) for i in range(9)] + [row("B", 0, "appliance", 0.2)]
    cell = summarise(rows).cell(EVERYWHERE, "appliance")
    assert cell is not None
    assert (cell.figures["vus_pr"].value, cell.datasets, cell.machines) == (0.5, 2, 10)


def test_the_best_single_detector_is_chosen_without_a_look_at_its_dataset() -> None:
    scores = {"evidence:a": (0.9, 0.3, 0.3), "rrcf": (0.4, 0.5, 0.5), "evidence_mean": (1.0, 1.0, 1.0)}
    rows = [
        row(dataset, i, method, by_dataset[number])
        for method, by_dataset in scores.items()
        for number, dataset in enumerate("ABC")
        for i in range(3)
    ]
    assert choose_best_single(grouped(rows)) == {"A": "rrcf", "B": "evidence:a", "C": "evidence:a"}
    for scale in (0.0, 0.1, 1.0):
        changed = [row(r.dataset, int(r.machine[1]), r.method, scale if r.dataset == "A" else r.vus_pr) for r in rows]
        assert choose_best_single(grouped(changed))["A"] == "rrcf"
    summary = summarise(rows, reference="evidence_mean")
    assert [value(each.reference_delta) for each in summary.best_single] == pytest.approx([0.6, 0.7, 0.7])
    assert value(summary.best_single_delta) == pytest.approx(2 / 3)


def test_nothing_is_chosen_from_one_dataset_or_from_detectors_that_did_not_run_everywhere() -> None:
    rows = [row("A", 0, "rrcf", 0.5), row("A", 0, "river_zscore", 0.9), row("B", 0, "rrcf", 0.1)]
    assert choose_best_single(grouped(rows)) == {"A": "rrcf", "B": "rrcf"}
    assert choose_best_single(grouped(rows[:2])) == {}


def test_only_single_streaming_detectors_compete() -> None:
    singles = ("evidence:nearest", "river_half_space_trees", "isolation_forest", "rrcf", "cnn_forecaster")
    assert all(map(is_single, singles))
    assert not any(map(is_single, ("appliance", "evidence_mean", "random", "blend", "ridge")))


def test_the_same_rows_in_any_order_give_the_same_file(tmp_path: Path) -> None:
    rows = fake_rows((0, 1), ("SKAB", "MSL"))
    write_summary(tmp_path / "a.json", summarise(rows))
    random.Random(3).shuffle(rows)
    write_summary(tmp_path / "b.json", summarise(rows))
    text = (tmp_path / "a.json").read_text()
    assert text == (tmp_path / "b.json").read_text()
    assert json.loads(text)["reference"] == "appliance"
    assert "NaN" not in text


def test_no_rows_are_an_error_that_says_where_to_look() -> None:
    with pytest.raises(ResultsError, match="every machine was skipped"):
        summarise([])


def test_a_gain_is_met_only_if_it_is_certain() -> None:
    def verdict(leads: tuple[float, ...], **others: Any) -> bool | None:
        rows = [row("SMD", i, "appliance", 0.4 + lead, **others) for i, lead in enumerate(leads)]
        rows += [row(name, i, "rrcf", 0.4, **others) for i in range(len(leads)) for name in ("SMD", "SKAB")]
        return next(target.met for target in targets(summarise(rows)) if ", SMD ≥" in target.text)

    assert verdict((0.06, 0.06, 0.07)) is True
    assert verdict((0.5, -0.1, -0.1)) is False
    assert verdict((0.04, 0.04, 0.04)) is False
    assert verdict((0.06, 0.06, 0.07), cluster="one") is None


def test_targets_for_labels_appear_with_rows_for_labels() -> None:
    without, learned = (targets(summarise(fake_rows(ks, ("SKAB", "SMD")))) for ks in ((0,), (0, 1, 2, 5)))
    assert not [target.text for target in without if target.text.startswith(LABELLED)]
    assert len(without) == 6
    assert sum(target.text.startswith(LABELLED) for target in learned) == 8
    assert len(learned) == 14


LABELLED = ("k = 1", "k = 5", "With labels", "Machines harmed", "Adaptation")


def test_the_tables_hold_names_that_look_like_markup() -> None:
    rows = [row("[red]", i, method, 0.5) for i in range(2) for method in ("appliance", "random", "[bold]")]
    summary = summarise(rows)
    assert summary_table(summary).row_count == 1
    assert targets_table(summary).row_count == 0
    assert summary_table(summarise(fake_rows((0,), ("SKAB", "MSL")))).row_count == 3


def test_what_takes_no_labels_meets_no_target_by_that() -> None:
    rows = fake_rows((0, 1, 5), ("SKAB", "SMD"))
    same = [msgspec.structs.replace(row, vus_pr=0.5) if row.method == "appliance" else row for row in rows]
    texts = [target.text for target in targets(summarise(same))]
    assert not any(text.startswith(("Machines harmed", "k = 1 against own k = 0, worst")) for text in texts)
    assert any(text.startswith("k = 5 against own k = 0") for text in texts)
