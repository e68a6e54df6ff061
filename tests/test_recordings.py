from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from appliance.errors import RecordingError
from appliance.recordings import Recording, read_recording, write_recording

DATA = Path(__file__).parents[1] / "../shared/data"
GOOD: dict[str, Any] = {
    "values": np.arange(6.0).reshape(3, 2),
    "timestamps": np.array([0.0, 60.0, 120.0]),
    "channels": np.array(["a", "b"]),
    "labels": np.array([0, 1, 0], dtype=np.uint8),
    "train_end": np.int64(1),
    "meta": np.array(json.dumps({"machine": "press", "events": [[1, 2]]})),
}


def saved(folder: Path, **changes: Any) -> Path:
    path = folder / "press.npz"
    np.savez(path, **{name: value for name, value in {**GOOD, **changes}.items() if value is not None})
    return path


@given(
    values=arrays.arrays(np.float64, arrays.array_shapes(min_dims=2, max_dims=2, max_side=6)),
    start=st.floats(0, 4e9),
    labelled=st.booleans(),
)
def test_written_recording_is_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, values: np.ndarray[Any, Any], start: float, labelled: bool
) -> None:
    samples, width = values.shape
    labels = np.zeros(samples, dtype=np.uint8) if labelled else None
    names = tuple(f"channel {number} µ" for number in range(width))
    recording = Recording("pump", names, start + np.arange(samples), values, labels, samples // 2, {"note": "ü"})
    path = tmp_path_factory.mktemp("round") / "other-name.npz"
    write_recording(recording, path)
    again = read_recording(path)
    np.testing.assert_array_equal(again.values, values)
    np.testing.assert_array_equal(again.times, recording.times)
    assert (again.labels is None) == (labels is None)
    assert (again.machine, again.channels, again.train_end) == ("pump", names, samples // 2)
    assert again.meta["note"] == "ü"


def test_npz_with_the_least_is_read(tmp_path: Path) -> None:
    recording = read_recording(saved(tmp_path, labels=None, train_end=None, meta=None))
    assert (recording.machine, recording.channels, recording.labels, recording.train_end) == (
        "press",
        ("a", "b"),
        None,
        0,
    )
    assert recording.period_secs == 60


def test_rebasing_moves_the_first_sample(tmp_path: Path) -> None:
    recording = read_recording(saved(tmp_path)).rebased(1_767_571_200.0)
    assert recording.times.tolist() == [1_767_571_200.0, 1_767_571_260.0, 1_767_571_320.0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"values": np.zeros((2, 3, 4))}, r"bursts.*turn each burst into features"),
        ({"values": np.zeros(3)}, r"must be \[T, C\]"),
        ({"values": None}, "no array values"),
        ({"channels": np.array(["a"])}, "1 channel names for 2 columns"),
        ({"channels": np.array(["a", "a"])}, "same name"),
        ({"timestamps": np.zeros(2)}, "one per sample"),
        ({"timestamps": np.array([0.0, np.nan, 1.0])}, "timestamp is missing"),
        ({"labels": np.zeros(2)}, "labels have shape"),
        ({"train_end": np.int64(9)}, "train_end is 9"),
        ({"values": np.zeros((0, 2)), "timestamps": np.zeros(0), "labels": None}, "no readings"),
        ({"meta": np.array("{")}, "write it again"),
        ({"meta": np.array("[1]")}, "not a JSON object"),
        ({"values": np.array([["x", "y"]] * 3)}, "write it again"),
        ({"values": np.array([[{}, {}]] * 3, dtype=object)}, "plain arrays"),
    ],
)
def test_malformed_npz_names_file_problem_and_remedy(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    path = saved(tmp_path, **changes)
    with pytest.raises(RecordingError, match=says) as raised:
        read_recording(path)
    assert str(raised.value).startswith(str(path))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"not a zip at all", b"\x93NUMPY\x01\x00"])
@pytest.mark.parametrize("name", ["x.npz", "x.parquet"])
def test_a_file_of_other_bytes_is_refused(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=name):
        read_recording(path)


def test_a_truncated_npz_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(RecordingError, match="write it again"):
        read_recording(path)


