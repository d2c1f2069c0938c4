"""How normal single coordinates are: skewness, kurtosis, Anderson-Darling."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
from scipy.special import log_ndtr, ndtr

from isotropy.metrics._inputs import (
    WeightType,
    variances,
)
from isotropy.metrics._shape import (
    columns_at_once,
    moments_of,
    shares,
    weighted_blocks,
)
from isotropy.metrics.registry import Metric
from isotropy.moments import Moments

__all__ = ["anderson_darling", "coordinate_kurtosis", "coordinate_skewness"]


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
        At least 0, ideal 0. Constant coordinates do not count; NaN where all are. The p-value is
        Bonferroni's over the coordinates, by D'Agostino's transform.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, `sample_weight` or an option does not fit, or
        Moments come in the place of the rows it needs.

    Notes
    -----
    O(n d). Depends on the axes.

    References
    ----------
    D'Agostino 1970, "Transformation to normality of the null distribution of g1".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import coordinate_skewness
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(coordinate_skewness(X), 1), round(coordinate_skewness(X**3), 1)
    (0.2, 4.1)
    """
    moments = moments_of(X, sample_weight, weight_type, moments)
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
        At least 0, ideal 0. Constant coordinates do not count; NaN where all are. The p-value is
        Bonferroni's over the coordinates, by the transform of Anscombe and Glynn.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, `sample_weight` or an option does not fit, or
        Moments come in the place of the rows it needs.

    Notes
    -----
    O(n d). Depends on the axes.

    References
    ----------
    Anscombe & Glynn 1983, "Distribution of the kurtosis statistic b2 for normal samples".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import coordinate_kurtosis
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(coordinate_kurtosis(X), 1), round(coordinate_kurtosis(X**3), 0)
    (0.2, 67.0)
    """
    moments = moments_of(X, sample_weight, weight_type, moments)
    return _largest_moment(X, sample_weight, moments, odd=False)


def _largest_moment(X: Any, sample_weight: Any, moments: Moments, odd: bool) -> float:
    live, deviations = _live_columns(moments)
    if not live.size:
        return float("nan")
    total, sums = 0.0, np.zeros(live.size)
    for block, weights in weighted_blocks(X, sample_weight):
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
        At least 0; a single normal coordinate gets about 0.4. Grows with n for any other
        distribution. Constant coordinates do not count; NaN where all are. The p-value is
        Bonferroni's over the coordinates.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, `sample_weight` or an option does not fit, or
        Moments come in the place of the rows it needs.

    Notes
    -----
    O(n d log n). Depends on the axes. In the form of an integral, which takes weights.

    References
    ----------
    Anderson & Darling 1954; D'Agostino & Stephens 1986, "Goodness-of-fit techniques", table 4.9.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import anderson_darling
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(anderson_darling(X), 1), round(anderson_darling(X**3), 1)
    (1.0, 69.0)
    """
    moments = moments_of(X, sample_weight, weight_type, moments)
    live, deviations = _live_columns(moments)
    if not live.size:
        return float("nan")
    share, found = shares(X, sample_weight), 0.0
    step = columns_at_once(moments)
    # The test standardizes by the variance over n - 1.
    n = moments.n_effective
    deviations = deviations * np.sqrt(n / (n - 1))
    for first in range(0, live.size, step):
        columns, scales = live[first : first + step], deviations[first : first + step]
        blocks = (block[:, columns] for block, _ in weighted_blocks(X, sample_weight))
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
