from __future__ import annotations

import numpy as np

from appliance.records import Signal, Window
from appliance.signals import signals


def test_signals_hold_only_channels_with_data() -> None:
    values = np.array([[1.0, np.nan, 4.0], [np.nan] * 3])
    window = Window("m", ("a", "b"), 0.0, 3.0, values)
    assert signals(window) == {"a": Signal(2.5, 1.0, 4.0)}
