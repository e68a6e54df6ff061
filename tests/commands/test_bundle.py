"""``appliance bundle`` as a data scientist and the engineer of a plant use it."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file
from typer.testing import CliRunner, Result

from appliance import assembly
from appliance.adapt.adapters.descending import METHODS, Descending
from appliance.adapt.adapters.ridge import Ridge
from appliance.adapt.prior import Prior
from appliance.bundle.keys import format_public_key
from appliance.bundle.packing import Trained
from appliance.bundle.signing import SigningKey
from appliance.cli import app, main
from appliance.commands import common
from appliance.commands.bundle import bundle
from appliance.config import AdaptationSettings, load
from appliance.errors import BundleError
from tests.adapt.descents import DETECTORS, bundled, untrained
from tests.bundle.made import network, packed
from tests.test_solver import hide

SOURCE = '[[source]]\nname = "plant"\ntopic = "plant/{machine}"\nformat = { type = "json" }\n'
COMMANDS = [command.name or command.callback.__name__ for command in bundle.registered_commands if command.callback]


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common.console, "width", 80)
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", None)  # read from the environment of the first test that asks


def run(*arguments: object, status: int = 0) -> Result:
    runner = CliRunner(env={"COLUMNS": "80", "TERM": "dumb"})
    result = runner.invoke(app, ["bundle", *(str(argument) for argument in arguments)])
    assert result.exit_code == status, result.output
    assert "--json" in arguments or max(map(len, result.stdout.splitlines()), default=0) <= 80, result.stdout
    return result


def said(*arguments: object, status: int = 0) -> Any:
    return json.loads(run(*arguments, "--json", status=status).stdout)


def words(result: Result) -> str:
    return " ".join(result.output.replace("│", " ").split())


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "training-2026.pem"
    SigningKey.create().save(path)
    return path


@pytest.fixture
def config(tmp_path: Path, key: Path) -> Path:
    path = tmp_path / "appliance.toml"
    public = SigningKey.read(key).public
    path.write_text(
        f'{SOURCE}[mqtt]\nport = 1\n[storage]\ndata_dir = "{tmp_path}/data"\n'
        f'[bundles]\ntrusted_keys = {{ training-2026 = "{format_public_key(public)}" }}\n'
    )
    return path


def sound(tmp_path: Path, key: Path, version: int = 1, **more: Any) -> Path:
    return packed(tmp_path, version, key=SigningKey.read(key), **({"tensors": Prior().tensors()} | more))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_with_an_example(command: str) -> None:
    assert re.search(rf"Example: appliance bundle {command}\b", run(command, "--help").output)


def test_a_new_key_comes_with_the_lines_for_the_settings(tmp_path: Path) -> None:
    for name in ("training", "Müller & Co"):
        file = tmp_path / f"{name}.pem"
        output = run("keygen", file).stdout
        settings = tomllib.loads(output[output.index("[bundles") :])
        public = SigningKey.read(file).public
        assert settings == {"bundles": {"trusted_keys": {name: format_public_key(public)}}}
    found = said("keygen", tmp_path / "other.pem")
    assert found["public_key"] == format_public_key(SigningKey.read(tmp_path / "other.pem").public)


def test_from_the_training_to_the_appliance_and_back(tmp_path: Path, key: Path, config: Path) -> None:
    about = {
        "name": "general",
        "version": 3,
        "datasets": [{"name": "smd", "licence": "MIT"}, {"name": "[red]skab", "licence": "GPL-3.0"}],
        "metrics": {"vus_pr": 0.51234},
        "software": {"torch": "2.13.0"},
        "training": {"steps": 1000},
    }
    (tmp_path / "about.json").write_text(json.dumps(about))
    (tmp_path / "net.onnx").write_bytes(network())
    save_file(Prior().tensors(), tmp_path / "prior.safetensors")
    file = tmp_path / "general-3.bundle"
    inputs = ("--about", tmp_path / "about.json", "--tensors", tmp_path / "prior.safetensors", "--key", key)
    made = words(run("pack", file, *inputs))
    assert "✓ general version 3" in made
    run("pack", tmp_path / "other.bundle", *inputs, "--network", tmp_path / "net.onnx")
    assert said("verify", tmp_path / "other.bundle", "-c", config, status=1)["refused"] == "wrong_tensors"

    shown = words(run("verify", file, "-c", config))
    assert "signed by training-2026" in shown
    assert "trained on smd (MIT), [red]skab (GPL-3.0)" in shown
    assert "metrics vus_pr 0.5123" in shown
    assert "torch 2.13.0" in shown
    assert "adaptation.share float64 (4)" in shown
    assert said("verify", file, "-c", config)["manifest"]["training"] == {"steps": 1000}

    assert "in service general 1 comes with it" in words(run("list", "-c", config))
    done = words(run("install", file, "-c", config))
    assert "general version 3 is in service from the next start on; before it what comes with the software" in done
    assert "general version 3 was in service already" in words(run("install", file, "-c", config))
    assert "in service general 3 training-2026" in words(run("list", "-c", config))
    listed = said("list", "-c", config)
    assert [(each["place"], each["version"], each["problem"]) for each in listed] == [
        ("in service", 3, None),
        ("its own", 1, None),
    ]
    done = words(run("rollback", "-c", config))
    assert "what comes with the software is in service from the next start on; before it general version 3" in done
    assert [each["place"] for each in said("list", "-c", config)] == ["set aside", "in service"]


def test_a_refusal_is_one_line_and_a_finding(tmp_path: Path, key: Path, config: Path) -> None:
    stranger = packed(tmp_path, 2)
    refused = run("verify", stranger, "-c", config, status=1)
    assert refused.stdout == ""
    assert re.fullmatch(r"refused: general-2.bundle: is signed with key [0-9a-f]{16}, .*\n", refused.stderr)
    assert said("install", stranger, "-c", config, status=1)["refused"] == "unknown_key"

    run("install", sound(tmp_path, key, 2), "-c", config)
    older = sound(tmp_path, key, 1)
    assert "--allow-downgrade if you mean it" in run("install", older, "-c", config, status=1).stderr
    found = said("install", older, "-c", config, "--allow-downgrade")
    assert (found["refused"], found["before"], found["now"]["manifest"]["version"]) == (
        None,
        {"name": "general", "version": 2},
        1,
    )
    said("rollback", "-c", config)
    assert said("rollback", "-c", config)["now"] is None
    assert said("rollback", "-c", config, status=1)["refused"] == "nothing_to_roll_back"


def test_a_damaged_bundle_in_service_is_a_finding(tmp_path: Path, key: Path, config: Path) -> None:
    run("install", sound(tmp_path, key), "-c", config)
    path = tmp_path / "data/bundles/general-1.bundle"
    path.write_bytes(path.read_bytes()[:-1])
    assert "general-1.bundle: 1 of" in words(run("list", "-c", config, status=1))
    assert "1 of" in said("list", "-c", config, status=1)[0]["problem"]


def test_check_tells_what_is_in_service(tmp_path: Path, key: Path, config: Path) -> None:
    def line() -> str:
        result = CliRunner(env={"COLUMNS": "80", "TERM": "dumb"}).invoke(app, ["check", str(config)])
        return next(line for line in result.output.splitlines() if "bundle" in line)

    assert line() == "✓ bundle: what comes with the software is in service, general version 1"
    run("install", sound(tmp_path, key), "-c", config)
    assert line() == "✓ bundle: general version 1 is in service"
    config.write_text(config.read_text().partition("[bundles]")[0])
    assert line().startswith("✗ bundle: general-1.bundle: is signed with key")


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ("{", "about.json: cannot be used: "),
        ('{"name": "general"}', "about.json: cannot be used: Object missing required field `version`"),
        ('{"name": "general", "vers": 1}', "about.json: cannot be used: Object contains unknown field `vers`"),
    ],
)
def test_wrong_inputs_of_pack_are_wrong_usage(
    tmp_path: Path,
    key: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    about: str,
    says: str,
) -> None:
    (tmp_path / "about.json").write_text(about)
    save_file({"mean": np.zeros(3)}, tmp_path / "prior.safetensors")
    inputs = ("--about", tmp_path / "about.json", "--tensors", tmp_path / "prior.safetensors", "--key", key)
    monkeypatch.setattr(sys, "argv", ["appliance", "bundle", "pack", str(tmp_path / "out"), *map(str, inputs)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path, config: Path) -> None:
    for command in ("verify", "install"):
        assert "does not exist" in words(run(command, tmp_path / "missing", "-c", config, status=2))


def test_the_service_trusts_labels_as_the_bundle_in_service_says(
    tmp_path: Path, key: Path, config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = load(config)
    assert assembly.rules(settings).prior == Prior()
    learned = replace(Prior(), share=(0.1, 0.2, 0.3, 0.4), surprise=7.0)
    run("install", sound(tmp_path, key, tensors=learned.tensors()), "-c", config)
    assert assembly.rules(settings).prior == learned
    (installed,) = (tmp_path / "data" / "bundles").glob("*.bundle")
    installed.write_bytes(installed.read_bytes()[:-1])
    assert assembly.rules(settings).prior == Prior()
    assert "what comes with the software is used until then" in caplog.text


ABOUT = {"name": "general", "version": 1, "datasets": [{"name": "smd", "licence": "MIT"}], "metrics": {}}


def trained(
    tmp_path: Path, method: str = "maml", changed: Mapping[str, NDArray[Any]] | None = None, *, beside: bool = True
) -> Path:
    """A prior as ``appliance meta-train`` writes it: meta-parameters, beside what a bundle has no use for or alone."""
    found = untrained(method, 2 * DETECTORS) | dict(changed or {})
    record = {
        "options": {"method": method, "steps": 5},
        "machines": [{"machine": "skab/valve1", "cluster": "skab", "licence": "GPL-3.0", "use": "train"}],
    }
    path = tmp_path / f"{method}.safetensors"
    tensors = {f"adapter.{name}": each for name, each in found.items()} | {"head.prior": np.zeros(4, np.float32)}
    tensors = tensors if beside else found
    save_file(tensors, path, {"record": json.dumps(record)})
    (tmp_path / "about.json").write_text(json.dumps(ABOUT))
    return path


def test_what_meta_train_made_is_packed_beside_how_far_labels_are_trusted(
    tmp_path: Path, key: Path, config: Path
) -> None:
    file = tmp_path / "general-1.bundle"
    priors = [trained(tmp_path, method, beside=method != "leo") for method in METHODS]
    adapters = [part for prior in priors for part in ("--adapter", prior)]
    run("pack", file, "--about", tmp_path / "about.json", "--key", key, *adapters)
    run("install", file, "-c", config)
    manifest = said("verify", file, "-c", config)["manifest"]
    assert manifest["datasets"] == [{"name": "smd", "licence": "MIT"}, {"name": "skab", "licence": "GPL-3.0"}]
    assert {name: record["options"]["method"] for name, record in manifest["training"].items()} == {
        method: method for method in METHODS
    }
    assert "head.prior" not in manifest["tensors"]
    settings = load(config)
    assert assembly.rules(settings).prior == Prior()
    for method in METHODS:
        chosen = settings.model_copy(update={"adaptation": AdaptationSettings(method=method)})
        adapter = assembly.rules(chosen).adapter
        assert isinstance(adapter, Descending)
        assert adapter.method == method
        assert adapter.remark(DETECTORS) is None


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"model.hidden.weight": np.zeros((16, 3), np.float32)}, "is float32 (16, 3) and should be float32 (16, 52)"),
        ({"model.other": np.zeros(3, np.float32)}, "tensor adapter.maml.model.other is not known here"),
        ({"model.bend.bias": np.full(1, np.nan, np.float32)}, "tensor adapter.maml.model.bend.bias holds nan at (0)"),
        ({"model.linear.weight": np.array(1.0, np.float32)}, "model.linear.weight is missing or a single number"),
    ],
)
def test_meta_parameters_of_other_shapes_or_no_numbers_are_refused(
    tmp_path: Path, key: Path, config: Path, changed: dict[str, NDArray[Any]], says: str
) -> None:
    file = tmp_path / "general-1.bundle"
    prior = trained(tmp_path, changed=changed)
    packing = ("pack", file, "--about", tmp_path / "about.json", "--key", key, "--adapter", prior)
    if "nan" in says:
        assert says in words(run(*packing, status=1))
    else:
        run(*packing)
        assert says in words(run("install", file, "-c", config, status=1))
        assert [each["signed_by"] for each in said("list", "-c", config)] == [""]


def test_a_prior_without_meta_parameters_cannot_be_packed_as_an_adapter(tmp_path: Path, key: Path) -> None:
    trained(tmp_path)
    ridge, other = tmp_path / "ridge.safetensors", tmp_path / "other.safetensors"
    record = {"options": {"method": "ridge"}, "machines": []}
    save_file({"head.prior": np.zeros(3)}, ridge, {"record": json.dumps(record)})
    save_file({"head.prior": np.zeros(3)}, other)
    for path, says in ((ridge, "holds no meta-parameters of a head that descends"), (other, "is no trained prior")):
        with pytest.raises(BundleError, match=says):
            Trained.read(path)


def test_check_tries_what_makes_heads_of_labels(
    tmp_path: Path, key: Path, config: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def line() -> str:
        result = CliRunner(env={"COLUMNS": "400", "TERM": "dumb"}).invoke(app, ["check", str(config), "--json"])
        (found,) = (each for each in json.loads(result.stdout) if each["part"] == "adaptation")
        return f"{found['works']}: {found['detail']}"

    assert line() == "True: ridge"
    config.write_text(f'{config.read_text()}[adaptation]\nmethod = "maml"\nworker_secs = 300\nworker_mb = 2048\n')
    assert re.fullmatch(r"True: maml from general version 1, \d+\.\d s for a trial", line())
    run("install", sound(tmp_path, key, 2), "-c", config)
    missing = "adaptation.method: maml needs a bundle in service with its meta-parameters; install one that was packed"
    assert line().startswith(f"False: {missing}")
    assert isinstance(assembly.rules(load(config)).adapter, Ridge)
    assert f'{missing} with --adapter, or set method = "ridge"; ridge is used until then' in caplog.text
    run("rollback", "-c", config)
    run("install", bundled(tmp_path, SigningKey.read(key), "maml"), "-c", config)
    assert re.fullmatch(r"True: maml from general version 1, \d+\.\d s for a trial", line())
    hide(tmp_path, monkeypatch, "torch.py", "raise ModuleNotFoundError('No module named torch', name='torch')")
    assert line().startswith("False: maml needs torch, which is not installed; install appliance[train], or set")
