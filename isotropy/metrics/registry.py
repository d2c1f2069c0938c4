"""What is known of every metric beside its value. A new metric is one entry of `REGISTERED`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from isotropy.metrics import cosine, gaussian, gaussianity, pairs, partition, spectrum
from isotropy.moments import Moments
from isotropy.tables import METRICS

__all__ = ["METRICS", "Metric", "register"]

Bound = float | Callable[[int], float]
"""A number, or a function of the number of dimensions."""


def _unknown(n: float, d: int) -> float | None:
    return None


@dataclass(frozen=True)
class Metric:
    """A metric and what is known of it.

    Attributes
    ----------
    name : str
        Key in `METRICS` and in a `Scorecard`.
    title : str
        What it is, in a few words.
    function : callable
        ``function(X, sample_weight=None) -> float`` of rows or Moments. Where `needs` is "rows",
        ``function(X, sample_weight=None, weight_type="frequency")`` of rows.
    range : pair of bounds
        Smallest and largest value; a bound is a number or a function of d.
    ideal : bound or None
        The value of a perfectly isotropic distribution; None where none is defined.
    better : {"lower", "higher"} or None
        Which way is more isotropic; None where it is the ideal itself, from both sides.
    needs : {"moments", "unit_gram", "rows"}
        "moments" with sums of unit rows suffice; or also the Gram matrix of unit rows; or rows.
    cost : str
        Beside the pass over the rows that gathers the Moments.
    source : str
        Paper.
    floor : callable
        ``floor(n, d)``: about the value that n isotropic Gaussian rows of dimension d get, None
        where unknown.
    p_value, standard_error : callable or None
        Of ``Moments``. The p-value is that of the floor's null, isotropy.
    value_p_value : callable or None
        ``value_p_value(value, moments)``: the same, where it takes the value, too.
    within_rank : bool
        Whether d in bounds, ideal and floor is the numerical rank, as where rows are whitened.
    takes_moments : bool
        Whether the function, given rows, takes their moments as ``moments``, to save a pass.
    slow : bool
        Whether it takes longer than all the others together, and is left out unless asked for.
    jumps : str
        Why it has no jackknife interval, where it has none: it counts, or is the value of the
        largest or smallest of several, so that it does not follow the rows smoothly.
    """

    name: str
    title: str
    function: Callable[..., float]
    range: tuple[Bound, Bound]
    ideal: Bound | None
    better: Literal["lower", "higher"] | None
    needs: Literal["moments", "unit_gram", "rows"]
    cost: str
    source: str
    floor: Callable[[float, int], float | None] = _unknown
    p_value: Callable[[Moments], float] | None = None
    standard_error: Callable[[Moments], float] | None = None
    value_p_value: Callable[[float, Moments], float] | None = None
    within_rank: bool = False
    takes_moments: bool = False
    slow: bool = False
    jumps: str = ""

    def bounds(self, d: int) -> tuple[float, float]:
        """The range in d dimensions."""
        return _at(self.range[0], d), _at(self.range[1], d)

    def within(self, value: float, d: int) -> float:
        """The value, no further than the range in d dimensions; NaN stays NaN.

        Rounding, and the correction of a bias, may carry an estimate past what it estimates.
        """
        low, high = self.bounds(d)
        return value if value != value else float(min(max(value, low), max(low, high)))

    def ideal_at(self, d: int) -> float | None:
        """The ideal in d dimensions; None where none is defined."""
        return None if self.ideal is None else _at(self.ideal, d)


def _at(bound: Bound, d: int) -> float:
    return float(bound(d) if callable(bound) else bound)


def register(metric: Metric) -> Metric:
    """Add a metric to `METRICS`: `score`, `compare` and `make_scorer` know it from then on.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    METRICS.add(metric.name, metric)
    return metric


def _d(d: int) -> float:
    return float(d)


