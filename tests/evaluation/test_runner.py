"""One machine through the protocol, and what the cache keeps of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from appliance.detect.windows import Windows
from appliance.evaluation import cache, runner
from appliance.evaluation.baselines import METHODS
from appliance.evaluation.baselines.taught import Examples, Taught
from appliance.evaluation.datasets import Entry
from appliance.evaluation.methods import Batch, Judged, MissingExtra, Support, Unsuited
from appliance.evaluation.runner import Measured, Request, run_entry, run_trial
from appliance.evaluation.service import Operated, operate
from appliance.evaluation.trials import Trial, Views, views
from appliance.recordings import Recording, write_recording
from appliance.records import Floats
from tests.evaluation.conformance import trial

FITS: Counter[tuple[str, int]] = Counter()
CALLED_FALSE: list[list[int]] = []


class Level(Batch):
    name = "level"
    seeds: ClassVar = 3

    def fit(self, windows: Windows, seed: int) -> None:
        FITS[self.name, seed] += 1

    def oddity(self, windows: Windows) -> Floats:
        return np.asarray(np.abs(windows.mean).max(axis=1))


class Choosy(Level):
    name = "choosy"

    def fit(self, windows: Windows, seed: int) -> None:
        raise Unsuited("it likes no windows")


class Broken(Level):
    name = "broken"

    def fit(self, windows: Windows, seed: int) -> None:
        raise ZeroDivisionError("of course")


class Impatient(Level):
    name = "impatient"

    def fit(self, windows: Windows, seed: int) -> None:
        if seed == 1:
            raise KeyboardInterrupt
        super().fit(windows, seed)


class Pupil(Taught):
    name = "pupil"

    def judge(self, views: Views, support: Support, seed: int) -> Judged:
        CALLED_FALSE.append(support.false_alarm.tolist())
        return super().judge(views, support, seed)

    def fit(self, examples: Examples, seed: int) -> None:
        FITS[self.name, int(examples.is_fault.sum())] += 1
        self.fault = examples.rows[examples.is_fault].mean(axis=0)

    def oddity(self, rows: Floats) -> Floats:
        return np.asarray(rows @ self.fault)


class Autodidact(Level):
    name = "autodidact"
    seeds: ClassVar = 1
    uses_labels: ClassVar = True


def not_installed() -> Batch:
    raise MissingExtra("absent needs the package absent: pip install 'appliance[absent]'")


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    FITS.clear()
    CALLED_FALSE.clear()
    for method in (Level, Choosy, Broken, Impatient, Pupil, Autodidact):
        monkeypatch.setitem(METHODS, method.name, method)
    monkeypatch.setitem(METHODS, "absent", not_installed)


def measured(folder: Path, *methods: str, ks: tuple[int, ...] = (0,), of: Trial | None = None) -> Measured:
    found = Measured("synthetic", "m")
    run_trial(of or trial(), Request(methods, ks, folder), found)
    return found


def test_every_method_and_seed_gets_a_row(tmp_path: Path) -> None:
    found = measured(tmp_path, "appliance", "level")
    assert [(row.method, row.seed, row.k, row.tail) for row in found.rows] == [
        ("appliance", 0, 0, "whole"),
        ("level", 0, 0, "whole"),
        ("level", 1, 0, "whole"),
        ("level", 2, 0, "whole"),
    ]
    appliance, level, *_ = found.rows
    assert (appliance.hops, appliance.events, appliance.dataset, appliance.machine) == (150, 3, "synthetic", "m")
    assert appliance.vus_pr is not None
    assert appliance.vus_pr > 0.7
    assert appliance.fit_ms is not None
    assert level.fit_ms is not None
    assert level.score_us is not None
    assert level.adapt_ms is None
    assert {scene.kind for scene in found.scenes} <= {"caught", "missed", "false alert"}


def test_labels_are_measured_on_a_common_tail(tmp_path: Path) -> None:
    found = measured(tmp_path, "level", "pupil", ks=(0, 1, 5))
    hops = {(row.method, row.k, row.tail): (row.hops, row.events) for row in found.rows}
    tail = 150 - trial().event_hops[0][1]
    assert hops == {
        ("level", 0, "whole"): (150, 3),
        ("level", 0, "common"): (tail, 2),
        ("pupil", 1, "common"): (tail, 2),
    }
    assert FITS["level", 0] == 2, "judged once for both tails: a fit for the held-out quarter, and one for the test"


def test_the_appliance_takes_no_labels_so_they_change_nothing(tmp_path: Path) -> None:
    rows = measured(tmp_path, "appliance", ks=(0, 1)).rows
    without, with_one = (next(row for row in rows if (row.k, row.tail) == (k, "common")) for k in (0, 1))
    assert (without.vus_pr, without.false_alerts) == (with_one.vus_pr, with_one.false_alerts)
    assert with_one.fit_ms is None
    assert len(rows) == 3


def test_learning_from_labels_is_timed_apart(tmp_path: Path) -> None:
    (row,) = measured(tmp_path, "pupil", ks=(0, 1)).rows
    assert row.adapt_ms is not None
    assert row.fit_ms is None


def test_what_can_do_without_labels_is_asked_for_both_where_there_are_some(tmp_path: Path) -> None:
    assert [(row.k, row.tail) for row in measured(tmp_path, "autodidact", ks=(0, 1)).rows] == [
        (0, "common"),
        (1, "common"),
    ]
    assert not measured(tmp_path, "autodidact").rows


def test_a_machine_with_too_few_events_has_no_common_tail(tmp_path: Path) -> None:
    few = replace(trial(), events=trial().events[:2])
    assert [row.tail for row in measured(tmp_path, "random", "pupil", ks=(0, 1), of=few).rows] == ["whole"] * 5


def test_the_appliances_false_alarms_teach_although_nobody_asked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = operate(trial(), 1.0)
    raised = replace(whole.run, alerts=[(3, 6)])
    monkeypatch.setattr(runner, "operate", lambda *_, lessons: [Operated(raised, [raised] * len(lessons))] * 2)
    found = measured(tmp_path, "pupil", ks=(0, 1))
    assert CALLED_FALSE == [[3, 4, 5]]
    assert {row.method for row in found.rows} == {"pupil"}


def test_a_method_without_a_figure_is_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    found = measured(tmp_path, "choosy", "broken", "absent", "level")
    assert found.unsuited == [
        ("choosy", "it likes no windows"),
        ("absent", "absent needs the package absent: pip install 'appliance[absent]'"),
    ]
    assert [method for method, _ in found.failed] == ["broken"]
    assert found.failed[0][1].startswith("ZeroDivisionError: of course (test_runner.py:")
    assert {row.method for row in found.rows} == {"level"}


def test_an_unreadable_machine_is_skipped_and_a_failing_one_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(("random",), (0,), tmp_path / "cache")
    short = Recording("s", ("a",), np.arange(100.0), np.zeros((100, 1)))
    write_recording(short, tmp_path / "s.npz")
    skipped = run_entry(Entry("plant", tmp_path / "s.npz"), request)
    assert skipped.skipped == "30 samples before its first event, 500 are needed to learn from"

    def fails(_: Entry) -> Trial:
        raise MemoryError("no room")

    monkeypatch.setattr(runner, "load", fails)
    failed = run_entry(Entry("plant", tmp_path / "s.npz"), request)
    assert (failed.dataset, failed.machine) == ("plant", "s")
    assert failed.failed[0][1].startswith("MemoryError: no room")


def test_a_second_run_computes_nothing(tmp_path: Path) -> None:
    methods = ("appliance", "level", "choosy", "pupil")
    first = measured(tmp_path, *methods, ks=(0, 1))
    fits = FITS.total()
    second = measured(tmp_path, *methods, ks=(0, 1))
    assert first.computed > 0
    assert second.computed == 0
    assert FITS.total() == fits
    assert (second.rows, second.scenes, second.blamed) == (first.rows, first.scenes, first.blamed)
    assert second.unsuited == first.unsuited


@pytest.mark.parametrize(
    "changed",
    [
        replace(trial(), values=trial().values + 1e-9),
        replace(trial(), events=trial().events[:2]),
        replace(trial(), hop=8),
        replace(trial(), culprits=((0,), (0,), (0,))),
    ],
)
def test_another_recording_or_protocol_is_measured_anew(tmp_path: Path, changed: Trial) -> None:
    measured(tmp_path, "level")
    assert measured(tmp_path, "level", of=changed).computed == 3


def test_other_numbers_of_labels_leave_what_they_do_not_change(tmp_path: Path) -> None:
    measured(tmp_path, "level", "pupil", ks=(0, 1))
    assert measured(tmp_path, "level", "pupil", ks=(0, 1, 5, 10)).computed == 0


def test_changed_source_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(tmp_path, "level")
    fits = FITS.total()
    for what in ("source_digest", "method_digest"):
        monkeypatch.setattr(runner, what, lambda *_: "changed")
    assert measured(tmp_path, "level").computed == 3
    assert FITS.total() == 2 * fits


def test_other_windows_are_judged_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(tmp_path, "level")
    fits = FITS.total()
    monkeypatch.setattr(runner, "source_digest", lambda *_: "changed")
    shifted = views(trial())
    shifted.test.mean[3, 0] += 0.01
    monkeypatch.setattr(runner, "views", lambda _: shifted)
    measured(tmp_path, "level")
    assert FITS.total() == 2 * fits


def test_a_method_that_uses_parts_of_the_detector_depends_on_how_windows_are_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    changed = tmp_path / "windows.py"
    changed.write_text("")
    modules = [f"appliance.evaluation.baselines.{name}" for name in ("evidence", "isolation_forest")]
    before = [cache.method_digest(module) for module in modules]
    cache.method_digest.cache_clear()
    known = cache._file
    monkeypatch.setattr(cache, "_file", lambda name: changed if name == "appliance.detect.windows" else known(name))
    evidence, forest = (cache.method_digest(module) for module in modules)
    cache.method_digest.cache_clear()
    assert evidence != before[0]
    assert forest == before[1]


def test_another_threshold_needs_no_new_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measured(tmp_path, "level")
    fits = FITS.total()
    monkeypatch.setattr(runner, "PROTOCOL", (*runner.PROTOCOL, "appliance.evaluation.wording"))
    again = measured(tmp_path, "level")
    assert again.computed == 3
    assert FITS.total() == fits
    assert again.rows == first.rows


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, "level", "impatient")
    monkeypatch.setattr(Impatient, "fit", Level.fit)
    assert measured(tmp_path, "level", "impatient").computed == 2


def test_a_torn_file_of_the_cache_is_no_finding(tmp_path: Path) -> None:
    measured(tmp_path, "level")
    files = sorted(file for file in tmp_path.rglob("*") if file.is_file())
    assert [file.name for file in files] == [
        f"level k=0 seed={seed}.{kind}" for seed in range(3) for kind in ("json", "npz")
    ]
    fits = FITS.total()
    for file in files[:2]:
        file.write_bytes(file.read_bytes()[:100])
    assert measured(tmp_path, "level").computed == 1
    assert FITS.total() == fits + 2


def test_the_source_of_a_method_is_what_it_imports_and_the_protocol() -> None:
    def modules(*names: str) -> set[str]:
        return set(cache._closure([*runner.PROTOCOL, *names]))

    def detection(of: set[str]) -> set[str]:
        return {name for name in of if name.startswith(("appliance.machine", "appliance.detect.evidence."))}

    service, forest, evidence = (
        modules(*names)
        for names in (
            runner.SERVICE,
            ["appliance.evaluation.baselines.isolation_forest"],
            ["appliance.evaluation.baselines.evidence"],
        )
    )
    core = {f"appliance.evaluation.{name}" for name in ("methods", "trials", "metrics", "runner", "support")}
    assert core | {"appliance.detect.calibrate", "appliance.detect.normalise", "appliance.incidents"} <= forest
    assert not detection(forest)
    assert {"appliance.machine", "appliance.detect.evidence.extreme", "appliance.detect.detector"} <= service
    assert {"appliance.windows", "appliance.config"} <= service
    assert "appliance.detect.evidence.extreme" in detection(evidence)
    assert "appliance.machine" not in detection(evidence)
    scores = set(cache._closure(["appliance.evaluation.baselines.isolation_forest"], cache.GIVEN))
    assert "appliance.evaluation.methods" in scores
    assert not any(name.startswith("appliance.detect.") for name in scores)
    edges = {name for name in service if name.startswith(("appliance.store", "appliance.ingest", "appliance.notify"))}
    assert edges <= {"appliance.ingest.reasons"}, "which says why a label is refused"