def test_missing_file_and_unknown_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="No such file"):
        read_recording(tmp_path / "none.npz")
    with pytest.raises(RecordingError, match=r"give one of \.npz, \.csv, \.parquet"):
        read_recording(tmp_path / "none.xlsx")
    with pytest.raises(RecordingError, match="cannot be written"):
        write_recording(Recording("m", ("a",), np.zeros(1), np.zeros((1, 1))), tmp_path / "none" / "m.npz")


@pytest.mark.parametrize(
    "text",
    [
        "time,flow,temp\n2026-01-05T00:00:00Z,1.5,20\n2026-01-05T00:01:00Z,,21\n",
        "flow;Timestamp;temp\n1.5;2026-01-05 00:00:00;20\n;2026-01-05 00:01:00;21\n",
        "ts,flow,temp\n1767571200,1.5,20\n1767571260,nan,21\n",
        "ts\tflow\ttemp\r\n1767571200000\t1.5\t20\r\n1767571260000\t\t21\r\n",
        "\ufefftime,flow,temp\n2026-01-05T01:00:00+01:00,1.5,20\n\n1767571260000000000,,21\n",
    ],
)
def test_csv_is_read_however_it_was_exported(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mixer.csv"
    path.write_text(text, encoding="utf-8", newline="")
    recording = read_recording(path)
    assert (recording.machine, recording.channels) == ("mixer", ("flow", "temp"))
    assert recording.times.tolist() == [1767571200.0, 1767571260.0]
    np.testing.assert_array_equal(recording.values, [[1.5, 20], [np.nan, 21]])
    assert recording.labels is None


def test_csv_label_column_is_no_channel(tmp_path: Path) -> None:
    path = tmp_path / "mixer.csv"
    path.write_text("time,flow,label\n0,1,0\n1,2,1\n")
    recording = read_recording(path)
    assert recording.channels == ("flow",)
    assert recording.labels is not None
    assert recording.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("flow,temp\n1,2\n", "no time column"),
        ("time\n1\n", "no column beside the time"),
        ("time,flow\n", "no readings"),
        ("time,flow\n1,2,3\n", "row 2 has 3 fields where the header has 2"),
        ("time,flow\nyesterday,2\n", "row 2: 'yesterday' is no time"),
        ("time,flow\n1,2\n2,broken\n", "column flow, row 3: 'broken' is no number"),
        ("time,flow,flow\n1,2,3\n", "same name"),
    ],
)
def test_malformed_csv_names_the_place(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mixer.csv"
    path.write_text(text)
    with pytest.raises(RecordingError, match=says) as raised:
        read_recording(path)
    assert str(raised.value).startswith(str(path))


def test_csv_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mixer.csv"
    path.write_bytes("time,µ\n1,2\n".encode("latin-1"))
    with pytest.raises(RecordingError, match="save it as UTF-8"):
        read_recording(path)


def test_parquet_is_read(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    stamps = pyarrow.array([1767571200_000, 1767571260_000], pyarrow.timestamp("ms"))
    table = pyarrow.table({"time": stamps, "flow": [1.5, None], "count": pyarrow.array([1, 2], pyarrow.int32())})
    parquet.write_table(table, tmp_path / "mixer.parquet")
    recording = read_recording(tmp_path / "mixer.parquet")
    assert recording.channels == ("flow", "count")
    assert recording.times.tolist() == [1767571200.0, 1767571260.0]
    np.testing.assert_array_equal(recording.values, [[1.5, 1], [np.nan, 2]])


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RecordingError, match=r"install appliance\[parquet\]"):
        read_recording(tmp_path / "mixer.parquet")


@pytest.mark.parametrize("name", ["smd/machine-1-2.npz", "skab/valve2.npz", "tep/fault08.npz", "nasa_msl/M-2.npz"])
def test_published_machine_data_is_read(name: str) -> None:
    if not (DATA / name).exists():
        pytest.skip(f"no data set at {DATA / name}")
    recording = read_recording(DATA / name)
    assert recording.machine == Path(name).stem
    assert recording.labels is not None
    assert recording.labels.max() == 1
    assert recording.meta["events"]


def test_published_bursts_are_refused() -> None:
    bursts = DATA / "cwru/load0_1797rpm_48k.npz"
    if not bursts.exists():
        pytest.skip(f"no data set at {bursts}")
    with pytest.raises(RecordingError, match="holds bursts"):
        read_recording(bursts)
