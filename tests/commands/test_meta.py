import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from appliance.cli import app
from appliance.errors import ResultsError
from appliance.meta.machines import held_out_of_training
from tests.meta.grounds import write

runner = CliRunner()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recordings, a prior trained on four of them, and one left out."""
    folder = tmp_path_factory.mktemp("meta")
    names = [f"hum{number}" for number in range(40)]
    held = next(name for name in names if held_out_of_training(f"hums/{name}"))
    taught = [name for name in names if not held_out_of_training(f"hums/{name}")][:2]
    for seed, name in enumerate([*taught, held, "kept"]):
        write(folder / "data/hums", name, 2, seed)
    write(folder / "data/hums", "copyleft", 2, 9, licence="GPL-3.0")
    done = runner.invoke(
        app,
        [
            *("meta-train", "--data", f"{folder}/data", "--out", f"{folder}/prior.safetensors"),
            *("--leave-out", "hums/kept", "--steps", "4", "--json"),
        ],
    )
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert {each["machine"] for each in record["machines"]} == {f"hums/{name}" for name in [*taught, held]}
    assert "hums: 1 left out: its licence (GPL-3.0) is not permissive" in done.stderr
    return folder


def test_training_leaves_a_prior_a_network_and_no_checkpoint(trained: Path) -> None:
    assert {path.name for path in trained.iterdir()} >= {"prior.safetensors", "prior.onnx"}
    assert not list(trained.glob("*.checkpoint*"))


def test_a_prior_is_compared_only_where_it_was_not_trained(trained: Path) -> None:
    out = trained / "figures.csv"
    arguments = [
        *("meta-compare", "--data", f"{trained}/data", "--out", str(out)),
        *("--prior", f"trained={trained}/prior.safetensors", "--k", "1,5"),
    ]
    done = runner.invoke(app, arguments)
    assert done.exit_code == 0, done.output
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["machine"] for row in rows if row["method"] == "trained"} == {"kept", "copyleft"}
    assert {row["method"] for row in rows if row["k"] == "5" and row["machine"] == "kept"} == {
        "evidence_mean",
        "hand_made",
        "hand_made+mean",
        "trained",
        "trained+mean",
    }
    assert {row["k"] for row in rows} == {"0", "1", "5"}
    again = runner.invoke(app, [*arguments, "--json"])
    assert again.exit_code == 0, again.output
    summary = json.loads(again.stdout)
    own = [row for row in summary if row["method"] == "hand_made" and row["dataset"] == "hums"]
    assert {row["difference"] for row in own} == {0.0}
    unknown = runner.invoke(app, [*arguments, "--against", "nobody"])
    assert unknown.exit_code == 2
    assert "no method nobody" in " ".join(unknown.stderr.replace("│", "").split())
    out.write_text("a,b\n1,2\n")
    with pytest.raises(ResultsError, match="is no file of figures"):
        runner.invoke(app, arguments, catch_exceptions=False)


def test_a_head_that_descends_is_trained_on_traces_and_judged_where_it_was_not(trained: Path) -> None:
    out = trained / "maml.safetensors"
    arguments = ["meta-train", "--data", f"{trained}/data", "--leave-out", "hums/kept", "--method", "maml"]
    done = runner.invoke(app, [*arguments, "--out", str(out), "--steps", "2", "--json"])
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert record["options"]["method"] == "maml"
    assert "hums/kept" not in {each["machine"] for each in record["machines"]}
    assert [step for step, _, _ in record["curve"]] == [0, 2]
    assert not list(trained.glob("*.checkpoint*"))
    assert list((trained / "cache").rglob("*.npz"))
    evaluated = runner.invoke(
        app,
        [
            *("evaluate", "--data", f"{trained}/data", "--out", f"{trained}/out", "--k", "1", "--jobs", "1"),
            *("--methods", "adapt:maml,adapt:ridge", "--prior", str(out), "--json"),
        ],
    )
    assert evaluated.exit_code == 0, evaluated.output
    with (trained / "out/results.csv").open(newline="") as file:
        judged = {(row["machine"], row["method"]) for row in csv.DictReader(file)}
    assert {machine for machine, method in judged if method == "adapt:maml"} == {"kept", "copyleft"}
    assert len({machine for machine, method in judged if method == "adapt:ridge"}) == 5
    assert "have seen its cluster" in " ".join(evaluated.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["meta-train", "--method", "maml", "--no-encoder"], "only ridge has it"),
        (["evaluate", "--methods", "adapt:maml", "--k", "1"], "adapt:maml needs one"),
        (["evaluate", "--methods", "adapt:ridge", "--k", "1", "--prior", "x"], "no method uses it"),
        (["evaluate", "--methods", "adapt:maml", "--prior", "x"], "learns from labelled events"),
    ],
)
def test_options_that_do_not_go_together_are_named(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    done = runner.invoke(app, [*arguments, "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert complaint in " ".join(done.stderr.replace("│", "").split())


def test_the_cost_of_the_encoder_is_measured(trained: Path) -> None:
    done = runner.invoke(
        app,
        [
            *("bench", "encode", "--prior", f"{trained}/prior.safetensors", "--data", f"{trained}/data"),
            *("--episodes", "3", "--length", "32", "--json"),
        ],
    )
    assert done.exit_code == 0, done.output
    whole, small = json.loads(done.stdout)
    assert (whole["network"], small["network"]) == ("float", "int8")
    assert small["bytes"] < whole["bytes"]
    assert whole["rounding"] == 0.0 < small["rounding"] < 1.0
    assert 0.0 < whole["average_precision"] <= 1.0
    assert whole["us_per_window"] > 0.0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--prior", "prior.safetensors"], "write NAME=FILE"),
        (["--prior", "a=b", "--k", "0"], "write numbers of events"),
    ],
)
def test_wrong_usage_is_named(trained: Path, arguments: list[str], complaint: str) -> None:
    if "a=b" in arguments:
        arguments = ["--prior", f"a={trained}/prior.safetensors", *arguments[2:]]
    done = runner.invoke(app, ["meta-compare", "--data", f"{trained}/data", "--out", "x.csv", *arguments])
    assert done.exit_code == 2
    assert complaint in done.stderr
