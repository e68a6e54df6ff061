"""The time scales: what the slow ones look back on, and that each hears what the others cannot."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.detect.detector import DetectorOptions
from appliance.detect.fitting import fit
from appliance.detect.scales import LONGEST, SCALES, Heard, Past, hops_held, pool, unit_of
from appliance.records import Floats, Verdict
from tests.detect.test_detector import assert_same

LENGTH, HOP = 32, 8
LEARNED = 12_000


def test_means_leave_out_what_is_missing() -> None:
    cells = np.array([[1.0, 3.0, np.nan, 5.0, np.nan, np.nan]])
    assert np.array_equal(pool(cells, 2), [[2.0, 5.0, np.nan]], equal_nan=True)
    assert pool(cells, 1) is cells


@given(hop=st.integers(1, 40), hops=st.integers(1, 90), length=st.integers(8, 40))
def test_the_past_holds_the_latest_cells_in_units_and_no_more(hop: int, hops: int, length: int) -> None:
    past = Past(length, hop)
    series = np.arange(hop * hops, dtype=np.float32)[None]
    for start in range(0, hop * hops, hop):
        past.extend(series[:, start : start + hop])
    kept = past.cells.shape[1]
    assert kept == min(hop * hops // past.unit, (LONGEST - 1) * length // past.unit)
    assert np.array_equal(past.cells, pool(series, unit_of(hop))[:, -kept:])


def test_a_channel_that_joins_has_no_past_and_a_silence_leaves_a_gap() -> None:
    past = Past(LENGTH, HOP)
    past.extend(np.ones((1, HOP), np.float32))
    past.extend(np.ones((2, HOP), np.float32))
    past.skip(1)
    assert np.array_equal(past.cells, [[1, 1, 1, 1, np.nan, np.nan], [np.nan, np.nan, 1, 1, np.nan, np.nan]], True)
    past.skip(10**9)
    assert np.isnan(past.cells).all()


def test_windows_too_short_for_scales_keep_no_past() -> None:
    past = Past(1, 1)
    past.extend(np.ones((3, 1), np.float32))
    assert past.cells.size == 0


def test_a_slow_scale_is_heard_in_its_turn_and_never_with_another() -> None:
    past, settled = Past(LENGTH, HOP), np.zeros((1, HOP), np.float32)
    slow = [scale for scale in SCALES if scale.stride > 1]
    judged: dict[str, list[int]] = {scale.suffix: [] for scale in slow}
    for hop in range(40):
        for scale in slow:
            if past.held(scale, []) is None:
                judged[scale.suffix].append(hop)
                past.hold(scale, [], Heard([float(hop)], [0.0], 0.0, np.zeros(1)))
        past.extend(settled)
    assert hops_held(slow[0], LENGTH, HOP) == 2
    assert judged == {"@4": [0, *range(1, 40, 2)], "@16": list(range(0, 40, 8))}


@pytest.mark.parametrize("event", ["silence", "another channel silent", "forgotten"])
def test_what_a_slow_scale_said_is_not_held_over_a_change(event: str) -> None:
    past, scale = Past(LENGTH, HOP), SCALES[-1]
    past.hold(scale, [], Heard([1.0], [0.7], 0.5, np.ones(1)))
    past.extend(np.zeros((1, HOP), np.float32))
    assert past.held(scale, []) is not None
    if event == "silence":
        past.skip(1)
    elif event == "forgotten":
        past.forget()
    assert past.held(scale, [0] if event == "another channel silent" else []) is None


class Machine:
    """Noise about a level in four channels, learned; `judge` looks at the window that ends with the series."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(5)
        options = DetectorOptions()
        self.detector, _ = fit(self.hum(LEARNED), length=LENGTH, hop=HOP, seed=1, options=options)

    def hum(self, cells: int) -> Floats:
        noise: Floats = 20.0 + self.rng.normal(size=(4, cells))
        return noise

    def judge(self, series: Floats, *, looks_back: bool = True) -> Verdict:
        past = Past(LENGTH, HOP)
        for start in range(0, series.shape[1] - LENGTH, HOP):
            past.extend(series[:, start : start + HOP].astype(np.float32))
        return self.detector.score(series[:, -LENGTH:], past if looks_back else None)


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine()


