"""Exact nearest neighbours, in blocks that never make an n x n matrix."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from isotropy.metrics._search import Points, search
from isotropy.rows.arrays import raise_on_bad_row
from isotropy.rows.door import as_rows

__all__ = ["Neighbors", "nearest_neighbors"]

Measure = Literal["cosine", "dot", "euclidean"]
_MEASURES = ("cosine", "dot", "euclidean")


class Neighbors(NamedTuple):
    """Nearest rows of each query.

    Parameters
    ----------
    indices : ndarray of int64, shape (n, n_neighbors)
        Of the rows, nearest first.
    values : ndarray of float64, shape (n, n_neighbors)
        Their cosine or dot product, falling, or their Euclidean distance, rising.

    Examples
    --------
    >>> from isotropy.metrics import nearest_neighbors
    >>> found = nearest_neighbors([[0.0], [1.0], [3.0]], 1, measure="euclidean")
    >>> found.indices.ravel().tolist(), found.values.ravel().tolist()
    ([1, 0, 1], [1.0, 1.0, 2.0])
    """

    indices: np.ndarray
    values: np.ndarray


def nearest_neighbors(
    X: Any, n_neighbors: int = 10, *, queries: Any = None, measure: Measure = "cosine"
) -> Neighbors:
    r"""The nearest rows of each row, or of each query, exactly.

    Parameters
    ----------
    X : array of shape (n, d), tensor or `isotropy.io` rows
        Any real numbers; float16 to float64 and integers are searched as they are. A tensor on a
        device is searched there.
    n_neighbors : int, default=10
        From 1 to n, or to n - 1 for the rows among themselves.
    queries : array of shape (m, d), optional
        By default the rows themselves, none of which is its own neighbour; equal rows are
        neighbours of one another.
    measure : {"cosine", "dot", "euclidean"}, default="cosine"
        A zero row has a cosine of 0 with everything.

    Returns
    -------
    Neighbors
        Indices and values, those of a search through all pairs in float64. Of rows at the same
        distance (for "dot", of the same product) the one of lower index comes first. By "cosine"
        that is the distance between the rows scaled to length one, which still tells
        near-duplicates apart where all their cosines round to 1.

    Raises
    ------
    ValueError
        If `n_neighbors` is not from 1 to the number of other rows, `measure` is not one of the
        three, queries have other columns than the rows, or a value is not finite or an integer
        beyond 2^53, which float64 does not hold.

    Notes
    -----
    O(n^2 d) for the rows among themselves, each product taken once for both of its rows, O(m n d)
    for queries; memory O(n n_neighbors) beside the rows, two copies of them in float32 and a few
    blocks.

    Products in float32, of rows about their mean, only leave rows out, each by an upper bound that
    has the largest rounding error in it (``gamma_d |a| |b|``, Higham 2002, section 3.1). What is
    left is measured in float64 by differences. A query for which the bounds leave too much, as in
    tight clusters, is searched once more with products in float64.

    Examples
    --------
    >>> from isotropy.metrics import nearest_neighbors
    >>> nearest_neighbors([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]], 1).indices.ravel().tolist()
    [1, 0, 1]
    """
    if measure not in _MEASURES:
        raise ValueError(f"measure must be one of {_MEASURES}, got {measure!r}.")
    X = as_rows(X)
    rows = numeric_rows(X, "X")
    asked = None if queries is None else numeric_rows(queries, "queries")
    if asked is not None and asked.shape[1] != rows.shape[1]:
        raise ValueError(
            f"queries have {asked.shape[1]} columns, the rows {rows.shape[1]}: they must be "
            "embeddings of one encoder."
        )
    k = _count(n_neighbors, len(rows), among_themselves=asked is None)
    if asked is not None and not len(asked):
        return Neighbors(np.empty((0, k), np.int64), np.empty((0, k)))
    unit = measure == "cosine"
    exponent, exponent_asked = _exponents(rows, rows if asked is None else asked, measure)
    points = Points(rows, unit, exponent)
    queried = None if asked is None else Points(asked, unit, exponent_asked)
    indices, keys = search(points, queried, k, dot=measure == "dot", device=X.device)
    if measure == "dot":
        return Neighbors(indices, np.ldexp(-keys, exponent + exponent_asked))
    if measure == "euclidean":
        return Neighbors(indices, np.ldexp(keys, exponent))
    cosines = np.maximum(1 - keys**2 / 2, -1.0)
    cosines[points.zero[indices] | (queried or points).zero[:, None]] = 0.0
    return Neighbors(indices, cosines)


def _exponents(rows: np.ndarray, asked: np.ndarray, measure: Measure) -> tuple[int, int]:
    """Powers of two to divide rows and queries by, so that no square leaves float64.

    Differences need one in common; products rank the same with one for each side.
    """
    if measure == "cosine":  # each row has its own
        return 0, 0
    # 2^1000 times the smallest numbers is enough, and a larger factor would not be finite.
    own, others = (
        max(int(np.frexp(float(np.abs(part).max(initial=0)))[1]), -1000) for part in (rows, asked)
    )
    if measure == "euclidean":
        own = others = max(own, others)
    return own, others


_EXACT = 2**53


def numeric_rows(X: Any, name: str) -> np.ndarray:
    """The rows in memory, of a type that float64 holds exactly; a row not finite is named."""
    X = as_rows(X, name=name).in_memory()
    raise_on_bad_row(X, 0, name=name)
    if X.dtype.kind in "iu" and X.dtype.itemsize == 8:
        largest = max(int(X.max(initial=0)), -int(X.min(initial=0)))
        if largest > _EXACT:
            raise ValueError(
                f"{name} holds the integer {largest:,}, beyond 2^53 = {_EXACT:,}: float64, in "
                "which rows are compared, does not tell such integers apart. Subtract what they "
                "have in common, or divide them, first."
            )
    return X


def _count(n_neighbors: Any, n: int, *, among_themselves: bool) -> int:
    most = n - among_themselves
    k = n_neighbors
    if isinstance(k, bool) or k != int(k) or not 1 <= k <= most:
        raise ValueError(
            f"n_neighbors must be an integer from 1 to {most}, the number of rows"
            f"{' less one' * among_themselves}, got {n_neighbors!r}."
        )
    return int(k)
