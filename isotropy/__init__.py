"""Measure how anisotropic embeddings are, correct them, and measure again with the same ruler."""

from isotropy.affine import AffineMap
from isotropy.choose import AutoCorrector
from isotropy.correctors import (
    ClusterRemoval,
    ComponentRemoval,
    ConceptorNegation,
    HubnessBias,
    MeanDirectionRemoval,
    MeanRemoval,
    PairWhitening,
    RandomRotation,
    RankWarning,
    TaperedWhitening,
    WeightedRemoval,
    Whitening,
    load,
)
from isotropy.gaussianize import FallbackWarning, FlowGaussianizer, RotationGaussianizer
from isotropy.moments import Moments
from isotropy.scoring import Comparison, Scorecard, compare, score
from isotropy.storage.state import library_version

__version__ = library_version()

__all__ = [
    "AffineMap",
    "AutoCorrector",
    "ClusterRemoval",
    "Comparison",
    "ComponentRemoval",
    "ConceptorNegation",
    "FallbackWarning",
    "FlowGaussianizer",
    "HubnessBias",
    "MeanDirectionRemoval",
    "MeanRemoval",
    "Moments",
    "PairWhitening",
    "RandomRotation",
    "RankWarning",
    "RotationGaussianizer",
    "Scorecard",
    "TaperedWhitening",
    "WeightedRemoval",
    "Whitening",
    "__version__",
    "compare",
    "load",
    "score",
]
