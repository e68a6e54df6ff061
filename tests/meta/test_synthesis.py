import numpy as np
import pytest

from appliance.meta.synthesis import FAMILIES, Family
from appliance.records import Floats
from tests.detect.conformance import machine_signal

CELLS = 64
STRUCK = np.array([1, 3])


def stretch(seed: int = 2) -> Floats:
    series = machine_signal(CELLS, 5, seed)
    return np.asarray((series - series.mean(axis=1, keepdims=True)) / series.std(axis=1, keepdims=True))


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
class TestEveryFamily:
    def test_strikes_its_channels_and_no_other(self, family: Family) -> None:
        values = stretch()
        struck = family(values, np.random.default_rng(0), 0.8, STRUCK)
        assert struck.shape == values.shape
        assert np.isfinite(struck).all()
        moved = np.abs(struck - values).max(axis=1)
        assert (moved[STRUCK] > 0.1).all(), moved
        assert not np.delete(moved, STRUCK).any()

    def test_leaves_its_input_alone(self, family: Family) -> None:
        values = stretch()
        before = values.copy()
        family(values, np.random.default_rng(0), 0.5, STRUCK)
        assert np.array_equal(values, before)

    def test_is_a_function_of_the_generators_state(self, family: Family) -> None:
        one, other = (family(stretch(), np.random.default_rng(7), 0.5, STRUCK) for _ in range(2))
        assert np.array_equal(one, other)

    @pytest.mark.parametrize("cells", [1, 2, 4])
    def test_bears_stretches_of_a_few_cells(self, family: Family, cells: int) -> None:
        struck = family(stretch()[:, :cells], np.random.default_rng(0), 1.0, STRUCK)
        assert struck.shape == (5, cells)
        assert np.isfinite(struck).all()

    def test_bears_a_machine_of_one_channel(self, family: Family) -> None:
        struck = family(stretch()[:1], np.random.default_rng(0), 0.5, np.array([0]))
        assert np.isfinite(struck).all()


@pytest.mark.parametrize("name", ["spike", "level_shift", "drift", "more_spread", "oscillation", "bumps"])
def test_what_adds_something_adds_more_with_severity(name: str) -> None:
    faint, loud = (
        np.abs(FAMILIES[name](stretch(), np.random.default_rng(0), severity, STRUCK) - stretch()).max()
        for severity in (0.1, 0.9)
    )
    assert loud > 3.0 * faint


def test_no_two_families_do_the_same() -> None:
    struck = [family(stretch(), np.random.default_rng(0), 0.8, STRUCK) for family in FAMILIES.values()]
    for i, one in enumerate(struck):
        for other in struck[i + 1 :]:
            assert np.abs(one - other).max() > 0.1
