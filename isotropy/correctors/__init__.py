"""Correctors: scikit-learn transformers that make embeddings more isotropic."""

from .base import AffineCorrector, load
from .components import ComponentRemoval, ConceptorNegation
from .mean import MeanDirectionRemoval, MeanRemoval
from .whitening import RankWarning, Whitening

__all__ = [
    "AffineCorrector",
    "ComponentRemoval",
    "ConceptorNegation",
    "MeanDirectionRemoval",
    "MeanRemoval",
    "RankWarning",
    "Whitening",
    "load",
]
