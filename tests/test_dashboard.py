"""The Grafana dashboard answers from a real InfluxDB: every query in it, its macros filled in as Grafana does."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS

from appliance.outcome import Attempt
from appliance.records import Alert, Score, Signal
from appliance.store.influx import alert_lines, attempt_lines, score_lines, vitals_lines
from appliance.store.logs import Vitals
from tests.conftest import need
from tests.servers import InfluxDB

GRAFANA = Path(__file__).parents[1] / "config/grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards/machines.json").read_text())

# What the exporter writes: measurement → its tags, its fields.
SCHEMA: Mapping[str, tuple[set[str], set[str]]] = {
    "anomaly": (
        {"site", "machine"},
        {"score", "threshold", "alarm", "trust", "state", "model", "head", "coverage", "extrapolated"},
    ),
    "evidence": ({"site", "machine", "channel"}, {"contribution"}),
    "evidence_kind": ({"site", "machine", "detector"}, {"evidence"}),
    "signal": ({"site", "machine", "channel"}, {"mean", "min", "max"}),
    "alert": ({"site", "machine", "channel"}, {"id", "kind", "state", "peak_score", "summary", "since"}),
    "adaptation": (
        {"site", "machine"},
        {"cause", "label", "head", "labels", "promoted", "vetoed", "faults", "caught_before", "caught"}
        | {"alerts_before", "alerts", "words"},
    ),
    "appliance": (
        {"site"},
        {"messages", "readings", "quarantined", "late", "duplicate", "backlog", "rss_mb", "journal_mb"},
    ),
}

SITE = "plant/north (1)"  # names that a regular expression must not misread
MACHINES = ("press-1", "pump.2")
CHANNELS = ("current", "flow (l/min)")
START_SECS = 1_700_000_000
STEP_SECS = 60
WINDOWS = 90
LEARNED = 10  # windows without a score
FAULT = range(40, 55)  # windows in which the press is in alarm


def lines() -> Iterator[str]:
    """Yield what the exporter writes in an hour and a half of two machines, one of which has a fault in the middle."""
    for window in range(WINDOWS):
        start = float(START_SECS + window * STEP_SECS)
        end = start + STEP_SECS
        counters = {"messages": 60.0 * window, "readings": 120.0 * window, "quarantined": 1.0 * window}
        gauges = {"late": 2.0, "duplicate": 0.0, "backlog": 3.0, "rss_mb": 140.0, "journal_mb": 12.0}
        yield from vitals_lines(SITE, Vitals(end, counters | gauges))
        for machine in MACHINES:
            learned, faulty = window >= LEARNED, machine == "press-1" and window in FAULT
            level = 5.5 if faulty else 0.3 + 0.2 * math.sin(window)
            score = Score(
                machine=machine,
                source="plc",
                start=start,
                end=end,
                score=level if learned else None,
                threshold=4.0 if learned else None,
                alarm=faulty,
                trust="prior" if learned else "learning",
                blank=None if learned else "learning",
                extrapolated=faulty,
                coverage=0.98,
                model=int(learned),
                head=int(machine == "press-1" and window >= FAULT.stop),
                evidence={"level": 2 * level} if learned else {},
                contributions=dict(zip(CHANNELS, (0.8, 0.2), strict=True)) if faulty else dict.fromkeys(CHANNELS, 0.0),
                signals=dict.fromkeys(CHANNELS, Signal(mean=7.0, min=6.0, max=8.0)),
            )
            yield from score_lines(SITE, score)
    opened, closed = (float(START_SECS + window * STEP_SECS) for window in (FAULT.start, FAULT.stop))
    alert = Alert(
        id="a1",
        machine="press-1",
        state="open",
        since=opened,
        opened_at=opened,
        updated_at=opened,
        closed_at=None,
        peak_score=5.5,
        threshold=4.0,
        channels={"current": 0.8},
        evidence={"level": 11.0},
        summary='current is "high", flow is not',
    )
    yield from alert_lines(SITE, alert)
    yield from alert_lines(SITE, replace(alert, state="closed", updated_at=closed, closed_at=closed))
    attempt = Attempt("press-1", closed, "label", "7", 1, 1, "catches 1 of 1", None, 1, 0, 1, 0.4, 0.2)
    yield from attempt_lines(SITE, attempt)
    vetoed = replace(attempt, at=closed + 1e-6, label="8", labels=2, vetoed="it would lose 1", caught=0)
    yield from attempt_lines(SITE, vetoed)
    sensor = replace(alert, id="a2", channels={"flow (l/min)": 1.0}, kind="sensor", peak_score=None, updated_at=closed)
    yield from alert_lines(SITE, sensor)


def labelled_queries() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['id']} {panel['title']} {target['refId']}", target["query"]
    for variable in DASHBOARD["templating"]["list"]:
        yield f"variable {variable['name']}", variable["query"]
    for annotation in DASHBOARD["annotations"]["list"]:
        if "target" in annotation:
            yield f"annotation {annotation['name']}", annotation["target"]["query"]


QUERIES = dict(labelled_queries())


def as_grafana(query: str, **chosen: tuple[str, ...]) -> str:
    """Fill in Grafana's macros for one range, and each variable as it does for one that takes several values."""
    end_secs = START_SECS + WINDOWS * STEP_SECS
    filled = query.replace("$timeFilter", f"time >= {START_SECS}000ms and time <= {end_secs}000ms")
    filled = filled.replace("$__interval", f"{STEP_SECS}s")
    for name, values in ({"site": (SITE,), "machine": MACHINES, "channel": CHANNELS} | chosen).items():
        escaped = [re.sub(r"[\\^$*+?.()|\[\]{}/]", r"\\\g<0>", value) for value in values]
        filled = filled.replace(f"${name}", escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})")
    assert "$" not in filled.replace("$/", ""), f"a macro that this test does not know: {filled}"
    return filled


