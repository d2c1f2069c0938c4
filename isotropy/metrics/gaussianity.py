"""How Gaussian rows are: Mardia, sliced Epps-Pulley and Wasserstein, Henze-Zirkler, coordinates.

Mardia's and Henze and Zirkler's measures whiten the rows by their own covariance, within its
numerical rank: they do not see anisotropy, only shape. The sliced ones centre the rows and divide
them by one number, the root of their mean variance: they are distances to the isotropic Gaussian
of the same size, and see both. The others standardize each coordinate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri
from scipy.stats import chi2, norm

from isotropy.metrics._inputs import (
    NeedsRows,
    WeightType,
    eigenvalues,
    gather,
    row_blocks,
    variances,
)
from isotropy.metrics.registry import Metric
from isotropy.moments import Moments
from isotropy.rows.arrays import namespace, spread, workers_for

__all__ = [
    "anderson_darling",
    "coordinate_kurtosis",
    "coordinate_skewness",
    "epps_pulley",
    "henze_zirkler",
    "mardia_kurtosis",
    "mardia_skewness",
    "sliced_epps_pulley",
    "sliced_wasserstein",
]

N_SLICES = 128
_VALUES_AT_ONCE = 2**21
_BLOCK = 1024
_KNOTS = np.linspace(0, 3, 17)
_FRAMES, _FRAME_DIMS, _FRAME_ROWS, _FRAME_LEAST = 32, 3, 1000, 20


# -- what they share -----------------------------------------------------------------------------


def _moments(
    X: Any, sample_weight: Any, weight_type: WeightType, moments: Moments | None
) -> Moments:
    """`moments` where they are at hand, else those of the rows."""
    if isinstance(X, Moments):
        raise NeedsRows("needs the rows: moments of second order do not tell a Gaussian")
    if moments is None:
        return gather(X, sample_weight, weight_type=weight_type)
    d = getattr(X, "shape", (0, moments.n_features))[-1]
    if d != moments.n_features:
        raise ValueError(
            f"moments must be those of the rows of X, which has {d} columns, got moments of "
            f"{moments.n_features}. Leave moments=None to have them gathered."
        )
    return moments


def _blocks(X: Any, sample_weight: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of rows in float64 with their weights, rows of no weight left out."""
    for block, weights in row_blocks(X, sample_weight):
        if weights is None:
            yield block, np.ones(len(block))
        else:
            yield block[weights > 0], weights[weights > 0]


def _mapped(X: Any, sample_weight: Any, mean: np.ndarray, A: np.ndarray) -> np.ndarray:
    return np.concatenate([(block - mean) @ A for block, _ in _blocks(X, sample_weight)])


def _shares(X: Any, sample_weight: Any) -> np.ndarray:
    """The weights of the rows that `_mapped` gives, summing to 1."""
    weights = np.concatenate([weights for _, weights in _blocks(X, sample_weight)])
    return weights / weights.sum()


def _whitening(moments: Moments) -> np.ndarray | None:
    """(d, r) that whitens centred rows; None where n is too small for any shape but a simplex."""
    values, vectors = moments.spectrum(0)
    r = moments.rank()
    if r == 0 or moments.n_effective <= r + 1:
        return None
    return vectors[:, :r] / np.sqrt(values[:r])


def _directions(moments: Moments, n_slices: int, random_state: int) -> np.ndarray:
    """(d, n_slices): random unit vectors, over the root of the mean variance."""
    scale = np.sqrt(eigenvalues(moments).sum() / moments.n_features)
    return random_directions(moments.n_features, n_slices, random_state) / scale


def random_directions(d: int, n_slices: int, random_state: int) -> np.ndarray:
    """(d, n_slices): unit vectors, uniform on the sphere; the same for metric and loss."""
    directions = np.random.default_rng(random_state).standard_normal((d, n_slices))
    return directions / np.linalg.norm(directions, axis=0)


