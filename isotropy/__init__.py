"""Measure how anisotropic embeddings are, correct them, and measure again with the same ruler."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isotropy.affine import AffineMap
    from isotropy.choose import Advice, AutoCorrector, advise
    from isotropy.correctors import (
        ClusterRemoval,
        ComponentRemoval,
        ConceptErasure,
        ConceptorNegation,
        GroupMeanRemoval,
        GroupWhitening,
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
    from isotropy.cross import CrossMoments
    from isotropy.gaussianize import FallbackWarning, FlowGaussianizer, RotationGaussianizer
    from isotropy.io import open_rows
    from isotropy.moments import Moments
    from isotropy.rows import as_rows
    from isotropy.scoring import Comparison, Scorecard, compare, drift, score

    __version__: str

_NAMES = {
    "affine": ["AffineMap"],
    "choose": ["Advice", "AutoCorrector", "advise"],
    "correctors": [
        "ClusterRemoval",
        "ComponentRemoval",
        "ConceptErasure",
        "ConceptorNegation",
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
    ],
    "cross": ["CrossMoments"],
    "gaussianize": ["FallbackWarning", "FlowGaussianizer", "RotationGaussianizer"],
    "io": ["open_rows"],
    "moments": ["Moments"],
    "rows": ["as_rows"],
    "scoring": ["Comparison", "Scorecard", "compare", "drift", "score"],
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}
_PARTS = (
    "choose",
    "correctors",
    "encoders",
    "evaluate",
    "export",
    "gaussianize",
    "io",
    "jobs",
    "losses",
    "metrics",
    "plot",
    "report",
    "rows",
    "scoring",
    "search",
    "tables",
)

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> Any:
    # Each part is imported when it is first used: a script that transforms rows reads no metric.
    if name in _HOMES:
        value = getattr(import_module(f"isotropy.{_HOMES[name]}"), name)
    elif name in _PARTS:
        value = import_module(f"isotropy.{name}")
    elif name == "__version__":
        from isotropy.storage.state import library_version

        value = library_version()
    else:
        raise AttributeError(f"module 'isotropy' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PARTS})
