"""Losses against anisotropy, with the definitions of the metrics, and their trainer glue."""

from typing import Any

from isotropy._optional import require

require("torch", extra="train")

from isotropy.losses._base import MomentRegularizer, Regularizer, RowRegularizer  # noqa: E402
from isotropy.losses._language_models import embedding_matrices, regularize_embeddings  # noqa: E402
from isotropy.losses._training import RegularizedLoss  # noqa: E402
from isotropy.losses.cosine import MeanCosine, SpreadOut, mean_cosine, spread_out  # noqa: E402
from isotropy.losses.covariance import (  # noqa: E402
    BarlowTwins,
    Decorrelation,
    IsoScoreStar,
    LogFrobenius,
    SpectrumControl,
    VarianceCovariance,
    barlow_twins,
    decorrelation,
    isoscore_star,
    log_frobenius,
    spectrum_control,
    variance_covariance,
)
from isotropy.losses.gaussian import SlicedEppsPulley, sliced_epps_pulley  # noqa: E402
from isotropy.losses.pairs import Alignment, KoLeo, Uniformity, alignment, koleo, uniformity  # noqa: E402

__all__ = [
    "Alignment",
    "BarlowTwins",
    "CollapseWarning",
    "Decorrelation",
    "IsoScoreStar",
    "IsotropyCallback",
    "KoLeo",
    "LogFrobenius",
    "MeanCosine",
    "MomentRegularizer",
    "RegularizedLoss",
    "Regularizer",
    "RowRegularizer",
    "SlicedEppsPulley",
    "SpectrumControl",
    "SpreadOut",
    "Uniformity",
    "VarianceCovariance",
    "alignment",
    "barlow_twins",
    "decorrelation",
    "embedding_matrices",
    "isoscore_star",
    "koleo",
    "log_frobenius",
    "mean_cosine",
    "regularize_embeddings",
    "sliced_epps_pulley",
    "spectrum_control",
    "spread_out",
    "uniformity",
    "variance_covariance",
]


def __getattr__(name: str) -> Any:
    # The callback's base class is transformers', which takes seconds to import.
    if name in ("CollapseWarning", "IsotropyCallback"):
        from isotropy.losses import _callback

        return getattr(_callback, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
