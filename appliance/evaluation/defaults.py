"""What the service does where its configuration says nothing: read from the settings, so that the two cannot differ."""

from __future__ import annotations

from typing import Any

from appliance.config import AlertSettings, DetectionSettings, SourceSettings
from appliance.incidents import AlertRules

ALERT_RULES = AlertRules(**AlertSettings().model_dump())
MIN_COVERAGE = DetectionSettings().min_coverage
GRID: dict[str, Any] = {
    name: SourceSettings.model_fields[name].default for name in ("lateness_secs", "fill", "aggregate", "max_channels")
}
"""Of a `GridSpec`, what a trial does not say."""
