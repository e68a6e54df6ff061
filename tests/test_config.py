from __future__ import annotations

import logging
import os
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import assembly
from appliance.config import Settings, load
from appliance.credentials import secret
from appliance.errors import ConfigError

SOURCE = '[[source]]\nname = "p"\ntopic = "plant/{machine}"\nformat = { type = "json" }\n'


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("APPLIANCE_") or name == "CREDENTIALS_DIRECTORY":
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "appliance.toml"


def written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def complaint(file: Path, text: str) -> list[str]:
    """The problems of a configuration, without the file that each line begins with."""
    with pytest.raises(ConfigError) as caught:
        load(written(file, text))
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{file}: ") for line in lines)
    return [line.removeprefix(f"{file}: ") for line in lines]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (SOURCE + "[mqtt]\nport = 99999", "mqtt.port: 99999 is above 65535"),
        (SOURCE + "[mqtt]\nport = 0", "mqtt.port: 0 is below 1"),
        (SOURCE + "period_secs = 0", "source[1].period_secs: 0 is not above 0.0"),
        (SOURCE + "[mqtt]\nhots = 'x'", "mqtt.hots: is not an option; did you mean host?"),
        (SOURCE + "[mqtt]\nzzz = 'x'", "mqtt.zzz: is not an option; remove it"),
        (SOURCE + "lenght = 9", "source[1].lenght: is not an option; did you mean length?"),
        ("sit = 'x'\n" + SOURCE, "sit: is not an option; did you mean site?"),
        ("_env_file = 'x'\n" + SOURCE, "_env_file: is not an option; remove it"),
        (SOURCE.replace("json", "jsn"), "source[1].format: codec type 'jsn' is unknown; known are json, value,"),
        (SOURCE.replace('"json"', '"burst", rate_h = 1'), "source[1].format.rate_h: is not an option; did you mean r"),
        (SOURCE.replace('"json"', '"json", time = 3'), "source[1].format.time: 3: Input should be a valid string"),
        (SOURCE.replace("{machine}", "+"), "source[1].topic: 'plant/+': write {name} for '+'"),
        (SOURCE + "machine = '{line}'", "source[1].machine: source 'p': the machine id '{line}' needs {line}, which"),
        (SOURCE + "hop = 80", "source[1].hop: 80 is above length (64); cells between windows would go unseen"),
        (SOURCE + "lateness_secs = 300", "source[1].lateness_secs: 300 is more than four windows; lengthen the wind"),
        (SOURCE + "warmup_hours = 0.1", "source[1].warmup_hours: 0.1 is below 100 windows; raise it to 0.44 at least"),
        (SOURCE + "hold_secs = inf", "source[1].hold_secs: inf: Input should be a finite number"),
        (SOURCE + "fill = 'both'", "source[1].fill: 'both' is not one of 'hold', 'linear' or 'none'"),
        (SOURCE + "may_stop = 'no way'", "source[1].may_stop: 'no way' is neither true nor false"),
        (SOURCE.replace('name = "p"', 'name = "a b"'), "source[1].name: 'a b': String should match pattern"),
        (SOURCE.replace('name = "p"', ""), "source[1].name: is missing; add it"),
        (SOURCE + SOURCE, "source: the name 'p' is used twice; every source needs its own"),
        ("", "source: there is none; add a [[source]] table for the topics to listen to"),
        (SOURCE + "[alerts]\nopen_windows = 4", "alerts.open_windows: 4 is above of_windows (3); nothing could open"),
        (SOURCE + "[detection]\nmin_coverage = 0", "detection.min_coverage: 0 is not above 0.0"),
        (SOURCE + "[mqtt]\nhost = 'broker'", "mqtt.host: broker is another machine and [mqtt.tls] is missing; add it"),
        (SOURCE + "[mqtt]\nprefix = 'a/#'", "mqtt.prefix: 'a/#': String should match pattern"),
        (SOURCE + "[mqtt.tls]\nkeyfile = 'k'", "mqtt.tls.certfile: is missing beside keyfile; add it"),
        (SOURCE + "[mqtt]\npassword = 'x'", "mqtt.password: a secret in this file; use password_file or APPLIANCE_M"),
        (SOURCE + "[influxdb]\nurl = 'https://h'\ntoken = 'x'", "influxdb.token: a secret in this file; use token_f"),
        (SOURCE + "[influxdb]\nurl = 'http://h'", "influxdb.url: http://h/ is not this machine and not https; use h"),
        (SOURCE + "[bundles]\ntrusted_keys = { a = 'AAAA' }", "bundles.trusted_keys.a: is not 32 bytes in base64; co"),
        (SOURCE + "[bundles]\ntrusted_keys = { a = 1 }", "bundles.trusted_keys.a: is not 32 bytes in base64; copy"),
        (SOURCE + "[bundles]\ntrusted_key = {}", "bundles.trusted_key: is not an option; did you mean trusted_keys?"),
        (SOURCE + "[[notify]]\ntype = 'mail'", "notify[1].type: 'mail' is not a notifier; use one of mqtt, webhook"),
        (SOURCE + "[[notify]]\ntype = ['a']", "notify[1].type: ['a'] is not a notifier; use one of mqtt, webhook"),
        (SOURCE + "[[notify]]\ntype = 'mqtt'\nprefx = 'a'", "notify[1].prefx: is not an option; did you mean prefix?"),
        (SOURCE + "[[notify]]\ntype = 'webhook'\nurl = 'http://h'", "notify[1].url: http://h/ is not this machine"),
        (SOURCE + "[[notify]]\ntype = 'webhook'\nurl = 'https://h'\ntimeout_secs = 0", "notify[1].timeout_secs: 0 is"),
        ("site = ", "is not TOML: "),
        ("site = " + "[" * 5000, "is not TOML: "),
        ("site = " + "9" * 5000, "is not TOML: "),
    ],
)
def test_a_problem_is_one_line_with_file_key_value_and_remedy(file: Path, text: str, problem: str) -> None:
    (line,) = complaint(file, text)
    assert line.startswith(problem)


