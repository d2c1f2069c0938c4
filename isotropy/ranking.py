"""What is found first, and how good that is: shared by the choice of a correction and by tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.stats import rankdata

from isotropy.rows.arrays import unit_rows

__all__ = [
    "correlations",
    "cosines",
    "dcg",
    "first",
    "ndcg",
    "nearest",
    "rounded",
    "spearman",
    "unit",
    "vote",
]

_CELLS = 2**22
# Cosines of equal rows differ in their last bits, by their lengths and by where the kernel of the
# product puts them: ranks must not see that.
_DECIMALS = 12


def unit(rows: Any) -> np.ndarray:
    """Rows of length one in float64; zero rows stay.

    Parameters
    ----------
    rows : array of shape (n, d)
        Of any scale and type.

    Returns
    -------
    ndarray of shape (n, d)
        In float64.

    Examples
    --------
    >>> unit([[3e200, 4e200], [0.0, 0.0]]).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    unit: np.ndarray = unit_rows(np.asarray(rows, np.float64))
    return unit


def cosines(A: Any, B: Any) -> np.ndarray:
    """Cosines of the rows of `A` with those of `B`, pair by pair.

    Parameters
    ----------
    A, B : arrays of shape (n, d)
        Of any scale and type.

    Returns
    -------
    ndarray of shape (n,)
        -1 to 1, to 12 decimals, so that rounding makes no ranks; 0 for a zero row.

    Examples
    --------
    >>> cosines([[1.0, 0.0], [3.0, 3.0]], [[0.0, 1.0], [0.1, 0.1]]).tolist()
    [0.0, 1.0]
    """
    return rounded(np.einsum("ij,ij->i", unit(A), unit(B)))


def rounded(found: np.ndarray) -> np.ndarray:
    """Cosines to the 12 decimals that are surely known, within their range.

    Parameters
    ----------
    found : array of any shape

    Returns
    -------
    ndarray of the same shape

    Examples
    --------
    >>> rounded(np.array([1.0000000000000002, 0.1 + 0.2])).tolist()
    [1.0, 0.3]
    """
    return np.clip(np.round(found, _DECIMALS), -1, 1)