def _of_spectrum(
    function: Callable[[np.ndarray], float],
) -> Callable[[float, int], float | None]:
    """The floor of a function of eigenvalues: that function of the Marchenko-Pastur spectrum."""

    def floor(n: float, d: int) -> float | None:
        return function(spectrum.marchenko_pastur_spectrum(n, d)) if n > 1 else None

    return floor


def _of_isotropic_terms(
    function: Callable[[np.ndarray, np.ndarray], float],
) -> Callable[[float, int], float | None]:
    def floor(n: float, d: int) -> float | None:
        return function(*gaussian.isotropic_terms_floor(n, d)) if n > 1 else None

    return floor


def _uncentred_floor(n: float, d: int) -> float | None:
    # The matrix is not centred, so no row is lost to the mean.
    return spectrum._entropy_rank(np.sqrt(spectrum.marchenko_pastur_spectrum(n + 1, d)))


def _sphericity_floor(n: float, d: int) -> float | None:
    return spectrum.sphericity_null(n, d)[0] if n > 1 else None


def _sphericity_pvalue(moments: Moments) -> float:
    return spectrum.sphericity_test(moments).pvalue


_SPECTRUM_COST = "O(d^3), one eigendecomposition for all"
_PARTITION_SOURCE = "Arora et al. 2016; Mu & Viswanath 2018"

