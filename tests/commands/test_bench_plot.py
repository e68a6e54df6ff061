"""The picture of what detection costs."""

from pathlib import Path

import pytest

from appliance.commands.bench_plot import draw_costs


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_the_benchmark_of_detection_is_drawn_by_machines_and_by_channels(ending: str, tmp_path: Path) -> None:
    rows = [{"machines": m, "channels": c, "us_per_window": 300.0 + 40 * c} for m, c in ((1, 10), (9, 10), (1, 70))]
    draw_costs(rows, tmp_path / f"costs.{ending}")
    drawn = (tmp_path / f"costs.{ending}").read_bytes()
    assert drawn.startswith(b"<?xml" if ending == "svg" else b"\x89PNG")
    if ending == "svg":
        assert all(text in drawn.decode() for text in ("0.7 ms", "6.3 ms", "3.1 ms", "in proportion to machines"))