def _columns_at_once(moments: Moments) -> int:
    return max(1, _VALUES_AT_ONCE // max(moments.n_rows, 1))


def _check_slices(n_slices: int) -> int:
    if isinstance(n_slices, bool) or n_slices != int(n_slices) or n_slices < 1:
        raise ValueError(f"n_slices must be an integer of at least 1, got {n_slices!r}.")
    return int(n_slices)


def _has_spread(moments: Moments) -> bool:
    return moments.n_effective > 1 and bool(eigenvalues(moments)[0] > 0)


# -- Mardia --------------------------------------------------------------------------------------


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
    sample_weight : array of shape (n,), optional
    weight_type : {"frequency", "probability"}, default="frequency"
    moments : Moments, optional
        Those of the rows, where they are at hand: saves a pass.

    Returns
    -------
    float
        At least r^2, with r the numerical rank; r(r + 2) for a Gaussian, more with heavy tails,
        less on a shell. NaN for n <= r + 1 rows, which are a simplex whatever they came from.

    Notes
    -----
    Blind to anisotropy, since rows are whitened by their own covariance. O(n d r) for that, then
    O(n r).

    References
    ----------
    Mardia 1970, "Measures of multivariate skewness and kurtosis with applications".
    """
    moments = _moments(X, sample_weight, weight_type, moments)
    W = _whitening(moments)
    if W is None:
        return float("nan")
    total = fourth = 0.0
    for block, weights in _blocks(X, sample_weight):
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
    sample_weight : array of shape (n,), optional
    weight_type : {"frequency", "probability"}, default="frequency"
    moments : Moments, optional
        Those of the rows, where they are at hand: saves a pass.

    Returns
    -------
    float
        At least 0, the value of any distribution that is symmetric about a point; n Gaussian rows
        get about r^3 / n, with r the numerical rank. NaN for n <= r + 1 rows.

    Notes
    -----
    Exact, without random pairs: O(n^2 r) over the pairs, with the whitened rows held in float64,
    or, for n > r^2, O(n r^3) over the third moments, whose square sum it is, block by block. The
    p-value is conservative where n is not several times r.

    References
    ----------
    Mardia 1970, "Measures of multivariate skewness and kurtosis with applications".
    """
    moments = _moments(X, sample_weight, weight_type, moments)
    W = _whitening(moments)
    if W is None:
        return float("nan")
    if moments.n_rows > W.shape[1] ** 2:
        return _skewness_by_moments(X, sample_weight, moments.mean, W)
    Y = _mapped(X, sample_weight, moments.mean, W)
    return _skewness_by_pairs(Y, _shares(X, sample_weight))


def _skewness_by_moments(X: Any, sample_weight: Any, mean: np.ndarray, W: np.ndarray) -> float:
    r, total = W.shape[1], 0.0
    third = np.zeros((r, r, r))
    for block, weights in _blocks(X, sample_weight):
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


# -- sliced --------------------------------------------------------------------------------------


def epps_pulley(slices: Any, share: Any = None) -> Any:
    r"""Epps-Pulley distance of each column to N(0, 1): int |f(t) - e^(-t^2/2)|^2 e^(-t^2/2) dt.

    f is the empirical characteristic function. The definition that metric and loss share.

    Parameters
    ----------
    slices : array of shape (n, k), numpy or torch
        Standardized projections of rows.
    share : array of shape (n,), optional
        Weights that sum to 1.

    Returns
    -------
    array of shape (k,)
        From 0, the value of N(0, 1), to 7.5. n draws of N(0, 1) get about 1.06 / n.

    Notes
    -----
    The trapezoidal rule at 17 knots from 0 to 3, doubled for the other half, as in LeJEPA. O(n k).

    References
    ----------
    Epps & Pulley 1983; Balestriero & LeCun 2025, "LeJEPA", where n times this is the SIGReg term.
    """
    return _distances(_characteristic(slices, share))


def _characteristic(slices: Any, share: Any) -> list[tuple[Any, Any]]:
    """Real and imaginary part, (k,) each, of the means of e^(i t x) at each knot t."""
    xp, step, found = namespace(slices), _STEP, []
    cos, sin = xp.cos(step * slices), xp.sin(step * slices)
    real, imaginary = xp.ones_like(slices), xp.zeros_like(slices)
    for _ in _TERMS:
        found.append((_mean(real, share), _mean(imaginary, share)))
        # e^(i t x) at the next knot, by one complex product
        real, imaginary = real * cos - imaginary * sin, real * sin + imaginary * cos
    return found


def _distances(characteristic: Any) -> Any:
    total: Any = 0.0
    for (gaussian, weight), (real, imaginary) in zip(_TERMS, characteristic, strict=True):
        apart = real - gaussian
        total = total + weight * (apart * apart + imaginary * imaginary)
    return total


def _knot_weights() -> list[float]:
    """Weights of the knots for the integral over both halves, e^(-t^2/2) included."""
    weights = np.full(len(_KNOTS), 2 * _KNOTS[1]) * np.exp(-(_KNOTS**2) / 2)
    weights[[0, -1]] /= 2
    return [float(weight) for weight in weights]


# Plain numbers, which torch.compile can follow: what N(0, 1) has at each knot, and its weight.
_STEP = float(_KNOTS[1])
_TERMS = list(zip(np.exp(-(_KNOTS**2) / 2).tolist(), _knot_weights(), strict=True))


def _mean(values: Any, share: Any) -> Any:
    return values.mean(0) if share is None else share @ values


def sliced_epps_pulley(
    X: Any,
    sample_weight: Any = None,
    *,
    n_slices: int = N_SLICES,
    random_state: int = 0,
    weight_type: WeightType = "frequency",
    moments: Moments | None = None,
) -> float:
    r"""Mean Epps-Pulley distance to N(0, 1) along random directions, the measure behind SIGReg.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        Centred, and divided by the root of the mean variance.
    sample_weight : array of shape (n,), optional
    n_slices : int, default=128
    random_state : int, default=0
        Seed of the directions.
    weight_type : {"frequency", "probability"}, default="frequency"
    moments : Moments, optional
        Those of the rows, where they are at hand: saves a pass.

    Returns
    -------
    float
        From 0 to 7.5; 0 for an isotropic Gaussian alone, of which n rows get about 0.57 / n. NaN
        where rows have no spread.

    Notes
    -----
    Not multiplied by n, so that sets of any size compare. In hundreds of dimensions the slices
    of nearly anything isotropic are nearly normal: compare with the floor. O(n d n_slices).

    References
    ----------
    Balestriero & LeCun 2025, "LeJEPA: provable and scalable self-supervised learning without the
    heuristics"; Epps & Pulley 1983.
    """
    n_slices = _check_slices(n_slices)
    moments = _moments(X, sample_weight, weight_type, moments)
    if not _has_spread(moments):
        return float("nan")
    directions, total = _directions(moments, n_slices, random_state), 0.0
    sums = np.zeros((len(_KNOTS), 2, n_slices))
    for block, weights in _blocks(X, sample_weight):
        sums += _characteristic((block - moments.mean) @ directions, weights)
        total += weights.sum()
    return float(_distances(sums / total).mean())


def epps_pulley_floor(n: float, d: int) -> float:
    """The mean under the null: the mean of each slice is taken off, and a scale shared by d."""
    t2 = _KNOTS**2
    apart = 1 - (1 + t2 + t2**2 / (2 * d)) * np.exp(-t2)
    return float(np.dot(_knot_weights(), apart) / n)


def sliced_wasserstein(
    X: Any,
    sample_weight: Any = None,
    *,
    n_slices: int = N_SLICES,
    random_state: int = 0,
    weight_type: WeightType = "frequency",
    moments: Moments | None = None,
) -> float:
    r"""Sliced 2-Wasserstein distance to the isotropic Gaussian of the same size.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        Centred, and divided by the root of the mean variance.
    sample_weight : array of shape (n,), optional
    n_slices : int, default=128
    random_state : int, default=0
        Seed of the directions.
    weight_type : {"frequency", "probability"}, default="frequency"
    moments : Moments, optional
        Those of the rows, where they are at hand: saves a pass.

    Returns
    -------
    float
        The root of the mean squared distance along random directions, in standard deviations:
        from 0, an isotropic Gaussian. NaN where rows have no spread.

    Notes
    -----
    Exact along each direction: sorted values against the mean of each stretch of normal quantiles.
    O(n d n_slices + n_slices n log n).

    References
    ----------
    Rabin et al. 2011, "Wasserstein barycenter and its application to texture mixing".
    """
    n_slices = _check_slices(n_slices)
    moments = _moments(X, sample_weight, weight_type, moments)
    if not _has_spread(moments):
        return float("nan")
    directions, share = _directions(moments, n_slices, random_state), _shares(X, sample_weight)
    total, step = 0.0, _columns_at_once(moments)
    for first in range(0, n_slices, step):
        slices = _mapped(X, sample_weight, moments.mean, directions[:, first : first + step])
        total += _wasserstein_squares(slices, share).sum()
    return float(np.sqrt(total / n_slices))


def _wasserstein_squares(slices: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Squared distance of each column to N(0, 1)."""
    order = np.argsort(slices, axis=0)
    ends = np.minimum(np.cumsum(share[order], axis=0), 1.0)
    ends[-1] = 1.0
    density = np.vstack([np.zeros(slices.shape[1]), norm.pdf(ndtri(ends))])
    # The integral of the normal quantile over the stretch of levels that a value takes.
    stretch = density[:-1] - density[1:]
    values = np.take_along_axis(slices, order, axis=0)
    squares = share @ np.square(slices) - 2 * (values * stretch).sum(0) + 1
    return np.maximum(squares, 0.0)


def wasserstein_floor(n: float, d: int) -> float | None:
    """Simulated with the slices of Gaussian rows; the mean square grows like log(log n) / n."""
    return _wasserstein_floor(round(n), d) if n >= 2 else None


@lru_cache(maxsize=256)
def _wasserstein_floor(n: int, d: int) -> float:
    rows = min(n, 2**14)
    random = np.random.default_rng(0)
    draws = random.standard_normal((rows, int(np.clip(2**18 // rows, 48, 4096))))
    draws -= draws.mean(0)
    # Divided by the variance of all d coordinates, of which this one is one.
    others = random.chisquare((rows - 1) * (d - 1), draws.shape[1]) if d > 1 else 0.0
    draws *= np.sqrt(rows * d / (np.square(draws).sum(0) + others))
    squares = _wasserstein_squares(draws, np.full(rows, 1 / rows))
    grown = np.log(np.log(n + 2)) / np.log(np.log(rows + 2))
    return float(np.sqrt(squares.mean() * grown * rows / n))


# -- Henze and Zirkler -----------------------------------------------------------------------------


def henze_zirkler(
    X: Any,
    sample_weight: Any = None,
    *,
    random_state: int = 0,
    weight_type: WeightType = "frequency",
    moments: Moments | None = None,
) -> float:
    r"""Largest Henze-Zirkler statistic over 32 random projections to three dimensions.

    Of up to three dimensions it is the statistic itself.

    In hundreds of dimensions the statistic itself means nothing: both of its terms in the data
    vanish, whatever the rows. In three it has power against any departure.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        Whitened first, so that directions of small variance count too.
    sample_weight : array of shape (n,), optional
    random_state : int, default=0
        Seed of the projections and, where rows are more, of the 1,000 that each takes.
    weight_type : {"frequency", "probability"}, default="frequency"
    moments : Moments, optional
        Those of the rows, where they are at hand: saves a pass.

    Returns
    -------
    float
        At least 0; Gaussian rows get about 1.1, in up to three dimensions about 0.7. The p-value
        is Bonferroni's over the projections. NaN for n <= r + 1, with r the numerical rank, and
        where the rows of a projection amount to fewer than 20.

    Notes
    -----
    O(n d) beyond the covariance, and 3e7 exponentials. In a projection all whitened data of many
    dimensions look more normal than they are (Diaconis & Freedman 1984).

    References
    ----------
    Henze & Zirkler 1990, "A class of invariant consistent tests for multivariate normality".
    """
    moments = _moments(X, sample_weight, weight_type, moments)
    W, (n_frames, q, n) = _whitening(moments), _frames(moments)
    if W is None or n < _FRAME_LEAST:
        return float("nan")
    # Whitened without a turn, since rounding turns the rows where eigenvalues are equal.
    W = W @ moments.spectrum(0)[1][:, : moments.rank()].T
    random = np.random.default_rng(random_state)
    # The projections first: they are the same for any number of rows.
    maps = [W @ np.linalg.qr(random.standard_normal((len(W), q)))[0] for _ in range(n_frames)]
    picks = _picks(X, sample_weight, moments, maps[0][:, 0], n_frames, random)
    drawn = _drawn(X, moments.mean, maps, picks)
    return max(_henze_zirkler(rows, share, n) for rows, share in drawn)


def _copies(moments: Moments) -> float:
    """How many rows there are to draw from: a frequency w is w of them."""
    return moments.total_weight if moments.weight_type == "frequency" else float(moments.n_rows)


def _frames(moments: Moments) -> tuple[int, int, float]:
    """How many projections, of how many dimensions, and what the rows of each amount to."""
    r, n = moments.rank(), moments.n_effective / max(1.0, _copies(moments) / _FRAME_ROWS)
    return (_FRAMES, _FRAME_DIMS, n) if r > _FRAME_DIMS else (1, r, n)


def _picks(
    X: Any, sample_weight: Any, moments: Moments, along: np.ndarray, n_frames: int, random: Any
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each projection the rows it takes, rising, and their shares.

    Drawn from the rows in the order of their values along a direction, each as often as it
    occurs: so the draw knows neither their order nor whether a row was repeated or weighted.
    """
    parts = [((block - moments.mean) @ along, w) for block, w in row_blocks(X, sample_weight)]
    values = np.concatenate([values for values, _ in parts])
    weights = np.concatenate([np.ones(len(v)) if w is None else w for v, w in parts])
    order = np.argsort(values, kind="stable")
    order = order[weights[order] > 0]
    copies = np.ones(len(order), dtype=np.int64)
    if moments.weight_type == "frequency":
        copies = np.maximum(np.rint(weights[order]).astype(np.int64), 1)
    ends, found = np.cumsum(copies), []
    for _ in range(n_frames):
        drawn = np.arange(ends[-1] if ends[-1] <= _FRAME_ROWS else 0)
        if ends[-1] > _FRAME_ROWS:
            drawn = random.choice(ends[-1], _FRAME_ROWS, replace=False)
        places, counts = np.unique(np.searchsorted(ends, drawn, side="right"), return_counts=True)
        rows, shares = order[places], weights[order[places]] * counts / copies[places]
        rising = np.argsort(rows)
        found.append((rows[rising], shares[rising] / shares.sum()))
    return found


def _drawn(
    X: Any, mean: np.ndarray, maps: list[np.ndarray], picks: list[tuple[np.ndarray, np.ndarray]]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each map the rows of its pick, mapped, with their shares."""
    parts: list[list[np.ndarray]] = [[] for _ in maps]
    first = 0
    for block, _ in row_blocks(X):
        last = first + len(block)
        for part, A, (rows, _) in zip(parts, maps, picks, strict=True):
            here = rows[slice(*np.searchsorted(rows, [first, last]))] - first
            part.append((block[here] - mean) @ A)
        first = last
    for part, (_, shares) in zip(parts, picks, strict=True):
        yield np.concatenate(part), shares


def _smoothing(n: float, q: int) -> float:
    """Henze and Zirkler's beta squared."""
    return float(((2 * q + 1) * n / 4) ** (2 / (q + 4)) / 2)


def _henze_zirkler(rows: np.ndarray, share: np.ndarray, n: float) -> float:
    q = rows.shape[1]
    rows = rows - share @ rows
    values, vectors = np.linalg.eigh((rows * share[:, None]).T @ rows)
    if not values[0] > 1e-12 * values[-1]:
        return float(4 * n)  # the value that the paper gives to a singular covariance
    rows = rows @ (vectors / np.sqrt(values))
    beta2, squares = _smoothing(n, q), np.square(rows).sum(1)
    apart = squares[:, None] + squares - 2 * rows @ rows.T
    pairs = share @ np.exp(-beta2 / 2 * np.maximum(apart, 0.0)) @ share
    singles = share @ np.exp(-beta2 / (2 + 2 * beta2) * squares)
    both = (1 + beta2) ** (-q / 2), (1 + 2 * beta2) ** (-q / 2)
    return float(n * (pairs - 2 * both[0] * singles + both[1]))


def _lognormal_null(n: float, q: int) -> tuple[float, float]:
    """Centre and spread of log HZ for Gaussian rows (Henze & Zirkler 1990, theorem 3.2)."""
    b2 = _smoothing(n, q)
    a, w = 1 + 2 * b2, (1 + b2) * (1 + 3 * b2)
    mean = 1 - a ** (-q / 2) * (1 + q * b2 / a + q * (q + 2) * b2**2 / (2 * a**2))
    variance = 2 * (1 + 4 * b2) ** (-q / 2)
    variance += 2 * a**-q * (1 + 2 * q * b2**2 / a**2 + 3 * q * (q + 2) * b2**4 / (4 * a**4))
    inner = 1 + 3 * q * b2**2 / (2 * w) + q * (q + 2) * b2**4 / (2 * w**2)
    variance -= 4 * w ** (-q / 2) * inner
    centre = np.log(mean**2 / np.sqrt(mean**2 + variance))
    return float(centre), float(np.sqrt(np.log1p(variance / mean**2)))


def henze_zirkler_floor(n: float, d: int) -> float | None:
    """The median of the largest of as many lognormal draws as there are projections."""
    if d < 1 or n < _FRAME_LEAST or n <= d + 1:
        return None
    centre, width = _lognormal_null(min(n, _FRAME_ROWS), min(_FRAME_DIMS, d))
    n_frames = _FRAMES if d > _FRAME_DIMS else 1
    return float(np.exp(centre + width * ndtri(0.5 ** (1 / n_frames))))


def henze_zirkler_pvalue(value: float, moments: Moments) -> float:
    """Bonferroni's over the projections, by the lognormal null of each."""
    if np.isnan(value):
        return float("nan")
    n_frames, q, n = _frames(moments)
    centre, width = _lognormal_null(n, q)
    return min(1.0, float(n_frames * norm.sf((np.log(max(value, 1e-300)) - centre) / width)))


# -- coordinates -----------------------------------------------------------------------------------


def coordinate_skewness(
    X: Any,
    sample_weight: Any = None,
    *,
    weight_type: WeightType = "frequency",
    moments: Moments | None = None,
) -> float:
    r"""Largest absolute skewness of a coordinate.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
    sample_weight : array of shape (n,), optional
    weight_type : {"frequency", "probability"}, default="frequency"
    moments : Moments, optional
        Those of the rows, where they are at hand: saves a pass.

    Returns
    -------
    float
        At least 0, ideal 0. Constant coordinates do not count; NaN where all are. The p-value is
        Bonferroni's over the coordinates, by D'Agostino's transform.

    Notes
    -----
    O(n d). Depends on the axes.

    References
    ----------
    D'Agostino 1970, "Transformation to normality of the null distribution of g1".
    """
    moments = _moments(X, sample_weight, weight_type, moments)
    return _largest_moment(X, sample_weight, moments, odd=True)


def coordinate_kurtosis(
    X: Any,
    sample_weight: Any = None,
    *,
    weight_type: WeightType = "frequency",
    moments: Moments | None = None,
) -> float:
    r"""Largest absolute excess kurtosis of a coordinate.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
    sample_weight : array of shape (n,), optional
    weight_type : {"frequency", "probability"}, default="frequency"
    moments : Moments, optional
        Those of the rows, where they are at hand: saves a pass.

    Returns
    -------
    float
        At least 0, ideal 0. Constant coordinates do not count; NaN where all are. The p-value is
        Bonferroni's over the coordinates, by the transform of Anscombe and Glynn.

    Notes
    -----
    O(n d). Depends on the axes.

    References
    ----------
    Anscombe & Glynn 1983, "Distribution of the kurtosis statistic b2 for normal samples".
    """
    moments = _moments(X, sample_weight, weight_type, moments)
    return _largest_moment(X, sample_weight, moments, odd=False)


def _largest_moment(X: Any, sample_weight: Any, moments: Moments, odd: bool) -> float:
    live, deviations = _live_columns(moments)
    if not live.size:
        return float("nan")
    total, sums = 0.0, np.zeros(live.size)
    for block, weights in _blocks(X, sample_weight):
        Z = (block[:, live] - moments.mean[live]) / deviations
        squares = Z * Z
        total, sums = total + weights.sum(), sums + weights @ (squares * (Z if odd else squares))
    return float(np.abs(sums / total - (0 if odd else 3)).max())


def _live_columns(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates that vary, and their standard deviations."""
    found = variances(moments) if moments.n_effective > 1 else np.zeros(moments.n_features)
    live = np.flatnonzero(found)
    return live, np.sqrt(found[live])


def _skewness_tail(value: float, n: float) -> float:
    """Chance that the skewness of n normal draws is at least `value` away from 0."""
    y = value * np.sqrt((n + 1) * (n + 3) / (6 * (n - 2)))
    b2 = 3 * (n**2 + 27 * n - 70) * (n + 1) * (n + 3)
    b2 /= (n - 2) * (n + 5) * (n + 7) * (n + 9)
    w2 = np.sqrt(2 * (b2 - 1)) - 1
    return float(2 * ndtr(-np.arcsinh(y / np.sqrt(2 / (w2 - 1))) / np.sqrt(0.5 * np.log(w2))))


def _kurtosis_tail(value: float, n: float) -> float:
    """Chance that the excess kurtosis of n normal draws is at least `value` away from 0."""
    mean = -6 / (n + 1)
    deviation = np.sqrt(24 * n * (n - 2) * (n - 3) / ((n + 1) ** 2 * (n + 3) * (n + 5)))
    root = 6 * (n**2 - 5 * n + 2) / ((n + 7) * (n + 9))
    root *= np.sqrt(6 * (n + 3) * (n + 5) / (n * (n - 2) * (n - 3)))
    a = 6 + 8 / root * (2 / root + np.sqrt(1 + 4 / root**2))

    def z(excess: float) -> float:
        below = 1 + (excess - mean) / deviation * np.sqrt(2 / (a - 4))
        cube = np.cbrt((1 - 2 / a) / below) if below > 0 else np.inf
        return float((1 - 2 / (9 * a) - cube) / np.sqrt(2 / (9 * a)))

    return float(ndtr(-z(value)) + ndtr(z(-value)))


def anderson_darling(
    X: Any,
    sample_weight: Any = None,
    *,
    weight_type: WeightType = "frequency",
    moments: Moments | None = None,
) -> float:
    r"""Largest Anderson-Darling statistic of a coordinate against the normal fitted to it.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
    sample_weight : array of shape (n,), optional
    weight_type : {"frequency", "probability"}, default="frequency"
    moments : Moments, optional
        Those of the rows, where they are at hand: saves a pass.

    Returns
    -------
    float
        At least 0; a single normal coordinate gets about 0.4. Grows with n for any other
        distribution. Constant coordinates do not count; NaN where all are. The p-value is
        Bonferroni's over the coordinates.

    Notes
    -----
    O(n d log n). Depends on the axes. In the form of an integral, which takes weights.

    References
    ----------
    Anderson & Darling 1954; D'Agostino & Stephens 1986, "Goodness-of-fit techniques", table 4.9.
    """
    moments = _moments(X, sample_weight, weight_type, moments)
    live, deviations = _live_columns(moments)
    if not live.size:
        return float("nan")
    share, found = _shares(X, sample_weight), 0.0
    step = _columns_at_once(moments)
    # The test standardizes by the variance over n - 1.
    n = moments.n_effective
    deviations = deviations * np.sqrt(n / (n - 1))
    for first in range(0, live.size, step):
        columns, scales = live[first : first + step], deviations[first : first + step]
        blocks = (block[:, columns] for block, _ in _blocks(X, sample_weight))
        Z = (np.concatenate(list(blocks)) - moments.mean[columns]) / scales
        found = max(found, float(_anderson_darling(Z, share).max()) * n)
    return found


def _anderson_darling(Z: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The integral of (F_n - u)^2 / (u (1 - u)) over u, in closed form between the values."""
    order = np.argsort(Z, axis=0)
    values = np.take_along_axis(Z, order, axis=0)
    # The integrand is -1 + c^2 / u + (1 - c)^2 / (1 - u) where F_n is c.
    levels = np.cumsum(share[order], axis=0)
    before = levels - share[order]
    steps = np.square(before) - np.square(levels)
    steps_down = np.square(1 - levels) - np.square(1 - before)
    steps_down[-1] = -np.square(1 - before[-1])
    return (steps * log_ndtr(values) + steps_down * log_ndtr(-values)).sum(0) - 1


def _anderson_darling_tail(value: float, n: float) -> float:
    """Chance of at least `value` with mean and variance estimated (D'Agostino & Stephens 1986)."""
    a = value * (1 + 0.75 / n + 2.25 / n**2)
    if a < 0.2:
        return float(1 - np.exp(-13.436 + 101.14 * a - 223.73 * a**2))
    if a < 0.34:
        return float(1 - np.exp(-8.318 + 42.796 * a - 59.938 * a**2))
    if a < 0.6:
        return float(np.exp(0.9177 - 4.279 * a - 1.38 * a**2))
    # The fitted parabola turns up beyond its range.
    return float(np.exp(1.2937 - 5.709 * a + 0.0186 * a**2)) if a < 13 else 0.0


_TAILS: dict[str, tuple[Callable[[float, float], float], int]] = {
    "skewness": (_skewness_tail, 9),
    "kurtosis": (_kurtosis_tail, 20),
    "anderson_darling": (_anderson_darling_tail, 8),
}


def coordinate_pvalue(which: str, value: float, moments: Moments) -> float:
    """Bonferroni's over the coordinates that vary; NaN for too few rows for the approximation."""
    tail, least = _TAILS[which]
    n = moments.n_effective
    if np.isnan(value) or n < least:
        return float("nan")
    return min(1.0, _live_columns(moments)[0].size * tail(value, n))


@lru_cache(maxsize=256)
def coordinate_floor(which: str, n: float, d: int) -> float | None:
    """The median of the largest of d, by bisection of the tail."""
    tail, least = _TAILS[which]
    if n < least:
        return None
    wanted, low, high = 1 - 0.5 ** (1 / d), 0.0, 12.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle, n) > wanted else (low, middle)
    return high


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
    Metric(
        name="epps_pulley",
        title="sliced Epps-Pulley (SIGReg) to a Gaussian",
        function=sliced_epps_pulley,
        range=(0.0, 7.5),
        ideal=0.0,
        better="lower",
        needs="rows",
        cost="O(n d k), k = 128 slices",
        source="Epps & Pulley 1983; Balestriero & LeCun 2025",
        floor=epps_pulley_floor,
        takes_moments=True,
    ),
    Metric(
        name="sliced_wasserstein",
        title="sliced 2-Wasserstein to a Gaussian",
        function=sliced_wasserstein,
        range=(0.0, np.inf),
        ideal=0.0,
        better="lower",
        needs="rows",
        cost="O(n d k), k = 128 slices",
        source="Rabin et al. 2011",
        floor=wasserstein_floor,
        takes_moments=True,
    ),
    Metric(
        name="henze_zirkler",
        title="largest Henze-Zirkler of projections to 3-D",
        function=henze_zirkler,
        range=(0.0, np.inf),
        ideal=None,
        better="lower",
        needs="rows",
        cost="O(n d) and 3e7 exponentials",
        source="Henze & Zirkler 1990",
        floor=henze_zirkler_floor,
        value_p_value=henze_zirkler_pvalue,
        within_rank=True,
        takes_moments=True,
        jumps="it is the largest of several values",
        slow=True,
    ),
    Metric(
        name="coordinate_skewness",
        title="largest absolute skewness of a coordinate",
        function=coordinate_skewness,
        range=(0.0, np.inf),
        ideal=0.0,
        better="lower",
        needs="rows",
        cost="O(n d)",
        source="D'Agostino 1970",
        floor=partial(coordinate_floor, "skewness"),
        value_p_value=partial(coordinate_pvalue, "skewness"),
        takes_moments=True,
        jumps="it is the largest of several values",
    ),
    Metric(
        name="coordinate_kurtosis",
        title="largest absolute excess kurtosis of a coordinate",
        function=coordinate_kurtosis,
        range=(0.0, np.inf),
        ideal=0.0,
        better="lower",
        needs="rows",
        cost="O(n d)",
        source="Anscombe & Glynn 1983",
        floor=partial(coordinate_floor, "kurtosis"),
        value_p_value=partial(coordinate_pvalue, "kurtosis"),
        takes_moments=True,
        jumps="it is the largest of several values",
    ),
    Metric(
        name="anderson_darling",
        title="largest Anderson-Darling statistic of a coordinate",
        function=anderson_darling,
        range=(0.0, np.inf),
        ideal=None,
        better="lower",
        needs="rows",
        cost="O(n d log n)",
        source="Anderson & Darling 1954",
        floor=partial(coordinate_floor, "anderson_darling"),
        value_p_value=partial(coordinate_pvalue, "anderson_darling"),
        takes_moments=True,
        jumps="it is the largest of several values",
    ),
)
