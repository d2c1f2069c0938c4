"""Measure how anisotropic embeddings are, correct them, and measure again with the same ruler."""

from ._store import library_version
from .affine import AffineMap
from .correctors import (
    AutoCorrector,
    ClusterRemoval,
    ComponentRemoval,
    ConceptorNegation,
    FallbackWarning,
    FlowGaussianizer,
    MeanDirectionRemoval,
    MeanRemoval,
    PairWhitening,
    RandomRotation,
    RankWarning,
    RotationGaussianizer,
    TaperedWhitening,
    WeightedRemoval,
    Whitening,
    load,
)
from .metrics import Comparison, Scorecard, compare, score
from .moments import Moments
from .search import HubnessBias

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
