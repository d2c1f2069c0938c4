"""Metrics of the cosines between rows: exact, in O(n d), from sums of unit rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import chdtr, chdtrc, gammaln, ndtr

from isotropy.metrics._inputs import UnitRows, gather, variances
from isotropy.metrics.registry import Metric, dimensions
from isotropy.moments import Moments

__all__ = [
    "cosine_contributions",
    "cosine_spread",
    "mean_cosine",
    "resultant_length",
    "rogue_dimension_count",
    "rogue_dimensions",
    "top_contribution",
    "vmf_concentration",
]

_SIGNIFICANT = 0.05


def mean_cosine(X: Any, sample_weight: Any = None) -> float:
    r"""Mean cosine between two different rows, over all pairs and without sampling.

    With s the sum of the unit rows, ``(|s|^2 - n) / (n (n - 1))``; for probabilities p
    ``(|sum p x^|^2 - sum p^2) / (1 - sum p^2)``. Zero rows have no direction and are left out.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. For probabilities pass Moments.

    Returns
    -------
    float
        In [-1 / (n - 1), 1]; 0 for isotropic rows. NaN for fewer than two rows with a direction.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, or `sample_weight` does not fit.

    Notes
    -----
    It sees the mean direction only: 0 after centring, whatever the spectrum; and a single
    dimension of large size (see `cosine_contributions`) can make all of it. O(n d).

    References
    ----------
    Ethayarajh 2019, "How contextual are contextualized word representations?".

    Examples
    --------
    >>> from isotropy.metrics import mean_cosine
    >>> round(mean_cosine([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), 4)
    0.4714
    """
    return _mean_cosine(UnitRows(gather(X, sample_weight, "sums")))


def _mean_cosine(unit: UnitRows) -> float:
    if unit.n <= 1:
        return float("nan")
    return (unit.mean_square - 1 / unit.n) / (1 - 1 / unit.n)


def mean_cosine_pvalue(moments: Moments) -> float:
    """Rayleigh's test: how often uniform directions have so long a mean, d n R^2 ~ chi2(d)."""
    unit = UnitRows(moments)
    if unit.n <= 1:
        return float("nan")
    d = moments.n_features
    return float(chdtrc(d, d * unit.n * unit.mean_square))


def mean_cosine_error(moments: Moments) -> float:
    """Standard error of the mean cosine, a U-statistic of order two (Hoeffding 1948).

    ``sqrt(4 m'Km / n + 2 |K|^2 / n^2)`` with m and K mean and covariance of the unit rows, both
    terms freed of what the noise in m and K adds to them.
    """
    unit = UnitRows(moments)
    if unit.n <= 1:
        return float("nan")
    n, (along, square) = unit.n, _quadratic_forms(unit)
    square = max(0.0, square - (1 - unit.mean_square) ** 2 / (n - 1))
    along = max(0.0, along - square / n)
    return float(np.sqrt(4 * along / n + 2 * square / n**2))


def _quadratic_forms(unit: UnitRows) -> tuple[float, float]:
    """The forms m'Km and |K|^2; the first may come out of rounding below 0, where it is 0."""
    covariance, mean = unit.covariance, unit.mean
    return max(0.0, float(mean @ covariance @ mean)), float(np.vdot(covariance, covariance))


def cosine_spread(X: Any, sample_weight: Any = None) -> float:
    r"""Standard deviation of the cosines between two different rows, over all pairs.

    Over all pairs, self-pairs included, the variance is ``2 m'Km + |K|^2`` with m and K the mean
    and the covariance of the unit rows; taking the self-pairs out leaves
    ``n / (n - 1) * (2 m'Km + |K|^2 - (1 - |m|^2)^2 / (n - 1))``.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments of ``unit="gram"``
        The rows.
    sample_weight : array of shape (n,), optional
        Frequencies. For probabilities pass Moments.

    Returns
    -------
    float
        In [0, 1]; ``1 / sqrt(d)`` for isotropic rows, more where few directions dominate, less in
        a tight cone. NaN for fewer than two rows with a direction.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, `sample_weight` does not fit, or Moments lack
        the Gram matrix of the unit rows.

    Notes
    -----
    The first two moments of the cosines say nothing of their tails. The Gram matrix is not
    centred, so that a spread below some 1e-6 (1e-3 for large float32 jobs) may be rounding, and
    is 0. O(n d^2).

    References
    ----------
    The second moment is that of global orthogonal regularization: Zhang et al. 2017, "Learning
    spread-out local feature descriptors".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import cosine_spread
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(cosine_spread(X), 2), round(cosine_spread(X + 1), 2)
    (0.35, 0.25)
    """
    unit = UnitRows(gather(X, sample_weight, "gram"))
    if unit.n <= 1:
        return float("nan")
    along, square = _quadratic_forms(unit)
    self_pairs = (1 - unit.mean_square) ** 2 / (unit.n - 1)
    variance = unit.n / (unit.n - 1) * (2 * along + square - self_pairs)
    return float(np.sqrt(variance)) if variance > _rounding(unit.moments) else 0.0


def _rounding(moments: Moments) -> float:
    """What rounding alone can make of the mean square of a component of the unit rows."""
    wide = float(np.finfo(np.float64).eps)
    summed = 4 * wide * (8 + moments.n_features + float(np.sqrt(moments.n_rows)))
    return max(summed, 16 * moments.product_eps if moments.product_eps > wide else 0.0)


def cosine_contributions(X: Any, sample_weight: Any = None) -> np.ndarray:
    r"""What each dimension adds to the mean cosine: they sum to it.

    ``(s_k^2 - sum_i x^_ik^2) / (n (n - 1))`` with s the sum of the unit rows x^.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies. For probabilities pass Moments.

    Returns
    -------
    ndarray of shape (d,)
        NaN for fewer than two rows with a direction.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, or `sample_weight` does not fit.

    Notes
    -----
    Depends on the axes: a rotation spreads a rogue dimension over all. O(n d).

    References
    ----------
    Timkey & van Schijndel 2021, "All bark and no bite", equation 3; they sample pairs.

    Examples
    --------
    >>> from isotropy.metrics import cosine_contributions
    >>> cosine_contributions([[1.0, 0.0], [3.0, 4.0]]).round(2).tolist()
    [0.6, 0.0]
    """
    unit = UnitRows(gather(X, sample_weight, "sums"))
    if unit.n <= 1:
        return np.full(unit.moments.n_features, np.nan)
    return (unit.mean**2 - unit.self_products) / (1 - 1 / unit.n)


def top_contribution(X: Any, sample_weight: Any = None) -> float:
    """Share of the mean cosine that its largest single dimension makes.

    ``max_k CC_k / sum_k CC_k`` with CC the `cosine_contributions`.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.

    Returns
    -------
    float
        From 1 / d, where all dimensions take part, to about 1 for one rogue dimension. NaN where
        the mean cosine is not above 0 beyond chance (Rayleigh's test at 5 %): a share of nothing
        means nothing.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, or `sample_weight` does not fit.

    Notes
    -----
    Depends on the axes. O(n d).

    References
    ----------
    Timkey & van Schijndel 2021, "All bark and no bite".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import top_contribution
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(top_contribution(X + 1), 2), round(top_contribution(X + np.eye(8)[2] * 9), 2)
    (0.14, 1.0)
    """
    moments = gather(X, sample_weight, "sums")
    total = mean_cosine(moments)
    if not (total > 0 and mean_cosine_pvalue(moments) < _SIGNIFICANT):
        return float("nan")
    return float(cosine_contributions(moments).max() / total)


def rogue_dimensions(X: Any, sample_weight: Any = None, *, z: float = 3.0) -> np.ndarray:
    """Indices of the dimensions whose mean or variance stands out among the dimensions.

    Those where either is beyond `z` standard deviations, taken over the dimensions, from the
    average over the dimensions.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.
    z : float, default=3.0
        No dimension can be beyond sqrt(d - 1): 10 dimensions or fewer have none at 3.

    Returns
    -------
    ndarray of int
        Rising.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, `sample_weight` does not fit, or `z` is not
        above 0.

    Notes
    -----
    Depends on the axes; a few very large dimensions hide the next. O(n d) beside the covariance.

    References
    ----------
    Kovaleva et al. 2021, "BERT busters"; Timkey & van Schijndel 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import rogue_dimensions
    >>> X = np.random.default_rng(0).normal(size=(500, 32))
    >>> X[:, 5] += 20
    >>> rogue_dimensions(X).tolist()
    [5]
    """
    if not z > 0:
        raise ValueError(f"z must be above 0, got {z!r}.")
    moments = gather(X, sample_weight)
    return np.flatnonzero(_beyond(moments.mean, z) | _beyond(variances(moments), z))


def _beyond(values: np.ndarray, z: float) -> np.ndarray:
    away = np.abs(values - values.mean())
    # A standard deviation made of rounding alone would make outliers of equals.
    deviation = max(float(values.std()), 1e-12 * float(np.abs(values).max()))
    return away > z * deviation


def rogue_dimension_count(X: Any, sample_weight: Any = None) -> float:
    """Number of `rogue_dimensions` at three standard deviations.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.

    Returns
    -------
    float
        From 0, the ideal, to d; about 0.005 d by chance.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, or `sample_weight` does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import rogue_dimension_count
    >>> X = np.random.default_rng(0).normal(size=(500, 32))
    >>> rogue_dimension_count(X), rogue_dimension_count(X + np.eye(32)[2] * 9)
    (0.0, 1.0)
    """
    return float(len(rogue_dimensions(X, sample_weight)))


def rogue_dimension_floor(n: float, d: int, z: float = 3.0) -> float:
    """Expected count in n isotropic Gaussian rows: means are normal, variances chi-squared."""
    if n <= 1 or np.sqrt(d - 1) <= z:
        return 0.0
    dof, reach = n - 1, z * np.sqrt(2 * (n - 1))
    by_mean = 2 * float(ndtr(-z))
    by_variance = float(chdtrc(dof, dof + reach) + chdtr(dof, max(0.0, dof - reach)))
    return d * (1 - (1 - by_mean) * (1 - by_variance))


def resultant_length(X: Any, sample_weight: Any = None) -> float:
    """Length of the mean of the unit rows, R = |s| / n.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.

    Returns
    -------
    float
        From 0, the ideal, to 1, where all rows point one way. NaN without a row of a direction.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, or `sample_weight` does not fit.

    Notes
    -----
    ``R^2 = mean cosine with self-pairs``, so for few rows it is about 1 / sqrt(n). O(n d).

    References
    ----------
    Mardia & Jupp 2000, "Directional statistics".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import resultant_length
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(resultant_length(X), 2), round(resultant_length(X + 1), 2)
    (0.04, 0.71)
    """
    unit = UnitRows(gather(X, sample_weight, "sums"))
    return float(np.sqrt(unit.mean_square)) if unit.n > 0 else float("nan")


def resultant_floor(n: float, d: int) -> float:
    """Expected R of n uniform directions: sqrt(n d) R is a chi variable of d degrees of freedom."""
    return float(np.sqrt(2 / (n * d)) * np.exp(gammaln((d + 1) / 2) - gammaln(d / 2)))


def vmf_concentration(X: Any, sample_weight: Any = None) -> float:
    """Concentration of the von Mises-Fisher distribution fitted to the directions.

    ``kappa = R (d - R^2) / (1 - R^2)`` with R the `resultant_length`.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.

    Returns
    -------
    float
        From 0, the ideal, to infinity, where all rows point one way. NaN for fewer than two rows
        with a direction.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, or `sample_weight` does not fit.

    Notes
    -----
    An approximation for high dimensions. It assumes a cone that is round about its axis. O(n d).

    References
    ----------
    Banerjee et al. 2005, "Clustering on the unit hypersphere", equation 4.4.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import vmf_concentration
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(vmf_concentration(X), 2), round(vmf_concentration(X + 1), 2)
    (0.32, 10.62)
    """
    moments = gather(X, sample_weight, "sums")
    unit = UnitRows(moments)
    if unit.n <= 1:
        return float("nan")
    if 1 - unit.mean_square <= _rounding(moments):
        return float("inf")
    return _vmf_concentration(float(np.sqrt(unit.mean_square)), moments.n_features)


def _vmf_concentration(length: float, d: int) -> float:
    return length * (d - length**2) / (1 - length**2)


def vmf_floor(n: float, d: int) -> float:
    """The concentration fitted to the expected resultant of uniform directions."""
    length = resultant_floor(n, d)
    return _vmf_concentration(length, d) if n > 1 and length < 1 else float("nan")


REGISTERED = (
    Metric(
        name="mean_cosine",
        title="mean cosine of two rows",
        function=mean_cosine,
        range=(-1.0, 1.0),
        ideal=0.0,
        better=None,
        needs="moments",
        cost="O(d)",
        source="Ethayarajh 2019",
        floor=lambda n, d: 0.0,
        p_value=mean_cosine_pvalue,
        standard_error=mean_cosine_error,
    ),
    Metric(
        name="cosine_spread",
        title="standard deviation of the cosines",
        function=cosine_spread,
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
        function=top_contribution,
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
        function=rogue_dimension_count,
        range=(0.0, dimensions),
        ideal=0.0,
        better="lower",
        needs="moments",
        cost="O(d)",
        source="Kovaleva et al. 2021",
        floor=rogue_dimension_floor,
        jumps="it is a count",
    ),
    Metric(
        name="resultant_length",
        title="length of the mean direction",
        function=resultant_length,
        range=(0.0, 1.0),
        ideal=0.0,
        better="lower",
        needs="moments",
        cost="O(d)",
        source="Mardia & Jupp 2000",
        floor=resultant_floor,
        p_value=mean_cosine_pvalue,
    ),
    Metric(
        name="vmf_concentration",
        title="von Mises-Fisher concentration",
        function=vmf_concentration,
        range=(0.0, np.inf),
        ideal=0.0,
        better="lower",
        needs="moments",
        cost="O(d)",
        source="Banerjee et al. 2005, equation 4.4",
        floor=vmf_floor,
    ),
)
