"""Measure how anisotropic embeddings are, correct them, and measure again with the same ruler."""

from ._store import library_version
from .affine import AffineMap
from .correctors import (
    ComponentRemoval,
    ConceptorNegation,
    MeanDirectionRemoval,
    MeanRemoval,
    RankWarning,
    Whitening,
    load,
)
from .moments import Moments

__version__ = library_version()

__all__ = [
    "AffineMap",
    "ComponentRemoval",
    "ConceptorNegation",
    "MeanDirectionRemoval",
    "MeanRemoval",
    "Moments",
    "RankWarning",
    "Whitening",
    "__version__",
    "load",
]
