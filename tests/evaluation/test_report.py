from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest

from appliance.evaluation.drawing import DARK, LIGHT, MOST_BUCKETS, apart, thinned
from appliance.evaluation.report import About, Explained, write_report
from appliance.evaluation.results import Row
from appliance.evaluation.summary import summarise
from appliance.evaluation.wording import number, signed
from tests.fake_results import fake_example, fake_rows

ABOUT: About = {"command": "appliance evaluate --data data --out out", "version": "1.2.3"}
HOSTILE = "<script>alert(1)</script>&$x_1$"


def render(folder: Path, rows: list[Row], about: About = ABOUT, examples: int = 0) -> str:
    return write_report(folder, summarise(rows), rows, [fake_example(HOSTILE)] * examples, about).read_text()


class Balanced(HTMLParser):
    """Fails where a tag is closed that is not the last one opened."""

    EMPTY = frozenset({"meta", "br", "path", "use", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.EMPTY and tag not in {"tr", "li"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None: ...

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY and tag not in {"tr", "li"}:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> str:
    rows = [
        msgspec.structs.replace(row, machine=HOSTILE) if row.machine == "smd-1" else row
        for row in fake_rows((0, 5), ("SKAB", "SMD"))
    ]
    about: About = {
        **ABOUT,
        "skipped": [("SMD", HOSTILE, "no events"), ("New", "a", "no events")],
        "explained": {"SMD": Explained(104, 0.587, 0.42, 0.13)},
        "notes": ["The plant is made up."],
    }
    return render(tmp_path_factory.mktemp("report"), rows, about, examples=1)


def test_the_report_needs_nothing_else(full: str) -> None:
    assert "http" not in full
    assert not re.search(r"<(script|link|img|iframe|object)\b|@import|url\((?!#)", full)
    assert set(re.findall(r'href="(.)', full)) <= {"#"}
    reader = Balanced()
    reader.feed(full)
    assert reader.open == []


def test_every_part_is_there_in_the_readers_order(full: str) -> None:
    assert re.findall(r"<h2>(.+?)</h2>", full) == [
        "What was run",
        "Targets",
        "Without labels, by dataset",
        "What labels add",
        "False alerts against their budget",
        "Events alerted at the budget",
        "Whether the right channels are named",
        "Examples",
        "How it was measured",
        "What is weak",
    ]
    assert "<td>104</td><td>59 %</td><td>42 %</td><td>13 %</td>" in full
    assert "Why 2 machines were skipped" in full
    assert "The plant is made up." in full
    assert "Few clusters, so that intervals are too narrow or missing: SKAB (4)." in full


def test_methods_that_learn_from_labels_stand_beside_one_another(tmp_path: Path) -> None:
    rows = fake_rows((0, 5), ("SKAB",))
    rows = [row for row in rows if row.method != "ridge" or row.k]  # it can do nothing without labels
    cell = summarise(rows).cell("SKAB", "ridge", 5, "common")
    assert cell is not None
    assert cell.delta_to_reference is not None
    figures = f"{number(cell.figures['vus_pr'].value)} <small>{signed(cell.delta_to_reference.value)}</small>"
    assert f"<td>ridge</td><td>{figures}</td>" in render(tmp_path, rows)


def test_names_from_outside_stay_text(full: str) -> None:
    assert HOSTILE not in full
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;$x_1$" in full


def test_colours_follow_the_page(full: str) -> None:
    assert not re.search(r"#0(\d)0\1", full)
    assert full.count("<svg") == full.count('role="img"')


def test_every_drawing_of_the_page_is_a_small_file_too_with_paper_and_colours_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "former.svg").write_text("of a former run")
    page = render(tmp_path, fake_rows((0, 5), ("SKAB", "SMD")), examples=1)
    files = {path.stem: path for path in (tmp_path / "figures").iterdir()}
    per_dataset = {f"{what}-{dataset}" for what in ("methods", "machines", "labels") for dataset in ("SKAB", "SMD")}
    (example,) = files.keys() - per_dataset - {"false-alerts-a-week", "false-alerts-a-day", "methods-all-datasets"}
    assert example.startswith("example-1-")
    assert re.fullmatch(r"[\w.-]+", example)
    assert len(files) == page.count("<svg")
    for path in files.values():
        root = ElementTree.fromstring(path.read_text())
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        drawing = path.read_text()
        assert set(re.findall(r"var\(--(\w+)\)", drawing)) <= LIGHT.keys() == DARK.keys()
        assert all(f"--{name}: {colour};" in drawing for palette in (LIGHT, DARK) for name, colour in palette.items())
        assert path.stat().st_size < 100_000


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    rows = [
        Row(
            dataset="A",
            machine=f"m{i}",
            cluster=f"c{i}",
            method="appliance",
            k=0,
            seed=0,
            draw=0,
            tail="whole",
            hops=9,
            events=1,
            vus_pr=0.5,
        )
        for i in range(2)
    ]
    text = render(tmp_path, rows)
    assert re.findall(r"<h2>(.+?)</h2>", text) == [
        "What was run",
        "Without labels, by dataset",
        "How it was measured",
        "What is weak",
    ]
    assert "One dataset only" in text


def test_the_same_results_give_the_same_page(tmp_path: Path) -> None:
    rows = fake_rows((0,), ("SKAB",))
    assert render(tmp_path, rows) == render(tmp_path, rows)


def test_a_thinned_line_keeps_its_spikes_and_its_gaps() -> None:
    values = np.zeros(50_000)
    values[31_234] = 9.0
    values[10_000:20_000] = np.nan
    kept = thinned(values)
    assert len(kept) <= 2 * MOST_BUCKETS
    assert 31_234 in kept
    assert np.isnan(values[kept]).any()
    assert (np.diff(kept) > 0).all()
    assert (thinned(values[:100]) == np.arange(100)).all()


def test_labels_keep_their_order_and_their_distance() -> None:
    moved = apart(np.array([0.3, 0.1, 0.1, 0.9]), 0.2)
    assert moved == pytest.approx([0.5, 0.1, 0.3, 0.9])


def test_the_command_line_loads_no_plotting_library() -> None:
    """Who runs the service has not installed them."""
    script = "import sys, appliance.cli; print({'matplotlib', 'jinja2', 'sklearn', 'rrcf'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "set()\n"


def test_a_machine_watched_too_briefly_for_any_alert_is_drawn(tmp_path: Path) -> None:
    rows = [
        msgspec.structs.replace(row, false_alerts=0, budget_alerts=0.001, false_alerts_day=0, budget_alerts_day=0.007)
        for row in fake_rows((0,), ("SKAB",))
    ]
    render(tmp_path, rows)