def test_every_problem_is_told_at_once(file: Path) -> None:
    lines = complaint(file, SOURCE + "hop = 0\n[mqtt]\nport = 0\n[storage]\nmax_mb = 1")
    assert [line.split(":")[0] for line in lines] == ["mqtt.port", "source[1].hop", "storage.max_mb"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing.toml: cannot be read: No such file.*; name the configuration file"):
        load(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="binary: is not TOML"):
        load(binary)


def test_the_environment_wins_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_MQTT__PORT", "1999")
    monkeypatch.setenv("APPLIANCE_MQTT__TLS__CAFILE", "/ca.pem")
    monkeypatch.setenv("APPLIANCE_SITE", "works 2")
    monkeypatch.setenv("APPLIANCE_BUNDLES__TRUSTED_KEYS", '{"a": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}')
    found = load(written(file, "site = 'works 1'\n" + SOURCE + "[mqtt]\nport = 1884\nclient_id = 'kept'"))
    assert (found.mqtt.port, found.mqtt.client_id, found.site) == (1999, "kept", "works 2")
    assert found.mqtt.tls is not None
    assert found.mqtt.tls.cafile == Path("/ca.pem")
    assert found.bundles.trusted_keys == {"a": bytes(range(32))}


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("APPLIANCE_MQTT__HOTS", "x", "mqtt.hots: is not an option; did you mean host?"),
        ("APPLIANCE_MQQT__HOST", "x", "APPLIANCE_MQQT__HOST: is not an option; did you mean APPLIANCE_MQTT?"),
        ("APPLIANCE_LOGLEVEL", "info", "APPLIANCE_LOGLEVEL: is not an option; did you mean APPLIANCE_LOG_LEVEL?"),
        ("APPLIANCE_MQTT", "{", 'environment: error parsing value for field "mqtt"'),
        ("APPLIANCE_MQTT__TLS", '{"kefile": "x"}', "mqtt.tls.kefile: is not an option; did you mean keyfile?"),
        ("APPLIANCE_SOURCE", '[{"nam": 1}]', "source[1].nam: is not an option; did you mean name?"),
        ("APPLIANCE_MQTT__PORT", "many", "mqtt.port: 'many': Input should be a valid integer"),
    ],
)
def test_a_wrong_environment_variable_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, problem: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load(written(file, SOURCE))
    assert problem in str(caught.value)