def test_a_faint_lasting_shift_is_heard_by_the_slow_scales_alone(machine: Machine) -> None:
    gains = []
    for _ in range(20):
        normal = machine.hum(LONGEST * LENGTH)
        shifted = normal + np.array([[0.8], [0.0], [0.0], [0.0]])  # less than one spread
        gains.append([machine.judge(shifted, looks_back=back).strangeness for back in (True, False)])
        gains[-1] += [machine.judge(normal, looks_back=back).strangeness for back in (True, False)]
    shifted_slow, shifted_quick, normal_slow, normal_quick = np.median(gains, axis=0)
    assert shifted_slow - normal_slow > 2 * (shifted_quick - normal_quick)
    slowest = machine.judge(machine.hum(LONGEST * LENGTH) + np.array([[0.8], [0.0], [0.0], [0.0]])).evidence
    assert any(name.endswith("@16") and value > 3.0 for name, value in slowest.items())


def test_what_is_over_is_not_heard_by_the_last_quarter(machine: Machine) -> None:
    series = machine.hum(LONGEST * LENGTH)
    during, after = series.copy(), series.copy()
    during[1, -4:] += 9.0
    after[1, -28:-24] += 9.0  # still in the window, no longer in its last quarter
    heard, forgotten = machine.judge(during).evidence, machine.judge(after).evidence
    assert max(value for name, value in heard.items() if name.endswith("@1/4")) > 20.0
    assert max((value for name, value in forgotten.items() if name.endswith("@1/4")), default=0.0) < 6.0


def test_a_channel_that_is_silent_now_is_not_blamed_for_what_it_said_before(machine: Machine) -> None:
    series = machine.hum(LONGEST * LENGTH)
    series[2, : -2 * LENGTH] += 30.0
    series[2, -LENGTH:] = np.nan
    verdict = machine.judge(series)
    assert verdict.contributions[2] == 0.0


def test_a_channel_that_was_mostly_missing_is_silent_at_the_slow_scales(machine: Machine) -> None:
    series = machine.hum(LONGEST * LENGTH)
    whole = machine.judge(series).strangeness
    series[2, : -3 * LENGTH] = np.nan  # held over the rest it would be flat for long
    assert machine.judge(series).strangeness < whole + 0.3


def test_asking_again_gives_the_same_answer_and_so_does_a_restored_past(machine: Machine) -> None:
    series = machine.hum(3 * LONGEST * LENGTH)
    past, restored = Past(LENGTH, HOP), Past(LENGTH, HOP)
    for start in range(0, series.shape[1] - LENGTH, HOP):
        window = series[:, start : start + LENGTH]
        first = machine.detector.score(window, past)
        assert_same(machine.detector.score(window, past), first)
        assert_same(machine.detector.score(window, restored), first)
        past.extend(series[:, start : start + HOP].astype(np.float32))
        restored = Past(LENGTH, HOP)
        restored.restore(past.snapshot())


def test_holding_the_slow_scales_hardly_changes_what_is_heard(machine: Machine) -> None:
    series = machine.hum(4 * LONGEST * LENGTH)
    series[0, 2 * LONGEST * LENGTH :] += 0.8
    held, anew = Past(LENGTH, HOP), Past(LENGTH, HOP)
    strangeness = []
    for start in range(0, series.shape[1] - LENGTH, HOP):
        anew.forget()
        window = series[:, start : start + LENGTH]
        strangeness.append([machine.detector.score(window, past).strangeness for past in (held, anew)])
        for past in (held, anew):
            past.extend(series[:, start : start + HOP].astype(np.float32))
    difference = np.abs(np.diff(strangeness, axis=1))
    assert 0.0 < difference.mean() < 0.1 * np.std(strangeness)


def test_a_wide_machine_is_fitted_on_fewer_windows(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> None:
    monkeypatch.setattr("appliance.detect.fitting._MOST_CELLS", 4 * LENGTH * 200)
    fitted, _ = fit(machine.hum(LEARNED), length=LENGTH, hop=HOP, seed=1, options=DetectorOptions())
    assert len(fitted.snapshot()[0]["lenses"][""]["evidence.neighbours"]["references"]) <= 200
