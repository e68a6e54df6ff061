"""The rules by which a folder of recordings becomes trials, and what is said where one cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.errors import RecordingError
from appliance.evaluation.datasets import (
    RULES,
    Entry,
    Rules,
    Skipped,
    days_learned,
    find,
    load,
    parts_inspected,
    trial_of,
)
from appliance.evaluation.trials import Trial
from appliance.recordings import Recording, write_recording
from appliance.simulate.faults import Fault
from appliance.simulate.plant import simulate_plant

T = 3000


def recording(events: list[tuple[int, int]] | None = None, **changes: Any) -> Recording:
    meta = {} if events is None else {"events": events}
    values = np.random.default_rng(0).normal(size=(T, 2))
    made = Recording("m", ("a", "b"), 60.0 * np.arange(float(T)), values, meta=meta)
    return replace(made, **changes)


def cut(of: Recording, rules: Rules | None = None) -> Trial:
    trial = trial_of("plant", of, rules or Rules())
    assert isinstance(trial, Trial), trial
    return trial


def refused(of: Recording, rules: Rules | None = None) -> str:
    skipped = trial_of("plant", of, rules or Rules())
    assert isinstance(skipped, Skipped)
    return skipped.reason


def test_what_is_declared_normal_is_what_may_be_learned() -> None:
    trial = cut(recording([(1500, 1510)], train_end=1200))
    assert trial.train_end == 1200
    assert trial.ends[~trial.is_test].max() <= 1200 + trial.hop
    assert trial.test_ends.min() - trial.hop >= 1200


def test_where_nothing_is_declared_it_is_the_part_before_the_first_event() -> None:
    assert cut(recording([(700, 710), (2000, 2100)])).train_end == 700


def test_but_no_more_than_thirty_per_cent() -> None:
    assert cut(recording([(1500, 1510)])).train_end == 900
    assert cut(recording()).train_end == 900


def test_a_machine_with_too_little_to_learn_from_is_left_out_with_the_reason() -> None:
    assert refused(recording([(120, 130)])) == "120 samples before its first event, 500 are needed to learn from"
    assert cut(recording([(120, 130)]), Rules(least_training=100)).train_end == 120


def test_a_machine_with_nothing_to_score_is_left_out() -> None:
    assert "nothing is left to score" in refused(recording([], train_end=T))
    assert "nothing to tell apart" in refused(recording([(1000, T)], train_end=1000))


def test_events_come_from_labels_where_there_is_no_list() -> None:
    labels = np.zeros(T, dtype=np.uint8)
    labels[1500:1510] = labels[2000:2030] = 1
    assert cut(recording(labels=labels)).events == ((1500, 1510), (2000, 2030))


def test_an_event_that_begins_in_the_normal_part_counts_from_its_end() -> None:
    trial = cut(recording([(100, 200), (1100, 1300)], train_end=1200))
    assert trial.events == ((1200, 1300),)
    assert trial.labels[1100:1200].all()


def test_the_simulators_machine_faults_are_events_with_their_culprits_and_its_sensor_faults_are_none() -> None:
    hour = 3600.0
    faults = [Fault("leak", 60 * hour, 5 * hour), Fault("stuck", 80 * hour, 5 * hour, channel="flow_m3h")]
    (pump,) = simulate_plant(["pump"], days=5, period_secs=300.0, learning_days=2, faults={"pump-1": faults})
    trial = trial_of("plant", pump, Rules())
    assert isinstance(trial, Trial)
    assert trial.events == ((720, 780),)
    assert trial.labels.sum() == 60
    (culprits,) = trial.culprits
    assert {trial.channels[column] for column in culprits} == set(pump.meta["truth"][0]["channels"])


def test_culprits_come_from_the_interpretation() -> None:
    meta = {"events": [[1100, 1300], [1400, 1420]], "interpretation": [{"start": 1100, "channels_1based": [2]}]}
    assert cut(recording(meta=meta, train_end=1200)).culprits == ((1,), ())


def test_no_window_reaches_over_a_break_in_time() -> None:
    times = 60.0 * np.arange(float(T))
    times[2000:] += 32 * 60.0
    trial = cut(recording(times=times))
    assert trial.sessions == ((0, 2000), (2000, T))
    assert not ((trial.ends > 2000) & (trial.ends < 2032)).any()


def test_a_gap_shorter_than_a_window_is_no_break_and_time_that_goes_back_is() -> None:
    times = 60.0 * np.arange(float(T))
    times[1000:] += 30 * 60.0
    times[2000:] -= 45 * 60.0
    assert cut(recording(times=times)).sessions == ((0, 2000), (2000, T))


def test_the_file_knows_its_sessions_better_than_its_clock() -> None:
    days = np.repeat([1, 2], [1200, T - 1200])
    assert cut(recording(columns={"day_id": days})).sessions == ((0, 1200), (1200, T))


@pytest.mark.parametrize(
    ("rules", "cluster"),
    [
        (Rules(), "plant/m"),
        (Rules(cluster="dataset"), "plant"),
        (Rules(cluster="line"), "plant/7"),
        (Rules(cluster="unknown"), "plant/m"),
    ],
)
def test_machines_that_are_alike_form_a_cluster(rules: Rules, cluster: str) -> None:
    assert cut(recording(meta={"line": 7}), rules).cluster == cluster


def test_good_parts_of_the_first_half_come_first_and_each_operation_is_levelled_by_them() -> None:
    rng = np.random.default_rng(1)
    op = np.arange(1000) % 2
    values = rng.normal(size=(1000, 1)) * (1.0 + 4.0 * op[:, None]) + 100.0 * op[:, None]
    labels = np.zeros(1000, dtype=np.uint8)
    labels[[0, 1, 300, 700, 701]] = 1
    parts = Recording("m", ("a",), np.arange(1000.0), values, labels, columns={"op": op})
    trial = trial_of("cnc_features", parts_inspected(parts), RULES["cnc_features"])
    assert isinstance(trial, Trial)
    assert trial.train_end == 497
    assert len(trial.values) == 997
    assert trial.events == ((697, 699),)
    inspected = parts_inspected(parts).values[:497, 0]
    assert abs(np.median(inspected)) < 0.1
    assert np.percentile(inspected, 75) - np.percentile(inspected, 25) == pytest.approx(1.35, abs=0.1)


def test_half_of_the_good_days_are_learned_and_all_others_scored() -> None:
    days = np.arange(T) // 500  # 0 to 5
    faulty = np.isin(days, [0, 3]).astype(np.uint8)
    first = np.arange(0, T, 500)
    marked = recording(labels=faulty, columns={"day_id": days}, values=np.repeat(days[:, None], 2, axis=1) + 0.0)
    trial = trial_of("lbnl_ahu", days_learned(marked), RULES["lbnl_ahu"])
    assert isinstance(trial, Trial)
    assert trial.values[first, 0].tolist() == [1, 2, 0, 3, 4, 5]
    assert trial.train_end == 1000
    assert trial.events == ((1000, 1500), (1500, 2000))
    assert len(trial.sessions) == 6


def test_a_single_good_day_cannot_be_learned_and_scored() -> None:
    days = np.arange(T) // 1000
    marked = recording(labels=(days != 2).astype(np.uint8), columns={"day_id": days})
    skipped = trial_of("lbnl_ahu", days_learned(marked), RULES["lbnl_ahu"])
    assert isinstance(skipped, Skipped)
    assert "0 samples before its first event" in skipped.reason


def write_csv(path: Path, samples: int = 2000) -> None:
    rows = [f"2026-01-01T{i // 60 % 24:02}:{i % 60:02}:00,{np.sin(i):.3f}" for i in range(samples)]
    rows = [row.replace("2026-01-01", f"2026-01-{1 + i // 1440:02}") for i, row in enumerate(rows)]
    path.write_text("\n".join(["time,a", *rows]) + "\n")


def test_a_list_beside_the_recordings_names_their_events(tmp_path: Path) -> None:
    write_csv(tmp_path / "pump.csv")
    (tmp_path / "events.csv").write_text(
        "machine,start,end,note\npump,2026-01-02T00:00,2026-01-02T00:30Z,leak\nfan,x,y,of another machine\n"
        "pump,2026-01-01T20:00,2026-01-01T21:00,\npump,2027-01-01,2027-01-02,after it ended\n"
    )
    (entry,) = find(tmp_path)
    trial = load(entry)
    assert isinstance(trial, Trial)
    assert (entry.dataset, trial.machine) == (tmp_path.name, "pump")
    assert trial.events == ((1200, 1260), (1440, 1470))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("machine,start\npump,1\n", "row 1: has no column end: add it to the header"),
        ("machine,start,end\nfan,1,2\npump,soon,2\n", "row 3: has no readable start and end: write ISO 8601"),
        ("machine,start,end\npump,2026-01-02\n", "row 2: has no readable start and end: write ISO 8601"),
        ("machine,start,end\npump,2026-01-02,2026-01-01\n", "row 2: its end is not after its start: exchange them"),
        ("machine,start,end\npump,\xff,2\n", "cannot be read .*: give columns machine, start, end"),
    ],
)
def test_a_bad_list_names_file_row_and_remedy(tmp_path: Path, text: str, error: str) -> None:
    write_csv(tmp_path / "pump.csv", 100)
    (tmp_path / "events.csv").write_bytes(text.encode("latin-1"))
    skipped = load(Entry("plant", tmp_path / "pump.csv"))
    assert isinstance(skipped, Skipped)
    assert skipped.reason.startswith(str(tmp_path / "events.csv"))
    with pytest.raises(RecordingError, match=error):
        raise RecordingError(skipped.reason)


def test_an_unreadable_recording_is_left_out_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "pump.csv").write_text("when,a\n1,2\n")
    assert load(Entry("plant", tmp_path / "pump.csv")) == Skipped(
        "plant", "pump", "has no time column: name one of time, timestamp, timestamps, datetime, date, ts"
    )


def test_a_folder_may_hold_recordings_and_datasets(tmp_path: Path) -> None:
    for name in ("x.npz", "b/y.npz", "a/z.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_recording(recording(), tmp_path / name)
    (tmp_path / "b" / "events.csv").write_text("machine,start,end\n")
    (tmp_path / "b" / "notes.txt").write_text("")
    everything = [(entry.dataset, entry.path.name) for entry in find(tmp_path)]
    assert everything == [(tmp_path.name, "x.npz"), ("a", "z.npz"), ("b", "y.npz")]
    assert [entry.path.name for entry in find(tmp_path, ["b"])] == ["y.npz"]


def test_a_folder_that_cannot_serve_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"holds no recordings: put \.npz, \.csv, \.parquet files there"):
        find(tmp_path)
    with pytest.raises(RecordingError, match="is no folder: name one with recordings"):
        find(tmp_path / "missing")
    write_recording(recording(), tmp_path / "x.npz")
    with pytest.raises(RecordingError, match=f"has no dataset smd: it has {tmp_path.name}"):
        find(tmp_path, ["smd"])
