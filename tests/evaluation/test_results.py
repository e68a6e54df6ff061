from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ResultsError
from appliance.evaluation.results import COLUMNS, Row, read_results, write_results

ROW = Row(dataset="SMD", machine="m,1", cluster="a", method="rrcf", k=0, seed=0, draw=0, tail="whole", hops=9, events=2)
NAMES = st.text(st.characters(exclude_categories=["C"]), min_size=1)
AMOUNTS = st.none() | st.floats(0, 1e300)


def test_the_columns_stand_in_the_order_that_is_promised(tmp_path: Path) -> None:
    write_results(tmp_path / "r.csv", [ROW])
    header, row = (tmp_path / "r.csv").read_text().splitlines()
    assert header == (
        "dataset,machine,cluster,method,k,seed,draw,tail,hops,events,vus_pr,auc_pr,recall_budget,delay_s,false_alerts,"
        "budget_alerts,false_alerts_per_week,recall_day,delay_day_s,false_alerts_day,budget_alerts_day,adapt_ms,fit_ms,"
        "score_us"
    )
    assert row == 'SMD,"m,1",a,rrcf,0,0,0,whole,9,2' + "," * 14


@given(name=NAMES, share=st.none() | st.floats(0, 1), amount=AMOUNTS, count=st.none() | st.integers(0, 10**9))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, name: str, share: float | None, amount: float | None, count: int | None
) -> None:
    path = tmp_path_factory.mktemp("results") / "r.csv"
    row = msgspec.structs.replace(
        ROW, machine=name, vus_pr=share, delay_s=amount, false_alerts=count, budget_alerts=amount
    )
    write_results(path, [row, ROW])
    assert read_results(path) == [row, ROW]


@pytest.mark.parametrize(
    ("column", "cell", "named"),
    [
        ("vus_pr", "nan", "row 2, column vus_pr: Expected `float` >= 0.0, found 'nan'"),
        ("vus_pr", "1.2", "row 2, column vus_pr"),
        ("hops", "", "row 2, column hops: Expected `int`, got `null`, found ''"),
        ("machine", "", "row 2, column machine"),
        ("k", "1.5", "row 2, column k"),
        ("tail", "half", "row 2, column tail: Invalid enum value 'half'"),
    ],
)
def test_a_bad_cell_is_named_with_its_remedy(tmp_path: Path, column: str, cell: str, named: str) -> None:
    path = tmp_path / "r.csv"
    record = {name: "" if value is None else str(value) for name, value in msgspec.to_builtins(ROW).items()}
    record["machine"] = "m"
    path.write_text(",".join(COLUMNS) + "\n" + ",".join((record | {column: cell}).values()) + "\n")
    with pytest.raises(ResultsError) as caught:
        read_results(path)
    assert f"{path}: {named}" in str(caught.value)
    assert "leave it empty where the figure is unknown" in str(caught.value)


def test_a_foreign_header_a_stray_cell_and_a_missing_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    for text, named in (
        (",".join(COLUMNS[1:]) + ",score\n", "row 1: the header lacks dataset and has unknown 'score'"),
        (",".join((*COLUMNS, "k")) + "\n", "row 1: the header repeats a column"),
        ("", "row 1: the header lacks dataset, machine"),
        (",".join(COLUMNS) + "\n" + "x," * 30 + "\n", "row 2: more cells than"),
    ):
        path.write_text(text)
        with pytest.raises(ResultsError, match=named):
            read_results(path)
    with pytest.raises(ResultsError, match="run `appliance evaluate`"):
        read_results(tmp_path / "none.csv")


def test_an_unknown_figure_may_not_be_written_as_nan(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="column auc_pr"):
        write_results(tmp_path / "r.csv", [msgspec.structs.replace(ROW, auc_pr=float("nan"))])
    assert not (tmp_path / "r.csv").exists()
