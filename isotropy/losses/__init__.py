"""Losses against anisotropy, with the definitions of the metrics, and their trainer glue."""

from isotropy._optional import require

require("torch", extra="train")

from ._base import MomentRegularizer, Regularizer, RowRegularizer  # noqa: E402
from .cosine import MeanCosine, SpreadOut, mean_cosine, spread_out  # noqa: E402
from .covariance import (  # noqa: E402
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
from .gaussian import SlicedEppsPulley, sliced_epps_pulley  # noqa: E402
from .pairs import Alignment, KoLeo, Uniformity, alignment, koleo, uniformity  # noqa: E402

__all__ = [
    "Alignment",
    "BarlowTwins",
    "Decorrelation",
    "IsoScoreStar",
    "KoLeo",
    "LogFrobenius",
    "MeanCosine",
    "MomentRegularizer",
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
    "isoscore_star",
    "koleo",
    "log_frobenius",
    "mean_cosine",
    "sliced_epps_pulley",
    "spectrum_control",
    "spread_out",
    "uniformity",
    "variance_covariance",
]