REGISTERED = (
    Metric(
        name="mean_cosine",
        title="mean cosine of two rows",
        function=cosine.mean_cosine,
        range=(-1.0, 1.0),
        ideal=0.0,
        better=None,
        needs="moments",
        cost="O(d)",
        source="Ethayarajh 2019",
        floor=lambda n, d: 0.0,
        p_value=cosine.mean_cosine_pvalue,
        standard_error=cosine.mean_cosine_error,
    ),
    Metric(
        name="cosine_spread",
        title="standard deviation of the cosines",
        function=cosine.cosine_spread,
        range=(0.0, 1.0),
        ideal=lambda d: d**-0.5,
        better=None,
        needs="unit_gram",
        cost="O(d^2); the Gram matrix doubles the pass",
        source="Zhang et al. 2017",
        floor=lambda n, d: d**-0.5,
    ),
    Metric(
        name="top_contribution",
        title="share of the mean cosine from its top dimension",
        function=cosine.top_contribution,
        range=(lambda d: 1 / d, np.inf),
        ideal=lambda d: 1 / d,
        better="lower",
        needs="moments",
        cost="O(d)",
        source="Timkey & van Schijndel 2021",
        jumps="it is the largest of several values",
    ),
    Metric(
        name="rogue_dimension_count",
        title="dimensions of outlying mean or variance",
        function=cosine.rogue_dimension_count,
        range=(0.0, _d),
        ideal=0.0,
        better="lower",
        needs="moments",
        cost="O(d)",
        source="Kovaleva et al. 2021",
        floor=cosine.rogue_dimension_floor,
        jumps="it is a count",
    ),
    Metric(
        name="resultant_length",
        title="length of the mean direction",
        function=cosine.resultant_length,
        range=(0.0, 1.0),
        ideal=0.0,
        better="lower",
        needs="moments",
        cost="O(d)",
        source="Mardia & Jupp 2000",
        floor=cosine.resultant_floor,
        p_value=cosine.mean_cosine_pvalue,
    ),
    Metric(
        name="vmf_concentration",
        title="von Mises-Fisher concentration",
        function=cosine.vmf_concentration,
        range=(0.0, np.inf),
        ideal=0.0,
        better="lower",
        needs="moments",
        cost="O(d)",
        source="Banerjee et al. 2005, equation 4.4",
        floor=cosine.vmf_floor,
    ),
    Metric(
        name="isoscore",
        title="IsoScore, corrected for few rows",
        function=spectrum.isoscore,
        range=(0.0, 1.0),
        ideal=1.0,
        better="higher",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Rudman et al. 2022; Himeno & Yamada 2014",
        floor=lambda n, d: 1.0,
        p_value=_sphericity_pvalue,
    ),
    Metric(
        name="isoscore_plain",
        title="IsoScore as in the paper",
        function=partial(spectrum.isoscore, corrected=False),
        range=(0.0, 1.0),
        ideal=1.0,
        better="higher",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Rudman et al. 2022",
        floor=_of_spectrum(spectrum._isoscore),
    ),
    Metric(
        name="isoscore_star",
        title="IsoScore*, shrunk by 0.2",
        function=spectrum.isoscore_star,
        range=(0.0, 1.0),
        ideal=1.0,
        better="higher",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Rudman & Eickhoff 2024",
        floor=_of_spectrum(spectrum._star_isoscore),
    ),
    Metric(
        name="participation_ratio",
        title="participation ratio, corrected for few rows",
        function=spectrum.participation_ratio,
        range=(1.0, _d),
        ideal=_d,
        better="higher",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Himeno & Yamada 2014",
        floor=lambda n, d: float(d),
        p_value=_sphericity_pvalue,
    ),
    Metric(
        name="effective_rank",
        title="effective rank (entropy of the variances)",
        function=spectrum.effective_rank,
        range=(1.0, _d),
        ideal=_d,
        better="higher",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Roy & Vetterli 2007",
        floor=_of_spectrum(spectrum._entropy_rank),
    ),
    Metric(
        name="rankme",
        title="RankMe (entropy of the singular values)",
        function=spectrum.rankme,
        range=(1.0, _d),
        ideal=_d,
        better="higher",
        needs="moments",
        cost="O(d^3)",
        source="Garrido et al. 2023, equation 1",
        floor=_uncentred_floor,
    ),
    Metric(
        name="stable_rank",
        title="stable rank (total over top variance)",
        function=spectrum.stable_rank,
        range=(1.0, _d),
        ideal=_d,
        better="higher",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Rudelson & Vershynin 2007",
        floor=_of_spectrum(spectrum._stable_rank),
    ),
    Metric(
        name="top_variance_share",
        title="share of variance of the top direction",
        function=spectrum.top_variance_share,
        range=(lambda d: 1 / d, 1.0),
        ideal=lambda d: 1 / d,
        better="lower",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Ethayarajh 2019",
        floor=_of_spectrum(spectrum._top_variance_share),
    ),
    Metric(
        name="numerical_rank",
        title="dimensions above rounding noise",
        function=spectrum.numerical_rank,
        range=(0.0, _d),
        ideal=_d,
        better="higher",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="",
        floor=_of_spectrum(spectrum._rank),
        jumps="it is a count",
    ),
    Metric(
        name="condition_number",
        title="condition number above rounding noise",
        function=spectrum.condition_number,
        range=(1.0, np.inf),
        ideal=1.0,
        better="lower",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="",
        floor=_of_spectrum(spectrum._condition_number),
        jumps="it is the smallest of several values",
    ),
    Metric(
        name="sphericity",
        title="John's sphericity statistic",
        function=spectrum.sphericity,
        range=(0.0, lambda d: d - 1),
        ideal=0.0,
        better="lower",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="John 1972; Ledoit & Wolf 2002",
        floor=_sphericity_floor,
        p_value=_sphericity_pvalue,
    ),
    Metric(
        name="noise_edge",
        title="directions above the noise edge",
        function=spectrum.noise_edge,
        range=(0.0, _d),
        ideal=0.0,
        better="lower",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Marchenko & Pastur 1967; Gavish & Donoho 2014",
        floor=lambda n, d: 0.0,
        jumps="it is a count",
    ),
    Metric(
        name="spectrum_decay",
        title="exponent of the spectrum's decay",
        function=spectrum.spectrum_decay,
        range=(0.0, np.inf),
        ideal=0.0,
        better="lower",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Agrawal et al. 2022",
        floor=_of_spectrum(spectrum._spectrum_decay),
    ),
    Metric(
        name="partition_isotropy",
        title="partition isotropy I(W)",
        function=partition.partition_isotropy,
        range=(0.0, 1.0),
        ideal=1.0,
        better="higher",
        needs="rows",
        cost="O(n d^2) and 2 n d exponentials",
        source=_PARTITION_SOURCE,
        floor=partition.partition_floor,
        jumps="it is the smallest of several values",
    ),
    Metric(
        name="partition_gaussian",
        title="I(W) of the Gaussian fitted",
        function=partial(partition.partition_isotropy, form="gaussian"),
        range=(0.0, 1.0),
        ideal=1.0,
        better="higher",
        needs="moments",
        cost="O(d^3)",
        source=_PARTITION_SOURCE,
        floor=partition.partition_floor,
        jumps="it is the smallest of several values",
    ),
    Metric(
        name="partition_first",
        title="I(W) to first order",
        function=partial(partition.partition_isotropy, form="first"),
        range=(0.0, 1.0),
        ideal=1.0,
        better="higher",
        needs="moments",
        cost="O(d^3)",
        source=_PARTITION_SOURCE,
        floor=partial(partition.partition_floor, form="first"),
    ),
    Metric(
        name="partition_second",
        title="I(W) to second order",
        function=partial(partition.partition_isotropy, form="second"),
        range=(0.0, 1.0),
        ideal=1.0,
        better="higher",
        needs="moments",
        cost="O(d^3)",
        source=_PARTITION_SOURCE,
        floor=partial(partition.partition_floor, form="second"),
    ),
    Metric(
        name="uniformity",
        title="uniformity (t = 2)",
        function=pairs.uniformity,
        range=(-8.0, 0.0),
        ideal=pairs.uniformity_floor,
        better="lower",
        needs="rows",
        cost="O(n^2 d)",
        source="Wang & Isola 2020, equation 2",
        floor=lambda n, d: pairs.uniformity_floor(d),
    ),
    Metric(
        name="uniformity_cumulant",
        title="uniformity to the second cumulant",
        function=pairs.uniformity_cumulant,
        range=(-8.0, 8.0),
        ideal=lambda d: -4 + 8 / d,
        better="lower",
        needs="unit_gram",
        cost="O(d^2); the Gram matrix doubles the pass",
        source="Wang & Isola 2020",
        floor=lambda n, d: -4 + 8 / d,
    ),
    Metric(
        name="kl_divergence",
        title="Kullback-Leibler to the isotropic Gaussian",
        function=gaussian.kl_divergence,
        range=(0.0, np.inf),
        ideal=0.0,
        better="lower",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Kullback & Leibler 1951",
        floor=_of_isotropic_terms(gaussian._kl_to_isotropic),
    ),
    Metric(
        name="bhattacharyya",
        title="Bhattacharyya to the isotropic Gaussian",
        function=gaussian.bhattacharyya,
        range=(0.0, np.inf),
        ideal=0.0,
        better="lower",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Kailath 1967",
        floor=_of_isotropic_terms(gaussian._bhattacharyya_to_isotropic),
    ),
    Metric(
        name="wasserstein2",
        title="2-Wasserstein to the isotropic Gaussian",
        function=gaussian.wasserstein2,
        range=(0.0, lambda d: (2 * d) ** 0.5),
        ideal=0.0,
        better="lower",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Dowson & Landau 1982",
        floor=_of_isotropic_terms(gaussian._wasserstein_to_isotropic),
    ),
    Metric(
        name="mardia_skewness",
        title="Mardia's skewness, of whitened rows",
        function=gaussianity.mardia_skewness,
        range=(0.0, np.inf),
        ideal=0.0,
        better="lower",
        needs="rows",
        cost="O(n d min(n, d^2))",
        source="Mardia 1970",
        floor=gaussianity.skewness_floor,
        value_p_value=gaussianity.skewness_pvalue,
        within_rank=True,
        takes_moments=True,
    ),
    Metric(
        name="mardia_kurtosis",
        title="Mardia's kurtosis, of whitened rows",
        function=gaussianity.mardia_kurtosis,
        range=(lambda d: float(d) ** 2, np.inf),
        ideal=lambda d: float(d) * (d + 2),
        better=None,
        needs="rows",
        cost="O(n d^2)",
        source="Mardia 1970",
        floor=gaussianity.kurtosis_floor,
        value_p_value=gaussianity.kurtosis_pvalue,
        within_rank=True,
        takes_moments=True,
    ),
    Metric(
        name="epps_pulley",
        title="sliced Epps-Pulley (SIGReg) to a Gaussian",
        function=gaussianity.sliced_epps_pulley,
        range=(0.0, 7.5),
        ideal=0.0,
        better="lower",
        needs="rows",
        cost="O(n d k), k = 128 slices",
        source="Epps & Pulley 1983; Balestriero & LeCun 2025",
        floor=gaussianity.epps_pulley_floor,
        takes_moments=True,
    ),
    Metric(
        name="sliced_wasserstein",
        title="sliced 2-Wasserstein to a Gaussian",
        function=gaussianity.sliced_wasserstein,
        range=(0.0, np.inf),
        ideal=0.0,
        better="lower",
        needs="rows",
        cost="O(n d k), k = 128 slices",
        source="Rabin et al. 2011",
        floor=gaussianity.wasserstein_floor,
        takes_moments=True,
    ),
    Metric(
        name="henze_zirkler",
        title="largest Henze-Zirkler of projections to 3-D",
        function=gaussianity.henze_zirkler,
        range=(0.0, np.inf),
        ideal=None,
        better="lower",
        needs="rows",
        cost="O(n d) and 3e7 exponentials",
        source="Henze & Zirkler 1990",
        floor=gaussianity.henze_zirkler_floor,
        value_p_value=gaussianity.henze_zirkler_pvalue,
        within_rank=True,
        takes_moments=True,
        jumps="it is the largest of several values",
        slow=True,
    ),
    Metric(
        name="coordinate_skewness",
        title="largest absolute skewness of a coordinate",
        function=gaussianity.coordinate_skewness,
        range=(0.0, np.inf),
        ideal=0.0,
        better="lower",
        needs="rows",
        cost="O(n d)",
        source="D'Agostino 1970",
        floor=partial(gaussianity.coordinate_floor, "skewness"),
        value_p_value=partial(gaussianity.coordinate_pvalue, "skewness"),
        takes_moments=True,
        jumps="it is the largest of several values",
    ),
    Metric(
        name="coordinate_kurtosis",
        title="largest absolute excess kurtosis of a coordinate",
        function=gaussianity.coordinate_kurtosis,
        range=(0.0, np.inf),
        ideal=0.0,
        better="lower",
        needs="rows",
        cost="O(n d)",
        source="Anscombe & Glynn 1983",
        floor=partial(gaussianity.coordinate_floor, "kurtosis"),
        value_p_value=partial(gaussianity.coordinate_pvalue, "kurtosis"),
        takes_moments=True,
        jumps="it is the largest of several values",
    ),
    Metric(
        name="anderson_darling",
        title="largest Anderson-Darling statistic of a coordinate",
        function=gaussianity.anderson_darling,
        range=(0.0, np.inf),
        ideal=None,
        better="lower",
        needs="rows",
        cost="O(n d log n)",
        source="Anderson & Darling 1954",
        floor=partial(gaussianity.coordinate_floor, "anderson_darling"),
        value_p_value=partial(gaussianity.coordinate_pvalue, "anderson_darling"),
        takes_moments=True,
        jumps="it is the largest of several values",
    ),
)
"""The metrics of the library, in the order of a scorecard."""
