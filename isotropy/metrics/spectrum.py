"""Metrics of the spectrum of the covariance: how many dimensions the rows use, and how evenly.

Each is a plain function of eigenvalues (``_participation_ratio`` and so on) under a thin skin that
takes rows or Moments. The floors apply the same plain functions to the spectrum that isotropic
rows would have, `marchenko_pastur_spectrum`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.special import gammaincc

from isotropy.metrics._inputs import NeedsRows, eigenvalues, gather, uncentred_spectrum
from isotropy.metrics.registry import Metric, dimensions
from isotropy.moments import Moments

__all__ = [
    "SphericityTest",
    "condition_number",
    "effective_rank",
    "isoscore",
    "isoscore_star",
    "marchenko_pastur_spectrum",
    "noise_edge",
    "numerical_rank",
    "participation_ratio",
    "rankme",
    "spectrum_decay",
    "sphericity",
    "sphericity_test",
    "stable_rank",
    "top_variance_share",
]


def marchenko_pastur_spectrum(n: float, d: int) -> np.ndarray:
    """Eigenvalues, falling, of the covariance of n isotropic Gaussian rows of variance 1.

    The d quantiles ``(k - 1/2) / d`` of the Marchenko-Pastur law of ratio d / (n - 1), scaled to
    sum to d. With fewer rows than dimensions, n - 1 of them are above 0.

    Parameters
    ----------
    n : float
        Number of rows, above 1.
    d : int
        Number of dimensions.

    Returns
    -------
    ndarray of shape (d,)
        Falling, of sum d.

    Raises
    ------
    ValueError
        If n is not above 1, or d below 1.

    References
    ----------
    Marchenko & Pastur 1967, "Distribution of eigenvalues for some sets of random matrices".

    Examples
    --------
    >>> from isotropy.metrics import marchenko_pastur_spectrum
    >>> marchenko_pastur_spectrum(3, 4).round(1).tolist()
    [3.2, 0.8, 0.0, 0.0]
    """
    if not (n > 1 and d >= 1):
        raise ValueError(f"A spectrum needs n above 1 and d of at least 1, got n={n}, d={d}.")
    live = max(1, min(d, int(n - 1)))
    ratio = min(d / (n - 1), (n - 1) / d)
    # With x = 1 + c - 2 sqrt(c) cos(angle) the density is smooth: (2 / pi) sin^2(angle) / x.
    angle = (np.arange(4096) + 0.5) * (np.pi / 4096)
    x = 1 + ratio - 2 * np.sqrt(ratio) * np.cos(angle)
    mass = np.sin(angle) ** 2 / x
    below = np.cumsum(mass) - mass / 2
    quantiles = np.interp((np.arange(live) + 0.5) / live, below / mass.sum(), x)
    values = np.zeros(d)
    values[:live] = quantiles[::-1] * (d / quantiles.sum())
    return values


# -- order 2: participation ratio, IsoScore, sphericity ------------------------------------------


def _participation_ratio(values: np.ndarray) -> float:
    values = _relative(values)
    return float(values.sum() ** 2 / (values @ values)) if values.any() else float("nan")


def _relative(values: np.ndarray) -> np.ndarray:
    """Over the largest, so that no square leaves float64."""
    largest = values.max(initial=0.0)
    return values / largest if largest > 0 else values


def _unbiased_participation_ratio(moments: Moments) -> float:
    """Ratio of the U-statistics of (tr Sigma)^2 and tr Sigma^2; NaN where either is rounding alone.

    Himeno & Yamada 2014, theorem 1 (tr Sigma^2), and its like for (tr Sigma)^2: with S the
    unbiased covariance and Q = sum |x - mean|^4 / (n - 1), both share the factor
    (n - 1) / (n (n - 2) (n - 3)), which cancels.
    """
    if moments.fourth is None:
        raise NeedsRows("needs the fourth order: pass the rows, or Moments of order=4")
    n, values = moments.n_effective, eigenvalues(moments)
    if n < 4 or not values.any():
        return float("nan")
    largest = values[0]
    values = values / largest * (n / (n - 1))
    trace, square = float(values.sum()), float(values @ values)
    quartic = moments.fourth / largest / largest / moments.total_weight * (n / (n - 1))
    trace_squared = 2 * square + (n**2 - 3 * n + 1) * trace**2 - n * quartic
    added = (n - 1) * (n - 2) * square + trace**2
    square_trace, terms = added - n * quartic, added + n * quartic
    if not (trace_squared > 0 and square_trace > _rounding(moments) * terms):
        return float("nan")
    return float(trace_squared / square_trace)


def _rounding(moments: Moments) -> float:
    """What rounding can leave of a difference of sums of squares, relative to those sums.

    The noise of the moments, and that of a correction computed in the type of the rows.
    """
    spread = float(eigenvalues(moments).mean())
    return max(moments.noise_floor(spread) / spread, 128 * moments.input_eps**2)


def participation_ratio(X: Any, sample_weight: Any = None, *, corrected: bool = True) -> float:
    r"""Participation ratio: the number of dimensions that the variance spreads over.

    ``PR = (tr C)^2 / tr C^2``, the effective rank of Renyi's order 2.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies. For probabilities pass Moments; n is then Kish's size, an approximation.
    corrected : bool, default=True
        Put unbiased U-statistics in the place of the two traces. The plain value, about
        PR / (1 + PR / n), is that of the papers.

    Returns
    -------
    float
        From 1 to d, the ideal. A corrected estimate that passes either by chance is taken back to
        it. NaN where there is no spread; corrected also for n < 4 and where an estimate is not
        above its own rounding, as for n <= d rows that were whitened by themselves: all their
        distances are equal, whatever they came from.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, or `sample_weight` does not fit; with
        `corrected`, for Moments without the fourth order.

    Notes
    -----
    Invariant to shift, rotation and scale, so it does not see the mean. Moments only.
    O(n d^2 + d^3).

    References
    ----------
    Himeno & Yamada 2014, "Estimations for some functions of covariance matrix in high dimension
    under non-normality"; Chen, Zhang & Zhong 2010, "Tests for high-dimensional covariance
    matrices".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import participation_ratio
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(participation_ratio(X), 1), round(participation_ratio(X * np.arange(1, 9)), 1)
    (8.0, 4.7)
    """
    moments = gather(X, sample_weight)
    if corrected:
        return float(np.clip(_unbiased_participation_ratio(moments), 1, moments.n_features))
    return _participation_ratio(eigenvalues(moments))


def isoscore(X: Any, sample_weight: Any = None, *, corrected: bool = True) -> float:
    r"""IsoScore, without its PCA: ``(PR - 1) / (d - 1)`` with PR the `participation_ratio`.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies. For probabilities pass Moments; n is then Kish's size, an approximation.
    corrected : bool, default=True
        Correct the bias of few rows. ``corrected=False`` is the number of the paper and of the
        package IsoScore: for 128 dimensions and truth 1 it averages 0.32 at 64 rows, 0.80 at 512.

    Returns
    -------
    float
        From 0, one direction, to 1, isotropic; about (k - 1) / (d - 1) where k of d dimensions
        are used evenly. A corrected estimate that passes 1 by chance is taken back to it. NaN for
        one dimension, where there is no spread, and corrected for n < 4 and where an estimate is
        not above its own rounding, as for n <= d rows that were whitened by themselves.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, or `sample_weight` does not fit; with
        `corrected`, for Moments without the fourth order.

    Notes
    -----
    Invariant to shift, rotation and scale, so it does not see the mean. Moments only.
    O(n d^2 + d^3).

    References
    ----------
    Rudman et al. 2022, "IsoScore: measuring the uniformity of embedding space utilization",
    algorithm 1; U-statistics as in `participation_ratio`.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import isoscore
    >>> round(isoscore(np.random.default_rng(0).normal(size=(100, 50))), 1)
    1.0
    """
    moments = gather(X, sample_weight)
    ratio = participation_ratio(moments, corrected=corrected)
    return _isoscore_of_ratio(ratio, moments.n_features)


def _isoscore_of_ratio(ratio: float, d: int) -> float:
    return float((ratio - 1) / (d - 1)) if d > 1 else float("nan")


def _isoscore(values: np.ndarray) -> float:
    return _isoscore_of_ratio(_participation_ratio(values), len(values))


def isoscore_star(
    X: Any, sample_weight: Any = None, *, zeta: float = 0.2, prior: Any = None
) -> float:
    r"""IsoScore*: IsoScore of a covariance shrunk towards a prior, ``(1 - zeta) C + zeta C0``.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.
    zeta : float in [0, 1], default=0.2
        Weight of the prior. 0 is `isoscore` with ``corrected=False``. This is what the authors'
        code and README do; a summary of the paper prints the two weights the other way round.
    prior : array of shape (d, d), optional
        C0. By default ``(tr C / d) I``, of the scale of the data; the authors' identity makes
        rows of length one look isotropic at a small zeta already. Give ``np.eye(d)`` for theirs.

    Returns
    -------
    float
        From 0 to 1. NaN for one dimension, and where there is neither spread nor prior.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, `zeta` is not from 0 to 1, or `sample_weight`
        or `prior` does not fit.

    Notes
    -----
    Shrinkage makes the value stable for few rows, and pulls it to the prior's. Moments only; two
    traces in the place of their SVD. O(n d^2 + d^3).

    References
    ----------
    Rudman & Eickhoff 2024, "Stable anisotropic regularization", section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import isoscore_star
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(isoscore_star(X), 1), round(isoscore_star(X * np.arange(1, 9)), 1)
    (1.0, 0.6)
    """
    if not 0 <= zeta <= 1:
        raise ValueError(f"zeta must be from 0 to 1, got {zeta!r}.")
    moments = gather(X, sample_weight)
    d, values = moments.n_features, eigenvalues(moments)
    if prior is None:
        return _isoscore((1 - zeta) * values + zeta * values.mean())
    prior = np.asarray(prior, dtype=np.float64)
    if prior.shape != (d, d):
        raise ValueError(f"prior must be a covariance of shape {(d, d)}, got {prior.shape}.")
    if moments.n_effective <= 1:
        return float("nan")
    mixed = (1 - zeta) * moments.covariance() + zeta * prior
    square = float(np.vdot(mixed, mixed))
    ratio = float(np.trace(mixed)) ** 2 / square if square > 0 else float("nan")
    return _isoscore_of_ratio(ratio, d)


def _star_isoscore(values: np.ndarray, zeta: float = 0.2) -> float:
    return _isoscore((1 - zeta) * values + zeta * values.mean())


class SphericityTest(NamedTuple):
    """John's statistic U, and how often isotropic Gaussian rows give as large a one.

    Parameters
    ----------
    statistic : float
        From 0, the ideal, to d - 1.
    pvalue : float
        From 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import sphericity_test
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> sphericity_test(X).pvalue > 0.01, sphericity_test(X * np.arange(1, 9)).pvalue > 0.01
    (True, False)
    """

    statistic: float
    pvalue: float


def sphericity_test(X: Any, sample_weight: Any = None) -> SphericityTest:
    r"""John's test of sphericity, of whether the covariance is a multiple of the identity.

    ``U = tr[(C / (tr C / d) - I)^2] / d = d / PR - 1``. Under the null, with N = n - 1,
    N U - d has mean near 1 and variance near 4, for d above n too (Ledoit & Wolf); the p-value is
    the upper tail of the gamma distribution that has U's exact Gaussian mean and variance, so that
    it holds for small n and d too.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies. For probabilities pass Moments; n is then Kish's size, an approximation.

    Returns
    -------
    statistic : float
        From 0, the ideal, to d - 1. NaN where there is no spread.
    pvalue : float
        How often isotropic Gaussian rows give as large a one.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, or `sample_weight` does not fit.

    Notes
    -----
    Rows with heavier tails than a Gaussian's are rejected too often. It does not see the mean.
    With thousands of rows every real encoder is rejected: read it beside the size of U.
    Moments only. O(n d^2 + d^3).

    References
    ----------
    John 1972, "The distribution of a statistic used for testing sphericity of normal
    distributions"; Ledoit & Wolf 2002, "Some hypothesis tests for the covariance matrix when the
    dimension is large compared to the sample size", proposition 3.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import sphericity_test
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> sphericity_test(X).pvalue > 0.01, sphericity_test(X * np.arange(1, 9)).pvalue > 0.01
    (True, False)
    """
    moments = gather(X, sample_weight)
    statistic = _sphericity(eigenvalues(moments))
    if np.isnan(statistic) or moments.n_features < 2:
        return SphericityTest(statistic, float("nan"))
    mean, variance = sphericity_null(moments.n_effective, moments.n_features)
    if not variance > 0:
        return SphericityTest(statistic, float("nan"))
    pvalue = gammaincc(mean**2 / variance, statistic * mean / variance)
    return SphericityTest(statistic, float(pvalue))


def sphericity_null(n: float, d: int) -> tuple[float, float]:
    """Exact mean and variance of U for n Gaussian rows of sphered covariance (John 1972)."""
    dof = n - 1
    mean = (d - 1) * (d + 2) / (dof * d + 2)
    variance = 4 * d**2 * (d - 1) * (d + 2) * (dof - 1) * (dof + 2)
    return mean, variance / ((dof * d + 2) ** 2 * (dof * d + 4) * (dof * d + 6))


def sphericity(X: Any, sample_weight: Any = None) -> float:
    """John's statistic of sphericity, ``d / PR - 1``; `sphericity_test` gives its p-value too.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.

    Returns
    -------
    float
        From 0, the ideal, to d - 1; about d / n by chance. NaN where there is no spread.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, or `sample_weight` does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import sphericity
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(sphericity(X), 1), round(sphericity(X * np.arange(1, 9)), 1)
    (0.0, 0.7)
    """
    return _sphericity(eigenvalues(gather(X, sample_weight)))


def _sphericity(values: np.ndarray) -> float:
    return max(0.0, len(values) / _participation_ratio(values) - 1) if values.any() else np.nan


# -- order 1: entropies --------------------------------------------------------------------------


def _entropy_rank(values: np.ndarray) -> float:
    live = values[values > 0]
    if not live.size:
        return float("nan")
    shares = live / live.sum()
    return float(np.exp(-(shares @ np.log(shares))))


def effective_rank(X: Any, sample_weight: Any = None) -> float:
    r"""Effective rank: exp of the entropy of the eigenvalues of the covariance.

    ``exp(-sum q log q)`` with ``q = l / sum l``, the effective rank of Renyi's order 1. Its
    logarithm over log d is Sym2 of Yokoi et al. (with word frequencies as weights).

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.

    Returns
    -------
    float
        From 1 to d, the ideal. NaN where there is no spread.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, or `sample_weight` does not fit.

    Notes
    -----
    Of variances about the mean, so it does not see the mean. Roy & Vetterli take the entropy of
    the singular values of a matrix, not centred: that is `rankme`. Biased low for few rows.
    Moments only. O(n d^2 + d^3).

    References
    ----------
    Roy & Vetterli 2007, "The effective rank: a measure of effective dimensionality", definition 1;
    Yokoi et al. 2024, "Zipfian whitening".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import effective_rank
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(effective_rank(X), 1), round(effective_rank(X * np.arange(1, 9)), 1)
    (7.9, 5.5)
    """
    return _entropy_rank(eigenvalues(gather(X, sample_weight)))


def rankme(X: Any, sample_weight: Any = None) -> float:
    r"""RankMe: exp of the entropy of the singular values of the rows, not centred.

    ``exp(-sum p log p)`` with ``p = sigma / sum sigma``, sigma from the second moment matrix.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.

    Returns
    -------
    float
        From 1 to min(n, d), the ideal. NaN where all rows are zero.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, or `sample_weight` does not fit.

    Notes
    -----
    Sees the mean as one large direction. The authors add 1e-7 to each p, which this leaves out:
    directions of rounding noise do not count. Moments only. O(n d^2 + d^3).

    References
    ----------
    Garrido et al. 2023, "RankMe: assessing the downstream performance of pretrained
    self-supervised representations by their rank", equation 1; Roy & Vetterli 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import rankme
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(rankme(X), 1), round(rankme(X * np.arange(1, 9)), 1)
    (8.0, 6.9)
    """
    return _entropy_rank(np.sqrt(uncentred_spectrum(gather(X, sample_weight))[0]))


# -- order infinity, and single eigenvalues ------------------------------------------------------


def _stable_rank(values: np.ndarray) -> float:
    return float(_relative(values).sum()) if values.any() else float("nan")


def stable_rank(X: Any, sample_weight: Any = None) -> float:
    """Stable rank: total variance over the largest, ``tr C / l_1``, also known as NESum.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.

    Returns
    -------
    float
        From 1 to d, the ideal. NaN where there is no spread.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, or `sample_weight` does not fit.

    Notes
    -----
    Sees nothing but the largest direction. Biased low for few rows. Moments only.
    O(n d^2 + d^3).

    References
    ----------
    Rudelson & Vershynin 2007, "Sampling from large matrices"; He & Ozay 2022 (NESum).

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import stable_rank
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(stable_rank(X), 1), round(stable_rank(X * np.arange(1, 9)), 1)
    (6.5, 3.2)
    """
    return _stable_rank(eigenvalues(gather(X, sample_weight)))


def top_variance_share(X: Any, sample_weight: Any = None) -> float:
    """Share of the variance along the first principal direction, ``l_1 / tr C``.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.

    Returns
    -------
    float
        From 1 / d, the ideal, to 1. NaN where there is no spread. The inverse of `stable_rank`.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, or `sample_weight` does not fit.

    References
    ----------
    Ethayarajh 2019 (there of the matrix that is not centred, as MEV); Razzhigaev et al. 2024,
    "The shape of learning" (as anisotropy).

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import top_variance_share
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(top_variance_share(X), 1), round(top_variance_share(X * np.arange(1, 9)), 1)
    (0.2, 0.3)
    """
    return _top_variance_share(eigenvalues(gather(X, sample_weight)))


def _top_variance_share(values: np.ndarray) -> float:
    return 1 / _stable_rank(values)


def _condition_number(values: np.ndarray) -> float:
    live = values[values > 0]
    return float(live.max() / live.min()) if live.size else float("nan")


def condition_number(X: Any, sample_weight: Any = None) -> float:
    """Largest eigenvalue of the covariance over its smallest one that is not rounding noise.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.

    Returns
    -------
    float
        From 1, the ideal, up. NaN where there is no spread.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, or `sample_weight` does not fit.

    Notes
    -----
    The textbook's value is infinite for n <= d, and for every mean-pooled LayerNorm, whose rows
    lie in a hyperplane; this is the condition number in the space that the rows span. Read it
    beside `numerical_rank`, which tells what is missing. Moments only. O(n d^2 + d^3).

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import condition_number
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(condition_number(X), 1), round(condition_number(X * np.arange(1, 9)), 1)
    (1.5, 74.7)
    """
    return _condition_number(eigenvalues(gather(X, sample_weight)))


def numerical_rank(X: Any, sample_weight: Any = None) -> float:
    """Number of eigenvalues of the covariance above rounding noise, see `Moments.noise_floor`.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.

    Returns
    -------
    float
        From 0 to min(n - 1, d). The same number as ``Moments.rank()``.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, or `sample_weight` does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import numerical_rank
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> numerical_rank(X), numerical_rank(X - X.mean(1, keepdims=True))
    (8.0, 7.0)
    """
    return _rank(eigenvalues(gather(X, sample_weight)))


def _rank(values: np.ndarray) -> float:
    return float(np.count_nonzero(values))


def noise_edge(X: Any, sample_weight: Any = None) -> float:
    r"""Number of eigenvalues above what noise of one variance would reach, the noise edge.

    The edge is that of Marchenko and Pastur, ``sigma^2 (1 + sqrt(d / (n - 1)))^2``; sigma^2 is the
    median eigenvalue over the median of their law, which a few large ones do not move.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.

    Returns
    -------
    float
        From 0, the ideal, to d; NaN where there is no spread. One isotropic sample in six has
        one eigenvalue above the edge.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, or `sample_weight` does not fit.

    Notes
    -----
    It speaks of few strong directions over a flat floor. Where the whole spectrum decays, as in
    most encoders, it counts those above the middle of the spectrum. Moments only.
    O(n d^2 + d^3).

    References
    ----------
    Marchenko & Pastur 1967; Gavish & Donoho 2014, "The optimal hard threshold for singular values
    is 4 / sqrt(3)" (the median as scale).

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import noise_edge
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(noise_edge(X), 1), round(noise_edge(X * np.arange(1, 9)), 1)
    (0.0, 3.0)
    """
    moments = gather(X, sample_weight)
    values = eigenvalues(moments)
    live = values[values > 0]
    if not live.size:
        return float("nan")
    dof = moments.n_effective - 1
    d = live.size if live.size < int(dof) else len(values)  # null directions hold no noise
    expected = marchenko_pastur_spectrum(moments.n_effective, d)
    scale = np.median(live) / np.median(expected[expected > 0])
    edge = scale * (1 + np.sqrt(d / dof)) ** 2
    return float(np.count_nonzero(live > edge))


def _spectrum_decay(values: np.ndarray) -> float:
    live = values[values > 0]
    if live.size < 2:
        return float("nan")
    rank = np.arange(1, live.size + 1)
    x, y = np.log(rank), np.log(live)
    x -= np.average(x, weights=1 / rank)
    return float(-(x / rank) @ y / ((x / rank) @ x))


def spectrum_decay(X: Any, sample_weight: Any = None) -> float:
    r"""Exponent of the power law fitted to the eigenvalues, ``l_j ~ j^-alpha``.

    Minus the slope of log l_j over log j, by least squares with weights 1 / j, so that each octave
    of j counts alike; over all eigenvalues that are not rounding noise.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.

    Returns
    -------
    float
        From 0, a flat spectrum, up. NaN for a numerical rank below 2.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, or `sample_weight` does not fit.

    Notes
    -----
    Few spectra are power laws, and the range of j matters; authors choose it by eye. alpha-ReQ
    finds values near 1 to go with good representations. Moments only. O(n d^2 + d^3).

    References
    ----------
    Agrawal et al. 2022, "alpha-ReQ: assessing representation quality in self-supervised learning
    by measuring eigenspectrum decay"; weights as in Stringer et al. 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import spectrum_decay
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(spectrum_decay(X), 1), round(spectrum_decay(X * np.arange(1, 9)), 1)
    (0.2, 1.3)
    """
    return _spectrum_decay(eigenvalues(gather(X, sample_weight)))


# -- what is known of each -------------------------------------------------------------------------


def _of_spectrum(
    function: Callable[[np.ndarray], float],
) -> Callable[[float, int], float | None]:
    """The floor of a function of eigenvalues: that function of the Marchenko-Pastur spectrum."""

    def floor(n: float, d: int) -> float | None:
        return function(marchenko_pastur_spectrum(n, d)) if n > 1 else None

    return floor


def _uncentred_floor(n: float, d: int) -> float | None:
    # The matrix is not centred, so no row is lost to the mean.
    return _entropy_rank(np.sqrt(marchenko_pastur_spectrum(n + 1, d)))


def _sphericity_floor(n: float, d: int) -> float | None:
    return sphericity_null(n, d)[0] if n > 1 else None


def _sphericity_pvalue(moments: Moments) -> float:
    return sphericity_test(moments).pvalue


_SPECTRUM_COST = "O(d^3), one eigendecomposition for all"

REGISTERED = (
    Metric(
        name="isoscore",
        title="IsoScore, corrected for few rows",
        function=isoscore,
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
        function=partial(isoscore, corrected=False),
        range=(0.0, 1.0),
        ideal=1.0,
        better="higher",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Rudman et al. 2022",
        floor=_of_spectrum(_isoscore),
    ),
    Metric(
        name="isoscore_star",
        title="IsoScore*, shrunk by 0.2",
        function=isoscore_star,
        range=(0.0, 1.0),
        ideal=1.0,
        better="higher",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Rudman & Eickhoff 2024",
        floor=_of_spectrum(_star_isoscore),
    ),
    Metric(
        name="participation_ratio",
        title="participation ratio, corrected for few rows",
        function=participation_ratio,
        range=(1.0, dimensions),
        ideal=dimensions,
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
        function=effective_rank,
        range=(1.0, dimensions),
        ideal=dimensions,
        better="higher",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Roy & Vetterli 2007",
        floor=_of_spectrum(_entropy_rank),
    ),
    Metric(
        name="rankme",
        title="RankMe (entropy of the singular values)",
        function=rankme,
        range=(1.0, dimensions),
        ideal=dimensions,
        better="higher",
        needs="moments",
        cost="O(d^3)",
        source="Garrido et al. 2023, equation 1",
        floor=_uncentred_floor,
    ),
    Metric(
        name="stable_rank",
        title="stable rank (total over top variance)",
        function=stable_rank,
        range=(1.0, dimensions),
        ideal=dimensions,
        better="higher",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Rudelson & Vershynin 2007",
        floor=_of_spectrum(_stable_rank),
        jumps="it follows the largest of several values",
    ),
    Metric(
        name="top_variance_share",
        title="share of variance of the top direction",
        function=top_variance_share,
        range=(lambda d: 1 / d, 1.0),
        ideal=lambda d: 1 / d,
        better="lower",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Ethayarajh 2019",
        floor=_of_spectrum(_top_variance_share),
        jumps="it follows the largest of several values",
    ),
    Metric(
        name="numerical_rank",
        title="dimensions above rounding noise",
        function=numerical_rank,
        range=(0.0, dimensions),
        ideal=dimensions,
        better="higher",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="",
        floor=_of_spectrum(_rank),
        jumps="it is a count",
    ),
    Metric(
        name="condition_number",
        title="condition number above rounding noise",
        function=condition_number,
        range=(1.0, np.inf),
        ideal=1.0,
        better="lower",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="",
        floor=_of_spectrum(_condition_number),
        jumps="it is the smallest of several values",
    ),
    Metric(
        name="sphericity",
        title="John's sphericity statistic",
        function=sphericity,
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
        function=noise_edge,
        range=(0.0, dimensions),
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
        function=spectrum_decay,
        range=(0.0, np.inf),
        ideal=0.0,
        better="lower",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Agrawal et al. 2022",
        floor=_of_spectrum(_spectrum_decay),
    ),
)
