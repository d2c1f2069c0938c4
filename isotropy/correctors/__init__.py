"""Correctors: scikit-learn transformers that make embeddings more isotropic."""

from ._gaussianizer import FallbackWarning
from .base import AffineCorrector, Corrector, load
from .clusters import ClusterRemoval
from .components import ComponentRemoval, ConceptorNegation
from .flow import FlowGaussianizer
from .mean import MeanDirectionRemoval, MeanRemoval
from .quantization import RandomRotation
from .rotation import RotationGaussianizer
from .whitening import RankWarning, Whitening

__all__ = [
    "AffineCorrector",
    "ClusterRemoval",
    "ComponentRemoval",
    "ConceptorNegation",
    "Corrector",
    "FallbackWarning",
    "FlowGaussianizer",
    "MeanDirectionRemoval",
    "MeanRemoval",
    "RandomRotation",
    "RankWarning",
    "RotationGaussianizer",
    "Whitening",
    "load",
]