@pytest.fixture(scope="module")
def filled_influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB]:
    """Start an InfluxDB that holds what the appliance would have written."""
    need("influxd", "nginx")
    server = InfluxDB(tmp_path_factory.mktemp("influxdb"))
    try:
        server.start()
        with InfluxDBClient(server.url, token=server.token, org="-") as client:
            client.write_api(SYNCHRONOUS).write(server.database, "-", list(lines()))
        yield server
    finally:
        server.kill()


@pytest.mark.parametrize("label", QUERIES)
def test_every_query_returns_rows_without_an_empty_column(filled_influxdb: InfluxDB, label: str) -> None:
    rows = filled_influxdb.query(as_grafana(QUERIES[label]))
    assert rows
    for column in rows[0]:
        assert any(row[column] is not None for row in rows), f"{column} is empty"


def test_the_figures_are_those_of_the_machines(filled_influxdb: InfluxDB) -> None:
    def rows(title: str, **chosen: tuple[str, ...]) -> list[dict[str, Any]]:
        panel = next(panel for panel in DASHBOARD["panels"] if panel["title"] == title)
        return filled_influxdb.query(as_grafana(panel["targets"][0]["query"], **chosen))

    assert rows("Machines reporting")[0]["count"] == len(MACHINES)
    assert rows("Machines in alarm")[0]["sum"] == 0
    assert rows("Alerts opened")[0]["count"] == 2
    assert sum(float(row["max"]) for row in rows("Alarms")) == len(FAULT)
    assert len(rows("Alarms")) == len(MACHINES) * (WINDOWS - LEARNED)
    changes = [(row["kind"], row["state"]) for row in rows("Alerts")]
    assert sorted(changes) == [("machine", "closed"), ("machine", "open"), ("sensor", "open")]
    assert rows("Alerts", machine=("pump.2",)) == []
    changed = rows("What labels changed")
    assert [(row["label"], row["promoted"], row["vetoed"], row["head"]) for row in changed] == [
        ("8", 0, "it would lose 1", 1),
        ("7", 1, None, 1),
    ]
    assert [row["head"] for row in rows("Machines now")] == [1, 0]
    learned = filled_influxdb.query(as_grafana(QUERIES["annotation Labels learned"]))
    assert [(row["words"], row["machine"], row["cause"]) for row in learned] == [("catches 1 of 1", "press-1", "label")]
    assert max(row["score"] for row in rows("Score against threshold", machine=("press-1",))) == 5.5
    assert {row["messages"] for row in rows("Intake")} == {1}
    assert [(row["machine"], row["state"]) for row in rows("Machines now")] == [(name, "scored") for name in MACHINES]


