"""What resampling starts from: rows dealt to groups at random, and small jobs on one thread."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from numbers import Real
from typing import Any

import numpy as np

from isotropy.moments import Moments, is_small
from isotropy.rows.arrays import single_threaded_blas

__all__ = ["deal", "is_whole", "quietly"]


def deal(n: int, n_groups: int, rng: np.random.Generator, *, size: int | None = None) -> np.ndarray:
    """The group of each of n rows, dealt at random.

    Groups differ in size by one row at most; or all have exactly `size` rows, and the rows that
    are left over get the label -1.
    """
    if size is None:
        return rng.permutation(np.arange(n) % n_groups)
    labels = np.full(n, -1)
    labels[: n_groups * size] = np.repeat(np.arange(n_groups), size)
    return rng.permutation(labels)


def is_whole(value: Any) -> bool:
    """Whether a value is an integer, or a real number without a fraction; True is none."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    return real and float(value).is_integer()


def quietly(*sets: Any) -> AbstractContextManager[None]:
    """One BLAS thread where every set is small: waking others takes longer than the work."""
    shapes = [_shape(X) for X in sets]
    return single_threaded_blas() if all(is_small(*shape) for shape in shapes) else nullcontext()


def _shape(X: Any) -> tuple[int, int]:
    if isinstance(X, Moments):
        return X.n_features, X.n_features
    n, *width = getattr(X, "shape", (len(X) if hasattr(X, "__len__") else 0,))
    return int(n), int(width[0]) if width else 1024
