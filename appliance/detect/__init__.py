"""One machine's windows → how strange each is, and why."""

from appliance.detect.calibrate import Threshold
from appliance.detect.detector import Detector, DetectorOptions
from appliance.detect.state import State

__all__ = ["Detector", "DetectorOptions", "State", "Threshold"]