def correlations(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each row of `A` with that of `B`; 0 where one is constant.

    Parameters
    ----------
    A, B : arrays of shape (..., n)
        Of n values each.

    Returns
    -------
    ndarray of shape (...)
        -1 to 1.

    Examples
    --------
    >>> correlations(np.array([[1.0, 2.0], [1.0, 1.0]]), np.array([3.0, 4.0])).round(6).tolist()
    [1.0, 0.0]
    """
    A = A - A.mean(-1, keepdims=True)
    B = B - B.mean(-1, keepdims=True)
    scale = np.sqrt((A * A).sum(-1) * (B * B).sum(-1))
    found = np.where(scale > 0, (A * B).sum(-1) / np.where(scale > 0, scale, 1), 0.0)
    return np.clip(found, -1, 1)


def spearman(a: Any, b: Any) -> float:
    """Spearman's rank correlation with average ranks for ties; 0 where one side is constant.

    Parameters
    ----------
    a, b : arrays of shape (n,)
        Of any scale.

    Returns
    -------
    float
        -1 to 1.

    Examples
    --------
    >>> spearman([1, 2, 3], [10, 20, 15])
    0.5
    """
    return float(correlations(rankdata(a), rankdata(b)))


def first(scores: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k largest scores of each row, largest first; of equal ones the first column.

    Parameters
    ----------
    scores : array of shape (m, n)
        Larger for better.
    k : int
        All n columns where there are fewer than k.

    Returns
    -------
    ndarray of int, shape (m, min(k, n))

    Examples
    --------
    >>> first(np.array([[0.1, 0.7, 0.7, 0.3]]), 3).tolist()
    [[1, 2, 3]]
    """
    lost = -scores
    if k >= lost.shape[1]:
        return np.argsort(lost, axis=1, kind="stable")
    found = np.argpartition(lost, k - 1, axis=1)[:, :k]
    last = np.take_along_axis(lost, found[:, k - 1 :], 1)
    tied = np.flatnonzero((lost <= last).sum(1) > k)  # several share the last place
    found[tied] = np.argsort(lost[tied], axis=1, kind="stable")[:, :k]
    found.sort(axis=1)
    order = np.argsort(np.take_along_axis(lost, found, 1), axis=1, kind="stable")
    return np.take_along_axis(found, order, 1)


def nearest(
    queries: np.ndarray, rows: np.ndarray, k: int, *, itself: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The k rows of largest cosine with each query, exactly, a block of queries at a time.

    Parameters
    ----------
    queries : array of shape (m, d)
        Of any scale.
    rows : array of shape (n, d)
        What is searched.
    k : int
        All n rows where there are fewer than k.
    itself : bool, default=False
        Query i is row i, and not its own neighbour.

    Yields
    ------
    indices : ndarray of int, shape (block, k)
        Nearest first; of equal cosines the lower index. Cosines equal to 12 decimals are equal.
    cosines : ndarray of shape (block, k)

    Notes
    -----
    O(m n d), and some 2**22 cosines at a time.

    Examples
    --------
    >>> found = nearest(np.array([[1.0, 0.1]]), np.array([[0.0, 1.0], [1.0, 0.0]]), 2)
    >>> next(found)[0].tolist()
    [[1, 0]]
    """
    Q, X = unit(queries), unit(rows)
    step = max(1, _CELLS // max(1, len(X)))
    for start in range(0, len(Q), step):
        values = rounded(Q[start : start + step] @ X.T)
        if itself:
            own = np.arange(len(values))
            values[own, own + start] = -np.inf
        found = first(values, min(k, len(X) - itself))
        yield found, np.take_along_axis(values, found, 1)


def vote(found: np.ndarray, values: np.ndarray, labels: np.ndarray, n_labels: int) -> np.ndarray:
    """The label that the neighbours found give most weight: 1 + cosine, which is never negative.

    Parameters
    ----------
    found : int array of shape (m, k)
        Numbers of rows.
    values : array of shape (m, k)
        Their cosines.
    labels : int array of shape (n,)
        From 0 to `n_labels` - 1, of the rows.
    n_labels : int

    Returns
    -------
    ndarray of int, shape (m,)

    Examples
    --------
    >>> vote(np.array([[0, 1, 2]]), np.array([[0.9, 0.2, 0.1]]), np.array([0, 1, 1]), 2).tolist()
    [1]
    """
    votes = np.zeros((len(found), n_labels))
    np.add.at(votes, (np.arange(len(found))[:, None], labels[found]), 1 + values)
    return votes.argmax(1)


def ndcg(gains: Any, judged: Any, k: int = 10) -> float:
    """Normalized discounted cumulative gain of one query, as BEIR and TREC count it.

    Parameters
    ----------
    gains : array of shape (m,)
        The grades of what was found, first found first; 0 for what was not judged.
    judged : array of shape (n,)
        All grades that were given.
    k : int, default=10
        Places that count.

    Returns
    -------
    float
        0 to 1; 0 where nothing is relevant.

    Notes
    -----
    The gain is the grade itself, and a grade below 0 counts as 0, as in `trec_eval`'s ndcg_cut,
    which BEIR and MTEB call: Jarvelin & Kekalainen, TOIS 2002, with the discount log2(rank + 1).
    Some others take 2**grade - 1; for grades of 0 and 1 the two are the same.

    Examples
    --------
    >>> round(ndcg([0, 2, 1], [1, 2, 0]), 4)
    0.6697
    """
    ideal = dcg(np.sort(np.asarray(judged, np.float64))[::-1], k)
    return float(dcg(gains, k) / ideal) if ideal > 0 else 0.0


def dcg(gains: Any, k: int = 10) -> np.ndarray:
    """Discounted cumulative gain, of one query or of many.

    Parameters
    ----------
    gains : array of shape (..., m)
        Grades, first found first; those below 0 count as 0.
    k : int, default=10
        Places that count.

    Returns
    -------
    ndarray of shape (...)

    Examples
    --------
    >>> dcg([[1.0, 0.0, 1.0], [0.0, -1.0, 0.0]]).tolist()
    [1.5, 0.0]
    """
    found = np.maximum(np.asarray(gains, np.float64)[..., :k], 0)
    total: np.ndarray = found @ (1 / np.log2(np.arange(2, found.shape[-1] + 2)))
    return total