def test_variables_of_others_are_left_alone(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_INFLUXDB_TOKEN", "Grafana's")
    monkeypatch.setenv("APPLIANCE_TESTS_WITHOUT_SERVERS", "1")
    assert load(written(file, SOURCE)).influxdb is None


def test_secrets_are_read_from_a_file(tmp_path: Path, file: Path) -> None:
    key = tmp_path / "password"
    key.write_text("geheim\n")
    key.chmod(0o600)
    found = load(written(file, SOURCE + f"[mqtt]\npassword_file = '{key}'"))
    assert assembly.broker_options(found).password == "geheim"


def test_secrets_are_read_from_a_systemd_credential(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for name in ("mqtt", "influx", "hook"):
        (tmp_path / name).write_text(f"of {name}")
        (tmp_path / name).chmod(0o400)
    text = (
        '[mqtt]\npassword_file = "${CREDENTIALS_DIRECTORY}/mqtt"\n'
        '[influxdb]\nurl = "https://h"\ntoken_file = "${CREDENTIALS_DIRECTORY}/influx"\n'
        '[[notify]]\ntype = "webhook"\nurl = "https://h"\ntoken_file = "${CREDENTIALS_DIRECTORY}/hook"\n'
    )
    found = load(written(file, SOURCE + text))
    assert assembly.broker_options(found).password == "of mqtt"
    influx = assembly.influx_options(found)
    assert influx is not None
    assert influx.token == "of influx"
    assert found.notify[0].model_dump()["token_file"] == tmp_path / "hook"


def test_secrets_come_from_the_environment_and_are_never_shown(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("APPLIANCE_MQTT__PASSWORD", "geheim-1")
    monkeypatch.setenv("APPLIANCE_INFLUXDB__TOKEN", "geheim-2")
    found = load(written(file, SOURCE + "[influxdb]\nurl = 'https://h'"))
    assert assembly.broker_options(found).password == "geheim-1"
    logging.getLogger().warning("settings %r %s", found, found.model_dump_json())
    assert "geheim" not in caplog.text


def test_a_secret_is_not_shown_when_it_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_MQTT__PASSWORD__X", "geheim")
    (line,) = complaint(file, SOURCE)
    assert line == "mqtt.password: is not text"


@pytest.mark.parametrize("mode", [0o602, 0o620])
def test_a_secret_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_text("x")
    path.chmod(mode)
    with pytest.raises(ConfigError, match=rf"mqtt.password_file: {path} can be written by others; chmod 600 {path}"):
        secret("mqtt.password_file", None, path)


def test_an_empty_missing_or_binary_secret_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(ConfigError, match=r"k: .*key cannot be read: .*No such file"):
        secret("k", None, path)
    path.write_text(" \n")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=r"k: .*key is empty; put the secret in it"):
        secret("k", None, path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"k: .*key cannot be read"):
        secret("k", None, path)


def test_plaintext_beyond_this_machine_needs_a_word(file: Path) -> None:
    aloud = SOURCE + (
        "[mqtt]\nhost = 'broker'\nallow_plaintext = true\n[influxdb]\nurl = 'http://h'\nallow_plaintext = true\n"
        "[[notify]]\ntype = 'webhook'\nurl = 'http://h'\nallow_plaintext = true\n"
    )
    assert load(written(file, aloud)).mqtt.host == "broker"
    nearby = SOURCE + "[influxdb]\nurl = 'http://[::1]:8086'\n[[notify]]\ntype = 'webhook'\nurl = 'http://localhost'\n"
    assert load(written(file, nearby)).influxdb is not None


def test_a_window_of_grace_is_held_by_default(file: Path) -> None:
    (source,) = load(written(file, SOURCE + "period_secs = 2.0\nlength = 32")).source
    assert assembly.source(source).grid.hold_secs == 64.0
    assert source.warmup_windows == 24 * 3600 / (16 * 2)


NAMES = st.sampled_from(
    [name for model in (Settings, *(f.annotation for f in Settings.model_fields.values()))
     for name in getattr(model, "model_fields", {})] + ["type", "name", "topic", "url", "x", "_env_file", "self", "0"]
)  # fmt: skip
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["json", "mqtt", "webhook", "plant/{machine}", "http://h", "127.0.0.1"])
)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=12
)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_anything_is_either_accepted_or_refused_with_a_config_error(table: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tomllib, "load", lambda _: table)
        with suppress(ConfigError):
            load(Path(__file__))
