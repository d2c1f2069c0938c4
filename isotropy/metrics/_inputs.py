"""What every metric starts from: moments of the right kind, and what they say of unit rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from isotropy.moments import Moments, as_moments, fixed_eigh
from isotropy.rows.arrays import block_rows, check_weights, to_numpy
from isotropy.rows.door import as_rows
from isotropy.rows.source import MemoryRows, Rows

__all__ = [
    "NeedsRows",
    "UnitRows",
    "eigenvalues",
    "gather",
    "rescaled",
    "row_blocks",
    "uncentred_spectrum",
    "variances",
]


WeightType = Literal["frequency", "probability"]


class NeedsRows(ValueError):
    """The moments at hand lack what a metric needs; passing the rows in their place helps.

    Examples
    --------
    >>> from isotropy import Moments
    >>> from isotropy.metrics import NeedsRows, uniformity
    >>> try:
    ...     uniformity(Moments().update([[1.0, 0.0], [0.0, 1.0]]))
    ... except NeedsRows as reason:
    ...     print(reason)
    needs the rows: it meets every pair of them
    """


def gather(
    X: Any,
    sample_weight: Any,
    unit: Literal["sums", "gram", "none"] = "none",
    weight_type: WeightType = "frequency",
    *,
    as_is: bool = False,
) -> Moments:
    """`X` itself if it is Moments, else the moments of its rows; there must be some.

    Those of `rescaled` rows, unless `as_is`: for metrics that do not depend on the scale.
    """
    if not (as_is or isinstance(X, Moments)):
        X = rescaled(X)
    moments = as_moments(X, sample_weight, unit=unit, weight_type=weight_type)
    if not moments.n_features:
        raise ValueError("X holds no rows of positive weight (0 samples): nothing to measure.")
    if moments.weight_type == "frequency" and moments.total_weight <= 1 < moments.n_rows:
        raise ValueError(
            f"sample_weight sums to {moments.total_weight:.6g} over {moments.n_rows} rows. Weights "
            "that sum to 1 are probabilities: score(X, sample_weight=..., "
            "weight_type='probability'), or pass Moments(weight_type='probability')."
        )
    return moments


_FOURTH_POWERS_FIT = 2.0**200


def rescaled(X: Any) -> Rows:
    """The rows, in memory over a power of two where their fourth powers would leave float64.

    The same rows give the same power, so what several functions make of them fits together. Rows
    that lie in files come as they are; no type but float64 reaches so far.
    """
    rows = as_rows(X)
    if not isinstance(rows, MemoryRows):
        return rows
    array = rows.in_memory()
    if array.dtype != np.float64:
        return rows
    with np.errstate(invalid="ignore"):
        size = max(float(array.max(initial=0.0)), -float(array.min(initial=0.0)))
    if not np.isfinite(size) or size == 0 or 1 / _FOURTH_POWERS_FIT < size < _FOURTH_POWERS_FIT:
        return rows
    return as_rows(np.ldexp(array, -int(np.frexp(size)[1])))


def row_blocks(X: Any, sample_weight: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Blocks of the `rescaled` rows of `X` in float64, each with its weights."""
    rows = rescaled(X)
    weights, first = check_weights(sample_weight, len(rows)), 0
    for source in rows.blocks(block_rows(rows.shape[1], 8)):
        block = to_numpy(source).astype(np.float64, copy=False)
        part = slice(first, first + len(block))
        yield block, None if weights is None else weights[part]
        first += len(block)


def _require_second_order(moments: Moments) -> None:
    if moments.scatter is None:
        raise NeedsRows("needs the covariance: pass the rows, or Moments of order=4")


def eigenvalues(moments: Moments) -> np.ndarray:
    """Eigenvalues of the covariance (ddof=0), falling, with rounding noise set to zero.

    All are zero where there is no spread: a single row, or rows that are all the same.
    """
    _require_second_order(moments)
    values = moments.spectrum(0)[0]
    return np.where(values > moments.noise_floor(float(values[0])), values, 0.0)


def variances(moments: Moments) -> np.ndarray:
    """Variance (ddof=0) of each dimension, with rounding noise set to zero."""
    _require_second_order(moments)
    values = np.diag(moments.covariance(0))
    return np.where(values > moments.noise_floor(float(values.max())), values, 0.0)


def uncentred_spectrum(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (falling, rounding noise set to zero) and eigenvectors of X'X / n."""
    _require_second_order(moments)
    if "uncentred" not in moments._eigen:
        moments._eigen["uncentred"] = fixed_eigh(moments.second_moment())
    values, vectors = moments._eigen["uncentred"]
    return np.where(values > moments.noise_floor(float(values[0])), values, 0.0), vectors


@dataclass(frozen=True)
class UnitRows:
    """What moments say about the rows scaled to length one; zero rows do not count."""

    moments: Moments

    def __post_init__(self) -> None:
        if self.moments.unit_sum is None:
            raise NeedsRows("needs sums of unit rows: pass the rows, or Moments(unit='sums')")

    @cached_property
    def n(self) -> float:
        """How many rows: the sum of frequencies, Kish's size for probabilities."""
        total, squares = self.moments.unit_weight, self.moments.unit_weight2
        if not total > 0:
            return 0.0
        return total if self.moments.weight_type == "frequency" else total**2 / squares

    @cached_property
    def mean(self) -> np.ndarray:
        """The mean of the unit rows, (d,)."""
        assert self.moments.unit_sum is not None
        return self.moments.unit_sum / self.moments.unit_weight

    @cached_property
    def self_products(self) -> np.ndarray:
        """What rows that meet themselves add to the square of the mean, by dimension, (d,)."""
        assert self.moments.unit_square_sum is not None
        return self.moments.unit_square_sum / self.moments.unit_weight**2

    @cached_property
    def mean_square(self) -> float:
        """Squared length of the mean: the mean cosine with self-pairs included."""
        return min(1.0, float(self.mean @ self.mean))

    @cached_property
    def covariance(self) -> np.ndarray:
        """Covariance (d, d) of the unit rows, ddof=0."""
        if self.moments.unit_gram is None:
            raise NeedsRows(
                "needs the Gram matrix of unit rows: pass the rows, or Moments(unit='gram')"
            )
        return self.moments.unit_gram / self.moments.unit_weight - np.outer(self.mean, self.mean)
