"""Correctors: scikit-learn transformers that make embeddings more isotropic."""

from ._gaussianizer import FallbackWarning
from .auto import AutoCorrector, AutoReport, word_dropout
from .base import AffineCorrector, Corrector, load
from .clusters import ClusterRemoval
from .components import ComponentRemoval, ConceptorNegation
from .flow import FlowGaussianizer
from .mean import MeanDirectionRemoval, MeanRemoval
from .paired import PairWhitening, WeightedRemoval
from .quantization import RandomRotation
from .rotation import RotationGaussianizer
from .tapered import TaperedWhitening
from .whitening import RankWarning, Whitening

__all__ = [
    "AffineCorrector",
    "AutoCorrector",
    "AutoReport",
    "ClusterRemoval",
    "ComponentRemoval",
    "ConceptorNegation",
    "Corrector",
    "FallbackWarning",
    "FlowGaussianizer",
    "MeanDirectionRemoval",
    "MeanRemoval",
    "PairWhitening",
    "RandomRotation",
    "RankWarning",
    "RotationGaussianizer",
    "TaperedWhitening",
    "WeightedRemoval",
    "Whitening",
    "load",
    "word_dropout",
]
