"""Mardia's skewness and kurtosis.

Rows are whitened by their own covariance, within its numerical rank: these do not see anisotropy,
only shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import chi2, norm

from isotropy.metrics._inputs import (
    WeightType,
)
from isotropy.metrics._shape import (
    mapped,
    moments_of,
    shares,
    weighted_blocks,
    whitening,
)
from isotropy.metrics.registry import Metric
from isotropy.moments import Moments
from isotropy.rows.arrays import spread, workers_for

__all__ = ["mardia_kurtosis", "mardia_skewness"]

_BLOCK = 1024


def mardia_kurtosis(
    X: Any,
    sample_weight: Any = None,
    *,
    weight_type: WeightType = "frequency",
    moments: Moments | None = None,
) -> float:
    r"""Mardia's kurtosis b2: the mean fourth power of the Mahalanobis length of the rows.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        The rows, of any real type.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.
    weight_type : {"frequency", "probability"}, default="frequency"
        Whether a weight w is w rows, or a relative weight.
    moments : Moments, optional
        Those of the rows, where they are at hand: saves a pass.

    Returns
    -------
    float
        At least r^2, with r the numerical rank; r(r + 2) for a Gaussian, more with heavy tails,
        less on a shell. NaN for n <= r + 1 rows, which are a simplex whatever they came from.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, `sample_weight` or an option does not fit, or
        Moments come in the place of the rows it needs.

    Notes
    -----
    Blind to anisotropy, since rows are whitened by their own covariance. O(n d r) for that, then
    O(n r).

    References
    ----------
    Mardia 1970, "Measures of multivariate skewness and kurtosis with applications".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import mardia_kurtosis
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(mardia_kurtosis(X), 1), round(mardia_kurtosis(X**3), 1)
    (79.2, 317.9)
    """
    moments = moments_of(X, sample_weight, weight_type, moments)
    W = whitening(moments)
    if W is None:
        return float("nan")
    total = fourth = 0.0
    for block, weights in weighted_blocks(X, sample_weight):
        lengths = np.square((block - moments.mean) @ W).sum(1)
        total, fourth = total + weights.sum(), fourth + weights @ np.square(lengths)
    return float(fourth / total)


def kurtosis_floor(n: float, d: int) -> float | None:
    """The exact mean of b2 over n Gaussian rows (Mardia 1974)."""
    return _kurtosis_mean(n, d) if n > d + 1 else None


def _kurtosis_mean(n: float, d: int) -> float:
    return d * (d + 2) * (n - 1) / (n + 1)


def kurtosis_pvalue(value: float, moments: Moments) -> float:
    """Two-sided, by Mardia's exact mean and variance of b2."""
    n, r = moments.n_effective, moments.rank()
    if not n > r + 1 or np.isnan(value):
        return float("nan")
    variance = 8 * r * (r + 2) * (n - 3) * (n - r - 1) * (n - r + 1)
    variance /= (n + 1) ** 2 * (n + 3) * (n + 5)
    return float(2 * norm.sf(abs(value - _kurtosis_mean(n, r)) / np.sqrt(variance)))


def mardia_skewness(
    X: Any,
    sample_weight: Any = None,
    *,
    weight_type: WeightType = "frequency",
    moments: Moments | None = None,
) -> float:
    r"""Mardia's skewness b1: the mean over all pairs of the cube of their Mahalanobis product.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        The rows, of any real type.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.
    weight_type : {"frequency", "probability"}, default="frequency"
        Whether a weight w is w rows, or a relative weight.
    moments : Moments, optional
        Those of the rows, where they are at hand: saves a pass.

    Returns
    -------
    float
        At least 0, the value of any distribution that is symmetric about a point; n Gaussian rows
        get about r^3 / n, with r the numerical rank. NaN for n <= r + 1 rows.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, `sample_weight` or an option does not fit, or
        Moments come in the place of the rows it needs.

    Notes
    -----
    Exact, without random pairs: O(n^2 r) over the pairs, with the whitened rows held in float64,
    or, for n > r^2, O(n r^3) over the third moments, whose square sum it is, block by block. The
    p-value is conservative where n is not several times r.

    References
    ----------
    Mardia 1970, "Measures of multivariate skewness and kurtosis with applications".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import mardia_skewness
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(mardia_skewness(X), 1), round(mardia_skewness(X**3), 1)
    (1.3, 44.1)
    """
    moments = moments_of(X, sample_weight, weight_type, moments)
    W = whitening(moments)
    if W is None:
        return float("nan")
    if moments.n_rows > W.shape[1] ** 2:
        return _skewness_by_moments(X, sample_weight, moments.mean, W)
    Y = mapped(X, sample_weight, moments.mean, W)
    return _skewness_by_pairs(Y, shares(X, sample_weight))


def _skewness_by_moments(X: Any, sample_weight: Any, mean: np.ndarray, W: np.ndarray) -> float:
    r, total = W.shape[1], 0.0
    third = np.zeros((r, r, r))
    for block, weights in weighted_blocks(X, sample_weight):
        Y = (block - mean) @ W
        for slab, column in zip(third, Y.T, strict=True):
            slab += (Y * (weights * column)[:, None]).T @ Y
        total += weights.sum()
    return float(np.vdot(third, third) / total**2)


def _skewness_by_pairs(Y: np.ndarray, share: np.ndarray) -> float:
    firsts = range(0, len(Y), _BLOCK)
    pairs = [(i, j) for i in firsts for j in firsts if i <= j]
    n_workers = workers_for(len(pairs))
    sums = np.zeros(len(pairs))

    def work(worker: int) -> None:
        for index in range(worker, len(pairs), n_workers):
            a, b = (slice(first, first + _BLOCK) for first in pairs[index])
            products = Y[a] @ Y[b].T
            products *= np.square(products)
            sums[index] = (1 if a == b else 2) * (share[a] @ products @ share[b])

    spread(work, n_workers)
    return float(sums.sum())


def skewness_floor(n: float, d: int) -> float | None:
    """The exact mean of b1 over n Gaussian rows (Mardia 1974)."""
    return _skewness_mean(n, d) if n > d + 1 else None


def _skewness_mean(n: float, d: int) -> float:
    return d * (d + 2) * ((n + 1) * (d + 1) - 6) / ((n + 1) * (n + 3))


def skewness_pvalue(value: float, moments: Moments) -> float:
    """By chi-squared, scaled to the exact mean (Mardia 1974)."""
    n, r = moments.n_effective, moments.rank()
    if not n > r + 1 or np.isnan(value):
        return float("nan")
    freedom = r * (r + 1) * (r + 2) / 6
    return float(chi2.sf(freedom * value / _skewness_mean(n, r), freedom))


REGISTERED = (
    Metric(
        name="mardia_skewness",
        title="Mardia's skewness, of whitened rows",
        function=mardia_skewness,
        range=(0.0, np.inf),
        ideal=0.0,
        better="lower",
        needs="rows",
        cost="O(n d min(n, d^2))",
        source="Mardia 1970",
        floor=skewness_floor,
        value_p_value=skewness_pvalue,
        within_rank=True,
        takes_moments=True,
    ),
    Metric(
        name="mardia_kurtosis",
        title="Mardia's kurtosis, of whitened rows",
        function=mardia_kurtosis,
        range=(lambda d: float(d) ** 2, np.inf),
        ideal=lambda d: float(d) * (d + 2),
        better=None,
        needs="rows",
        cost="O(n d^2)",
        source="Mardia 1970",
        floor=kurtosis_floor,
        value_p_value=kurtosis_pvalue,
        within_rank=True,
        takes_moments=True,
    ),
)
