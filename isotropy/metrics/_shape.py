"""What the measures of shape share: rows in blocks with weights, whitened or mapped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from isotropy.metrics._inputs import (
    NeedsRows,
    WeightType,
    eigenvalues,
    gather,
    row_blocks,
)
from isotropy.moments import Moments

__all__ = [
    "columns_at_once",
    "has_spread",
    "mapped",
    "moments_of",
    "shares",
    "weighted_blocks",
    "whitening",
]

_VALUES_AT_ONCE = 2**21


def moments_of(
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


def weighted_blocks(X: Any, sample_weight: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of rows in float64 with their weights, rows of no weight left out."""
    for block, weights in row_blocks(X, sample_weight):
        if weights is None:
            yield block, np.ones(len(block))
        else:
            yield block[weights > 0], weights[weights > 0]


def mapped(X: Any, sample_weight: Any, mean: np.ndarray, A: np.ndarray) -> np.ndarray:
    return np.concatenate([(block - mean) @ A for block, _ in weighted_blocks(X, sample_weight)])


def shares(X: Any, sample_weight: Any) -> np.ndarray:
    """The weights of the rows that `_mapped` gives, summing to 1."""
    weights = np.concatenate([weights for _, weights in weighted_blocks(X, sample_weight)])
    return weights / weights.sum()


def whitening(moments: Moments) -> np.ndarray | None:
    """(d, r) that whitens centred rows; None where n is too small for any shape but a simplex."""
    values, vectors = moments.spectrum(0)
    r = moments.rank()
    if r == 0 or moments.n_effective <= r + 1:
        return None
    return vectors[:, :r] / np.sqrt(values[:r])


def columns_at_once(moments: Moments) -> int:
    return max(1, _VALUES_AT_ONCE // max(moments.n_rows, 1))


def has_spread(moments: Moments) -> bool:
    return moments.n_effective > 1 and bool(eigenvalues(moments)[0] > 0)
