"""The shipped configuration names every option there is, with its true default, and is valid as it is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel

from appliance import config
from appliance.assembly import rules, source
from appliance.credentials import SECRETS
from appliance.ingest import codecs
from appliance.notify import NOTIFIERS
from appliance.screening import StateSource

SHIPPED = Path(__file__).parents[1] / "config" / "appliance.toml"
TABLES: dict[str, type[BaseModel]] = {
    "mqtt": config.MqttSettings,
    "mqtt.tls": config.TlsSettings,
    "detection": config.DetectionSettings,
    "alerts": config.AlertSettings,
    "feedback": config.FeedbackSettings,
    "adaptation": config.AdaptationSettings,
    "influxdb": config.InfluxSettings,
    "bundles": config.BundleSettings,
    "storage": config.StorageSettings,
}


class Option(NamedTuple):
    model: type[BaseModel]
    key: str
    value: Any
    commented: bool
    comment: str


def models_in_order() -> Iterator[tuple[str, type[BaseModel]]]:
    """Each table header of the file with the model of its options."""
    text = SHIPPED.read_text()
    for block in re.split(r"^#?(?=\[)", text, flags=re.MULTILINE):
        header = re.match(r"\[+([a-z.]+)\]+", block)
        name = header.group(1) if header else ""
        kind = re.search(r'^#?type = "(\w+)"', block, re.MULTILINE)
        if name == "source.format":
            assert kind is not None
            yield block, type(codecs.parse_options({"type": kind.group(1)}))
        elif name == "notify":
            assert kind is not None
            yield block, NOTIFIERS[kind.group(1)].Options
        elif name == "source":
            yield block, config.SourceSettings
        else:
            yield block, TABLES.get(name, config.Settings)


def options() -> list[Option]:
    found = []
    for block, model in models_in_order():
        comment, was_prose = "", False
        for line in block.splitlines():
            if line.startswith("# "):
                comment = f"{comment} {line[2:]}" if was_prose else line[2:]
            was_prose = line.startswith("# ")
            match = re.fullmatch(r"(#?)([a-z_0-9]+) = .+", line)
            if match:
                value = tomllib.loads(line.removeprefix("#"))[match.group(2)]
                found.append(Option(model, match.group(2), value, bool(match.group(1)), comment))
    return found


def every_field() -> set[tuple[str, str]]:
    models: list[type[BaseModel]] = [config.SourceSettings, *TABLES.values()]
    models += [notifier.Options for notifier in NOTIFIERS.values()]
    models += [type(codecs.parse_options({"type": kind})) for kind in codecs.CODECS]
    fields = {(model.__name__, name) for model in models for name in model.model_fields}
    fields |= {("Settings", name) for name in ("site", "log_level")}  # the others are tables
    fields -= {("MqttSettings", "tls")}
    inline = {(TABLES[table].__name__, key) for table, key in SECRETS}
    return fields - inline


def test_names_every_option_and_no_other() -> None:
    mentioned = {(option.model.__name__, option.key) for option in options()}
    assert mentioned == every_field()


def test_every_table_of_the_settings_is_known_here() -> None:
    tables = {name for name in config.Settings.model_fields if name not in {"site", "log_level", "source", "notify"}}
    assert tables == {name for name in TABLES if "." not in name}


def test_is_valid_as_shipped_with_everything_on_this_machine() -> None:
    settings = config.load(SHIPPED)
    assert settings.mqtt.host == "127.0.0.1"
    assert [source.name for source in settings.source] == ["plant"]
    assert settings.influxdb is None
    assert settings.notify == ()


def test_is_valid_with_every_option_in_use(tmp_path: Path) -> None:
    in_use = tmp_path / "appliance.toml"
    in_use.write_text(re.sub(r"^#(?=\S)", "", SHIPPED.read_text(), flags=re.MULTILINE))
    settings = config.load(in_use)
    assert settings.mqtt.tls is not None
    assert {source.format.type for source in settings.source} == set(codecs.CODECS)
    assert {entry.type for entry in settings.notify} == set(NOTIFIERS)


@pytest.mark.parametrize("option", options(), ids=lambda option: f"{option.model.__name__}.{option.key}")
def test_commented_values_are_the_defaults_unless_they_are_called_examples(option: Option) -> None:
    field = option.model.model_fields[option.key]
    if option.key in {"type", "name", "topic"}:
        return
    assert option.comment, "says nothing about the option"
    if option.commented and not field.is_required() and not option.comment.endswith("An example:"):
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        assert option.value == default


@pytest.mark.parametrize("path", sorted((SHIPPED.parent / "examples").glob("*.toml")), ids=lambda path: path.name)
def test_every_example_is_valid(path: Path) -> None:
    assert config.load(path).source


def test_alarms_are_budgeted_by_the_rule_that_opens_alerts(tmp_path: Path) -> None:
    file = tmp_path / "appliance.toml"
    text = SHIPPED.read_text().replace("#open_windows = 2", "open_windows = 4")
    file.write_text(text.replace("#of_windows = 3", "of_windows = 5"))
    detector = rules(config.load(file)).detector
    assert (detector.confirm, detector.of) == (4, 5)


def test_the_operating_state_is_seen_unless_a_channel_tells_it(tmp_path: Path) -> None:
    file = tmp_path / "appliance.toml"
    text = SHIPPED.read_text()
    file.write_text(text)
    assert source(config.load(file).source[0]).state == StateSource()
    file.write_text(text.replace("#may_stop = true", "may_stop = false"))
    assert source(config.load(file).source[0]).state == StateSource(may_stop=False)
    for above, expected in (("#running_above = 0.5", 0.5), ("running_above = 12.0", 12.0)):
        told = text.replace('#state_channel = "running"', 'state_channel = "power_kw"')
        file.write_text(told.replace("#running_above = 0.5", above))
        assert source(config.load(file).source[0]).state == StateSource("power_kw", expected)


def test_an_alert_of_a_standing_machine_closes_after_the_time_that_is_set(tmp_path: Path) -> None:
    file = tmp_path / "appliance.toml"
    file.write_text(SHIPPED.read_text().replace("#close_stopped_secs = 3600.0", "close_stopped_secs = 60"))
    assert rules(config.load(file)).alerts.close_stopped_secs == 60.0
