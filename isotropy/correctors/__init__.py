"""Correctors: scikit-learn transformers that make embeddings more isotropic."""

from isotropy.correctors.base import AffineCorrector, Corrector, load
from isotropy.correctors.clusters import ClusterRemoval
from isotropy.correctors.components import ComponentRemoval, ConceptorNegation
from isotropy.correctors.erasure import ConceptErasure
from isotropy.correctors.group_means import GroupMeanRemoval
from isotropy.correctors.group_whitening import GroupWhitening
from isotropy.correctors.hubness import HubnessBias
from isotropy.correctors.mean import MeanDirectionRemoval, MeanRemoval
from isotropy.correctors.pairs import PairWhitening, WeightedRemoval
from isotropy.correctors.rotation import RandomRotation
from isotropy.correctors.tapered import TaperedWhitening
from isotropy.correctors.whitening import RankWarning, Whitening

__all__ = [
    "AffineCorrector",
    "ClusterRemoval",
    "ComponentRemoval",
    "ConceptErasure",
    "ConceptorNegation",
    "Corrector",
    "GroupMeanRemoval",
    "GroupWhitening",
    "HubnessBias",
    "MeanDirectionRemoval",
    "MeanRemoval",
    "PairWhitening",
    "RandomRotation",
    "RankWarning",
    "TaperedWhitening",
    "WeightedRemoval",
    "Whitening",
    "load",
]