def test_the_machine_variable_lists_the_machines_of_the_site(filled_influxdb: InfluxDB) -> None:
    def machines(site: str) -> list[object]:
        return [row["value"] for row in filled_influxdb.query(as_grafana(QUERIES["variable machine"], site=(site,)))]

    assert machines(SITE) == list(MACHINES)
    assert machines("another") == []


def unknown_names(query: str) -> set[str]:
    """Return the quoted names in a query that are neither in the schema of its measurements nor made by itself."""
    names = re.findall(r'(FROM |AS |)"([^"]+)"', query)
    measurements = {name for before, name in names if before == "FROM "}
    known = {name for before, name in names if before == "AS "}
    for measurement in measurements & SCHEMA.keys():
        known |= {measurement}.union(*SCHEMA[measurement])
    return {name for _, name in names} - known


@pytest.mark.parametrize("label", QUERIES)
def test_no_query_asks_for_what_is_never_written(label: str) -> None:
    assert unknown_names(QUERIES[label]) == set()


def test_the_schema_check_sees_a_wrong_name() -> None:
    assert unknown_names('SELECT max("scores") AS "score" FROM "anomaly" GROUP BY "channel"') == {"scores", "channel"}
    assert unknown_names('SELECT "x" FROM "elsewhere"') == {"x", "elsewhere"}


def test_the_exporter_writes_this_schema_and_nothing_else(filled_influxdb: InfluxDB) -> None:
    for measurement, (tags, fields) in SCHEMA.items():
        assert {row["tagKey"] for row in filled_influxdb.query(f'SHOW TAG KEYS FROM "{measurement}"')} == tags
        assert {row["fieldKey"] for row in filled_influxdb.query(f'SHOW FIELD KEYS FROM "{measurement}"')} == fields


def test_every_field_that_is_written_is_shown() -> None:
    shown = set().union(*(set(re.findall(r'"([^"]+)"', query)) for query in QUERIES.values()))
    assert set().union(*(fields for _, fields in SCHEMA.values())) <= shown


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


def test_everything_that_is_repeated_or_used_is_a_variable() -> None:
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    macros = {"timeFilter", "__interval", "col"} | {f"tag_{tag}" for tags, _ in SCHEMA.values() for tag in tags}
    used = set(re.findall(r"\$([A-Za-z_]+)", json.dumps(DASHBOARD["panels"])))
    repeated = {panel["repeat"] for panel in DASHBOARD["panels"] if "repeat" in panel}
    assert used - macros <= variables
    assert repeated <= variables


def test_the_dashboard_asks_the_data_source_that_is_provisioned() -> None:
    provisioned = (GRAFANA / "provisioning/datasources/appliance.yaml").read_text()
    declared = re.findall(r"^ +(?:- )?(?:uid|type|dbName): (\S+)$", provisioned, re.MULTILINE)
    assert declared == ["appliance-influxdb", "influxdb", "appliance"]
    uid, kind, _ = declared
    sources = [panel["datasource"] for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    sources += [target["datasource"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    sources += [variable["datasource"] for variable in DASHBOARD["templating"]["list"]]
    assert all(source == {"type": kind, "uid": uid} for source in sources)
