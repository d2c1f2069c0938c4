"""Sliced distances to the isotropic Gaussian of the same size: Epps-Pulley and Wasserstein.

Rows are centred and divided by one number, the root of their mean variance: these see anisotropy
and shape.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import ndtri

from isotropy.metrics._inputs import (
    WeightType,
    eigenvalues,
)
from isotropy.metrics._shape import (
    columns_at_once,
    has_spread,
    mapped,
    moments_of,
    shares,
    weighted_blocks,
)
from isotropy.metrics.registry import Metric
from isotropy.moments import Moments
from isotropy.rows.arrays import namespace

__all__ = ["epps_pulley", "sliced_epps_pulley", "sliced_wasserstein"]

N_SLICES = 128
_KNOTS = np.linspace(0, 3, 17)


def _directions(moments: Moments, n_slices: int, random_state: int) -> np.ndarray:
    """(d, n_slices): random unit vectors, over the root of the mean variance."""
    scale = np.sqrt(eigenvalues(moments).sum() / moments.n_features)
    return random_directions(moments.n_features, n_slices, random_state) / scale


def random_directions(d: int, n_slices: int, random_state: int) -> np.ndarray:
    """(d, n_slices): unit vectors, uniform on the sphere; the same for metric and loss."""
    directions = np.random.default_rng(random_state).standard_normal((d, n_slices))
    return directions / np.linalg.norm(directions, axis=0)


def _check_slices(n_slices: int) -> int:
    if isinstance(n_slices, bool) or n_slices != int(n_slices) or n_slices < 1:
        raise ValueError(f"n_slices must be an integer of at least 1, got {n_slices!r}.")
    return int(n_slices)


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

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import epps_pulley
    >>> x = np.random.default_rng(0).normal(size=(2000, 1))
    >>> epps_pulley(x).round(1).tolist(), epps_pulley(x**2).round(1).tolist()
    ([0.0], [0.3])
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
        Frequencies: a row of weight w counts as w rows. By default each counts once.
    n_slices : int, default=128
        How many directions, at least 1.
    random_state : int, default=0
        Seed of the directions.
    weight_type : {"frequency", "probability"}, default="frequency"
        Whether a weight w is w rows, or a relative weight.
    moments : Moments, optional
        Those of the rows, where they are at hand: saves a pass.

    Returns
    -------
    float
        From 0 to 7.5; 0 for an isotropic Gaussian alone, of which n rows get about 0.57 / n. NaN
        where rows have no spread.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, `sample_weight` or an option does not fit, or
        Moments come in the place of the rows it needs.

    Notes
    -----
    Not multiplied by n, so that sets of any size compare. In hundreds of dimensions the slices
    of nearly anything isotropic are nearly normal: compare with the floor. O(n d n_slices).

    References
    ----------
    Balestriero & LeCun 2025, "LeJEPA: provable and scalable self-supervised learning without the
    heuristics"; Epps & Pulley 1983.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import sliced_epps_pulley
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(sliced_epps_pulley(X), 3), round(sliced_epps_pulley(X**3), 3)
    (0.001, 0.052)
    """
    n_slices = _check_slices(n_slices)
    moments = moments_of(X, sample_weight, weight_type, moments)
    if not has_spread(moments):
        return float("nan")
    directions, total = _directions(moments, n_slices, random_state), 0.0
    sums = np.zeros((len(_KNOTS), 2, n_slices))
    for block, weights in weighted_blocks(X, sample_weight):
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
        Frequencies: a row of weight w counts as w rows. By default each counts once.
    n_slices : int, default=128
        How many directions, at least 1.
    random_state : int, default=0
        Seed of the directions.
    weight_type : {"frequency", "probability"}, default="frequency"
        Whether a weight w is w rows, or a relative weight.
    moments : Moments, optional
        Those of the rows, where they are at hand: saves a pass.

    Returns
    -------
    float
        The root of the mean squared distance along random directions, in standard deviations:
        from 0, an isotropic Gaussian. NaN where rows have no spread.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, `sample_weight` or an option does not fit, or
        Moments come in the place of the rows it needs.

    Notes
    -----
    Exact along each direction: sorted values against the mean of each stretch of normal quantiles.
    O(n d n_slices + n_slices n log n).

    References
    ----------
    Rabin et al. 2011, "Wasserstein barycenter and its application to texture mixing".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import sliced_wasserstein
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(sliced_wasserstein(X), 1), round(sliced_wasserstein(X**3), 1)
    (0.1, 0.4)
    """
    n_slices = _check_slices(n_slices)
    moments = moments_of(X, sample_weight, weight_type, moments)
    if not has_spread(moments):
        return float("nan")
    directions, share = _directions(moments, n_slices, random_state), shares(X, sample_weight)
    total, step = 0.0, columns_at_once(moments)
    for first in range(0, n_slices, step):
        slices = mapped(X, sample_weight, moments.mean, directions[:, first : first + step])
        total += _wasserstein_squares(slices, share).sum()
    return float(np.sqrt(total / n_slices))


def _wasserstein_squares(slices: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Squared distance of each column to N(0, 1)."""
    if np.ptp(share):
        order = np.argsort(slices, axis=0)
        values, levels = np.take_along_axis(slices, order, axis=0), np.cumsum(share[order], axis=0)
    else:  # the same levels in every column
        values, levels = np.sort(slices, axis=0), np.cumsum(share)[:, None]
    squares = share @ np.square(slices) - 2 * (values * _stretches(levels)).sum(0) + 1
    return np.maximum(squares, 0.0)


def _stretches(levels: np.ndarray) -> np.ndarray:
    """The integral of the normal quantile from each level to the one before; the last is 1."""
    levels = np.minimum(levels, 1.0)
    levels[-1] = 1.0
    density = np.exp(-(ndtri(levels) ** 2) / 2) / np.sqrt(2 * np.pi)
    return -np.diff(density, axis=0, prepend=0.0)


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


REGISTERED = (
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
)
