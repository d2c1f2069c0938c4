"""Distances between Gaussians fitted to rows: to the isotropic one, or between two sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from isotropy.metrics._inputs import eigenvalues, gather
from isotropy.metrics.registry import Metric
from isotropy.metrics.spectrum import marchenko_pastur_spectrum
from isotropy.moments import Moments

__all__ = ["bhattacharyya", "kl_divergence", "wasserstein2"]


def kl_divergence(
    X: Any, Y: Any = None, sample_weight: Any = None, *, include_mean: bool = True
) -> float:
    r"""Kullback-Leibler divergence KL(N(mu, C) || target) of the Gaussian fitted to `X`, in nats.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    Y : like `X`, optional
        The target is the Gaussian fitted to `Y` (weighted, if given as Moments). By default it is
        N(0, s I) with s the mean square of `X` in a dimension, ``(tr C + |mu|^2) / d``, which is
        the closest s; the value then does not depend on the scale of `X`.
    sample_weight : array of shape (n,), optional
        Frequencies of the rows of `X`.
    include_mean : bool, default=True
        False takes both Gaussians about 0: the spectrum alone decides, with s = tr C / d.

    Returns
    -------
    float
        From 0, the same Gaussian, up. Infinite where a covariance is not of full numerical rank,
        as for n <= d and for mean-pooled LayerNorms: `wasserstein2` stays finite there. NaN where
        there is no spread.

    Raises
    ------
    ValueError
        If `X` and `Y` differ in dimensions.

    Notes
    -----
    ``(tr(B^-1 A) + m'B^-1 m - d + log det B - log det A) / 2`` with A, B the covariances and m the
    difference of the means; to the isotropic Gaussian ``(d log s - log det C) / 2``. Sees mean and
    covariance only; small eigenvalues rule it. Moments only. O(n d^2 + d^3).

    References
    ----------
    Kullback & Leibler 1951, "On information and sufficiency".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import kl_divergence
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(kl_divergence(X), 1), round(kl_divergence(X * np.arange(1, 9)), 1)
    (0.0, 2.5)
    """
    first = gather(X, sample_weight, as_is=Y is not None)
    if Y is None:
        return _kl_to_isotropic(*_isotropic_terms(first, include_mean))
    second = gather(Y, None, as_is=True)
    shift = _shift(first, second, include_mean)
    if not _regular(first, second):
        return _degenerate(first, second)
    values, vectors = second.spectrum()
    along = vectors.T @ first.covariance() @ vectors
    trace = (np.diag(along) / values).sum() + ((shift @ vectors) ** 2 / values).sum()
    logs = np.log(values).sum() - np.log(first.spectrum()[0]).sum()
    return max(0.0, float(trace - len(values) + logs) / 2)


def bhattacharyya(
    X: Any, Y: Any = None, sample_weight: Any = None, *, include_mean: bool = True
) -> float:
    r"""Bhattacharyya distance between the Gaussian fitted to `X` and a target.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    Y : like `X`, optional
        As in `kl_divergence`: the isotropic Gaussian of the mean square of `X` by default.
    sample_weight : array of shape (n,), optional
        Frequencies of the rows of `X`.
    include_mean : bool, default=True
        As in `kl_divergence`.

    Returns
    -------
    float
        From 0, the same Gaussian, up; minus the log of their overlap. Infinite where a covariance
        is not of full numerical rank. NaN where there is no spread.

    Raises
    ------
    ValueError
        If `X` and `Y` differ in dimensions.

    Notes
    -----
    ``m'S^-1 m / 8 + log(det S / sqrt(det A det B)) / 2`` with S = (A + B) / 2. Symmetric in the
    two. Sees mean and covariance only. Moments only. O(n d^2 + d^3).

    References
    ----------
    Bhattacharyya 1943; for Gaussians Kailath 1967, "The divergence and Bhattacharyya distance
    measures in signal selection".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import bhattacharyya
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(bhattacharyya(X), 1), round(bhattacharyya(X * np.arange(1, 9)), 1)
    (0.0, 0.9)
    """
    first = gather(X, sample_weight, as_is=Y is not None)
    if Y is None:
        return _bhattacharyya_to_isotropic(*_isotropic_terms(first, include_mean))
    second = gather(Y, None, as_is=True)
    shift = _shift(first, second, include_mean)
    if not _regular(first, second):
        return _degenerate(first, second)
    values, vectors = np.linalg.eigh((first.covariance() + second.covariance()) / 2)
    own = [np.log(moments.spectrum()[0]).sum() for moments in (first, second)]
    distance = ((shift @ vectors) ** 2 / values).sum() / 8
    return max(0.0, float(distance + (np.log(values).sum() - sum(own) / 2) / 2))


def wasserstein2(
    X: Any, Y: Any = None, sample_weight: Any = None, *, include_mean: bool = True
) -> float:
    r"""2-Wasserstein (Bures) distance between the Gaussian fitted to `X` and a target.

    The distance W2 itself, not its square.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments
        The rows, of any real type, or their moments.
    Y : like `X`, optional
        The target is the Gaussian fitted to `Y`, and the distance in the units of the rows. By
        default `X` is divided by the root of its mean square in a dimension and the target is
        N(0, I): the value then does not depend on the scale of `X`.
    sample_weight : array of shape (n,), optional
        Frequencies of the rows of `X`.
    include_mean : bool, default=True
        As in `kl_divergence`.

    Returns
    -------
    float
        From 0, the same Gaussian, up; to the isotropic one at most sqrt(2 d). Finite for any rank.
        NaN where there is no spread to compare with the isotropic one.

    Raises
    ------
    ValueError
        If `X` and `Y` differ in dimensions.

    Notes
    -----
    ``W2^2 = |m|^2 + tr A + tr B - 2 tr (A^1/2 B A^1/2)^1/2``; to N(0, I)
    ``|mu|^2 + sum (sqrt l - 1)^2``. Between sets it is computed as the smallest
    ``|F - G U|`` over rotations U, with A = FF' and B = GG', which does not cancel for two sets
    that are alike; F and G have no more columns than there are rows.
    Sees mean and covariance only; large eigenvalues rule it. Moments only. O(n d^2 + d^3).

    References
    ----------
    Dowson & Landau 1982, "The Frechet distance between multivariate normal distributions".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import wasserstein2
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(wasserstein2(X), 1), round(wasserstein2(X * np.arange(1, 9)), 1)
    (0.2, 1.4)
    """
    first = gather(X, sample_weight, as_is=Y is not None)
    if Y is None:
        return _wasserstein_to_isotropic(*_isotropic_terms(first, include_mean))
    second = gather(Y, None, as_is=True)
    shift = _shift(first, second, include_mean)
    if min(first.n_effective, second.n_effective) <= 1:
        return float("nan")
    rank = min(first.n_features, 1 + max(first.n_rows, second.n_rows))
    a, b = (_factor(moments, rank) for moments in (first, second))
    left, _, right = np.linalg.svd(b.T @ a)
    rest = a - b @ (left @ right)
    return float(np.sqrt(shift @ shift + np.vdot(rest, rest)))


def _shift(first: Moments, second: Moments, include_mean: bool) -> np.ndarray:
    """Difference of the means, or zero."""
    if first.n_features != second.n_features:
        raise ValueError(
            f"X has {first.n_features} dimensions and Y {second.n_features}: a distance needs the "
            "same. Correct or truncate both in the same way."
        )
    return (first.mean - second.mean) * include_mean


def _regular(first: Moments, second: Moments) -> bool:
    return all(eigenvalues(moments).all() for moments in (first, second))


def _degenerate(first: Moments, second: Moments) -> float:
    """One row has no covariance; a covariance of lower rank is infinitely far."""
    return float("nan" if min(first.n_effective, second.n_effective) <= 1 else "inf")


def _factor(moments: Moments, rank: int) -> np.ndarray:
    """F of `rank` columns with F F' the covariance (ddof=1)."""
    values, vectors = moments.spectrum(0)
    values = values[:rank] / (1 - 1 / moments.n_effective)
    return np.asarray(vectors[:, :rank] * np.sqrt(values))


# -- to the isotropic Gaussian: functions of eigenvalues and squares of the mean along them ------


def _isotropic_terms(moments: Moments, include_mean: bool) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, and squares of the mean along the eigenvectors, over the mean square s.

    Both are NaN where there is no spread, as for a single row.
    """
    values = eigenvalues(moments)
    squares = np.zeros_like(values)
    if include_mean:
        squares = (moments.mean @ moments.spectrum(0)[1]) ** 2
    s = float(values.mean() + squares.mean())
    if moments.n_effective <= 1 or not values.any():
        return np.full_like(values, np.nan), squares
    return values / s, squares / s


def _kl_to_isotropic(values: np.ndarray, squares: np.ndarray) -> float:
    # The traces, sum (values + squares), make d by the choice of s, and cancel.
    with np.errstate(divide="ignore"):
        return float(-np.log(values).sum() / 2)


def _bhattacharyya_to_isotropic(values: np.ndarray, squares: np.ndarray) -> float:
    between = (values + 1) / 2
    with np.errstate(divide="ignore"):
        overlap = (np.log(between) - np.log(values) / 2).sum()
    return float((squares / between).sum() / 8 + overlap / 2)


def _wasserstein_to_isotropic(values: np.ndarray, squares: np.ndarray) -> float:
    return float(np.sqrt(squares.sum() + ((np.sqrt(values) - 1) ** 2).sum()))


def isotropic_terms_floor(n: float, d: int) -> tuple[np.ndarray, np.ndarray]:
    """What `_isotropic_terms` expects of n isotropic Gaussian rows."""
    return marchenko_pastur_spectrum(n, d) * (1 - 1 / n), np.full(d, 1 / n)


# -- what is known of each -------------------------------------------------------------------------


def _of_isotropic_terms(
    function: Callable[[np.ndarray, np.ndarray], float],
) -> Callable[[float, int], float | None]:
    def floor(n: float, d: int) -> float | None:
        return function(*isotropic_terms_floor(n, d)) if n > 1 else None

    return floor


_SPECTRUM_COST = "O(d^3), one eigendecomposition for all"

REGISTERED = (
    Metric(
        name="kl_divergence",
        title="Kullback-Leibler to the isotropic Gaussian",
        function=kl_divergence,
        range=(0.0, np.inf),
        ideal=0.0,
        better="lower",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Kullback & Leibler 1951",
        floor=_of_isotropic_terms(_kl_to_isotropic),
    ),
    Metric(
        name="bhattacharyya",
        title="Bhattacharyya to the isotropic Gaussian",
        function=bhattacharyya,
        range=(0.0, np.inf),
        ideal=0.0,
        better="lower",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Kailath 1967",
        floor=_of_isotropic_terms(_bhattacharyya_to_isotropic),
    ),
    Metric(
        name="wasserstein2",
        title="2-Wasserstein to the isotropic Gaussian",
        function=wasserstein2,
        range=(0.0, lambda d: (2 * d) ** 0.5),
        ideal=0.0,
        better="lower",
        needs="moments",
        cost=_SPECTRUM_COST,
        source="Dowson & Landau 1982",
        floor=_of_isotropic_terms(_wasserstein_to_isotropic),
    ),
)
