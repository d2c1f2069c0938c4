"""Metrics of isotropy: plain functions of rows or Moments, one registry, one scorecard."""

from ._inputs import NeedsRows
from .cosine import (
    cosine_contributions,
    cosine_spread,
    mean_cosine,
    resultant_length,
    rogue_dimension_count,
    rogue_dimensions,
    top_contribution,
    vmf_concentration,
)
from .gaussian import bhattacharyya, kl_divergence, wasserstein2
from .pairs import uniformity, uniformity_cumulant, uniformity_floor
from .partition import partition_isotropy
from .registry import METRICS, Metric, register
from .scorecard import Comparison, Score, Scorecard, compare, score
from .scorers import make_scorer
from .spectrum import (
    SphericityTest,
    condition_number,
    effective_rank,
    isoscore,
    isoscore_star,
    marchenko_pastur_spectrum,
    noise_edge,
    numerical_rank,
    participation_ratio,
    rankme,
    spectrum_decay,
    sphericity,
    sphericity_test,
    stable_rank,
    top_variance_share,
)

__all__ = [
    "METRICS",
    "Comparison",
    "Metric",
    "NeedsRows",
    "Score",
    "Scorecard",
    "SphericityTest",
    "bhattacharyya",
    "compare",
    "condition_number",
    "cosine_contributions",
    "cosine_spread",
    "effective_rank",
    "isoscore",
    "isoscore_star",
    "kl_divergence",
    "make_scorer",
    "marchenko_pastur_spectrum",
    "mean_cosine",
    "noise_edge",
    "numerical_rank",
    "participation_ratio",
    "partition_isotropy",
    "rankme",
    "register",
    "resultant_length",
    "rogue_dimension_count",
    "rogue_dimensions",
    "score",
    "spectrum_decay",
    "sphericity",
    "sphericity_test",
    "stable_rank",
    "top_contribution",
    "top_variance_share",
    "uniformity",
    "uniformity_cumulant",
    "uniformity_floor",
    "vmf_concentration",
    "wasserstein2",
]
