"""The evidence detectors by name: cheap, complementary views of a window that the score combines."""

from appliance.detect.evidence.autoregression import Autoregression
from appliance.detect.evidence.base import EvidenceDetector, Oddity
from appliance.detect.evidence.clusters import Clusters
from appliance.detect.evidence.extreme import ExtremeValue
from appliance.detect.evidence.feature_pca import FeaturePca
from appliance.detect.evidence.forecast import Forecast
from appliance.detect.evidence.hotelling import Hotelling
from appliance.detect.evidence.level import Level
from appliance.detect.evidence.neighbours import Neighbours
from appliance.detect.evidence.outside import Outside
from appliance.detect.evidence.pca_residual import PcaResidual
from appliance.detect.evidence.spectral_residual import SpectralResidual
from appliance.detect.evidence.spectrum import Spectrum
from appliance.detect.evidence.spread import Spread

EVIDENCE: dict[str, type[EvidenceDetector]] = {
    "extreme": ExtremeValue,
    "outside": Outside,
    "level": Level,
    "spread": Spread,
    "pca_residual": PcaResidual,
    "hotelling": Hotelling,
    "feature_pca": FeaturePca,
    "neighbours": Neighbours,
    "clusters": Clusters,
    "autoregression": Autoregression,
    "forecast": Forecast,
    "spectrum": Spectrum,
    "spectral_residual": SpectralResidual,
}
"""A new detector is one file and one line here; the conformance suite in the tests picks it up."""

__all__ = ["EVIDENCE", "EvidenceDetector", "Oddity"]
