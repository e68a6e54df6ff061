"""What the report shows of a single machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.records import Floats


@dataclass(frozen=True)
class Example:
    """A stretch of one machine: what was measured, what the appliance made of it, what was the matter."""

    dataset: str
    machine: str
    title: str
    """Why this one is shown."""
    times: Floats
    """[n] hours."""
    score: Floats
    """[n]"""
    threshold: Floats
    """[n]"""
    signals: dict[str, Floats]
    """Channel → [n] in its own unit."""
    events: Sequence[tuple[float, float]]
    """Start and end in hours."""
    alerts: Sequence[tuple[float, float]]
    """Opened and closed in hours."""
