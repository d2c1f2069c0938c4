"""Exact nearest neighbours, in blocks that never make an n x n matrix."""

from __future__ import annotations

import threading
from itertools import count
from typing import Any, Literal, NamedTuple

import numpy as np

from isotropy.metrics._inputs import in_memory
from isotropy.rows.arrays import (
    as_matrix,
    is_block_source,
    is_torch,
    raise_on_bad_row,
    spread,
    workers_for,
)

__all__ = ["Neighbors", "nearest_neighbors"]

Measure = Literal["cosine", "dot", "euclidean"]
_MEASURES = ("cosine", "dot", "euclidean")
_BLOCK = 1024
# Kept beside the k nearest until their values are computed anew in float64.
_SPARE = 4


class Neighbors(NamedTuple):
    """Nearest rows of each query.

    Attributes
    ----------
    indices : ndarray of int64, shape (n, k)
        Of the rows, nearest first.
    values : ndarray of float64, shape (n, k)
        Their cosine or dot product, falling, or their Euclidean distance, rising.
    """

    indices: np.ndarray
    values: np.ndarray


def nearest_neighbors(
    X: Any, k: int = 10, *, queries: Any = None, measure: Measure = "cosine"
) -> Neighbors:
    """The k nearest rows of each row, or of each query, exactly.

    Parameters
    ----------
    X : array of shape (n, d), tensor or `isotropy.io` rows
        A tensor on a device is searched there.
    k : int, default=10
    queries : array of shape (m, d), optional
        By default the rows themselves, none of which is its own neighbour; equal rows are
        neighbours of one another.
    measure : {"cosine", "dot", "euclidean"}, default="cosine"
        A zero row has a cosine of 0 with everything.

    Returns
    -------
    Neighbors
        Indices and values. Of equal values the lower index comes first.

    Raises
    ------
    ValueError
        Where k is not from 1 to the number of other rows, or a value is not finite.

    Notes
    -----
    O(n^2 d) for the rows among themselves, each product taken once for both of its rows, O(m n d)
    for queries; memory O(n k) beside the rows and a few blocks. Products are of float32 for
    rows of float32 or less; the values of those found are computed anew in float64, and four more
    than k are kept until then.

    Examples
    --------
    >>> from isotropy.metrics import nearest_neighbors
    >>> nearest_neighbors([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]], k=1).indices.ravel().tolist()
    [1, 0, 1]
    """
    if measure not in _MEASURES:
        raise ValueError(f"measure must be one of {_MEASURES}, got {measure!r}.")
    source = X.array if is_block_source(X) and getattr(X, "array", None) is not None else X
    on_device = is_torch(source) and source.device.type != "cpu"
    rows = as_matrix(source) if on_device else _float_rows(X, "X")
    itself, asked = queries is None, rows
    if not itself:
        asked = _like(queries, rows) if on_device else _float_rows(queries, "queries")
        if asked.shape[1] != rows.shape[1]:
            raise ValueError(
                f"queries have {asked.shape[1]} columns, the rows {rows.shape[1]}: they must be "
                "embeddings of one encoder."
            )
    most = len(rows) - itself
    if isinstance(k, bool) or k != int(k) or not 1 <= k <= most:
        raise ValueError(
            f"k must be an integer from 1 to {most}, the number of rows"
            f"{' less one' * itself}, got {k!r}."
        )
    k = int(k)
    if on_device:
        return _on_device(rows, asked, k, itself, measure)
    kept = min(k + _SPARE, most)
    if not len(asked):
        return Neighbors(np.empty((0, k), np.int64), np.empty((0, k)))
    found = _search(*_prepared(rows, asked, itself, measure), kept, itself)
    return _valued(rows, asked, found, k, measure)


def _float_rows(X: Any, name: str) -> np.ndarray:
    X = in_memory(X)
    if X.dtype != np.float64:
        X = X.astype(np.float32, copy=False)
    raise_on_bad_row(X, 0, name=name)
    return X


def _unit(X: np.ndarray) -> np.ndarray:
    largest = np.abs(X).max(axis=1, keepdims=True, initial=0)
    X = X / np.where(largest > 0, largest, 1)
    lengths = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(lengths > 0, lengths, 1)


def _prepared(
    rows: np.ndarray, asked: np.ndarray, itself: bool, measure: Measure
) -> tuple[np.ndarray, np.ndarray]:
    """Queries A and rows B such that the nearest have the largest product."""
    if measure == "cosine":
        B = _unit(rows)
        return (B if itself else _unit(asked)), B
    if measure == "dot":
        return asked, rows
    # Half the squared distance, less than 0, as a product; of centred rows, which are smaller.
    mean = rows.mean(0)
    A, B = asked - mean, rows - mean
    return _augmented(A, 1), _augmented(B, 0)


def _augmented(X: np.ndarray, first: int) -> np.ndarray:
    halves = -np.einsum("ij,ij->i", X, X)[:, None] / 2
    ones = np.ones_like(halves)
    return np.hstack([X, halves, ones] if first else [X, ones, halves])


class _Best:
    """The largest products so far of each row, and the least of them, which others must pass."""

    def __init__(self, n: int, k: int, dtype: Any) -> None:
        self.values = np.full((n, k), -np.inf, dtype=dtype)
        self.indices = np.full((n, k), -1, dtype=np.int64)
        self.least = np.full(n, -np.inf, dtype=dtype)
        self.locks = [threading.Lock() for _ in range(-(-n // _BLOCK))]

    def take(self, products: np.ndarray, first: int, other: int, *, columns: bool = False) -> None:
        """Take in products of rows from `first` with rows from `other`.

        Theirs are the rows of `products`, or its columns.
        """
        n, width = products.shape[::-1] if columns else products.shape
        rows = slice(first, first + n)
        least = self.least[rows]
        mask = products > (least if columns else least[:, None])
        where = np.flatnonzero(mask)
        if not len(where):
            return
        k = self.values.shape[1]
        if len(where) > mask.size // 8 and width > k:
            # Most pass, as at the first block: the largest k of each row are enough.
            own = products.T if columns else products
            found = np.argpartition(-own, k - 1, axis=1)[:, :k].ravel()
            which = np.repeat(np.arange(n), k)
            passing = own[which, found]
        else:
            which, found = np.divmod(where, products.shape[1])
            passing = products.ravel()[where]
            which, found = (found, which) if columns else (which, found)
        with self.locks[first // _BLOCK]:
            self._merge(rows, which, found + other, passing)

    def _merge(
        self, rows: slice, which: np.ndarray, columns: np.ndarray, passing: np.ndarray
    ) -> None:
        values, indices = self.values[rows], self.indices[rows]
        touched, position = np.unique(which, return_inverse=True)
        k = values.shape[1]
        everything = np.concatenate([values[touched].ravel(), passing])
        candidates = np.concatenate([indices[touched].ravel(), columns])
        owner = np.concatenate([np.repeat(np.arange(len(touched)), k), position])
        order = np.lexsort((-everything, owner))
        begins = np.searchsorted(owner[order], np.arange(len(touched)))
        kept = order[begins[:, None] + np.arange(k)]
        values[touched], indices[touched] = everything[kept], candidates[kept]
        self.least[rows][touched] = everything[kept[:, -1]]


def _search(A: np.ndarray, B: np.ndarray, k: int, itself: bool) -> np.ndarray:
    """Indices (m, k) of the rows of B of largest product with each row of A, in no order."""
    best = _Best(len(A), k, A.dtype)
    starts = range(0, len(A), _BLOCK), range(0, len(B), _BLOCK)
    if itself:  # each product serves both of its rows
        tasks = [(i, j) for i in starts[0] for j in starts[1] if j >= i]
    else:
        tasks = [(i, j) for i in starts[0] for j in starts[1]]
    turn, n_workers = count(), workers_for(len(tasks))

    def work(worker: int) -> None:
        buffer = np.empty((_BLOCK, _BLOCK), dtype=A.dtype)
        while (index := next(turn)) < len(tasks):
            i, j = tasks[index]
            a, b = A[i : i + _BLOCK], B[j : j + _BLOCK]
            whole = len(a) == len(b) == _BLOCK
            products = np.matmul(a, b.T, out=buffer if whole else None)
            if itself and i == j:
                np.fill_diagonal(products, -np.inf)
            best.take(products, i, j)
            if itself and i != j:
                best.take(products, j, i, columns=True)

    spread(work, n_workers)
    return best.indices


def _valued(
    rows: np.ndarray, asked: np.ndarray, found: np.ndarray, k: int, measure: Measure
) -> Neighbors:
    """The k nearest of those found, by values in float64."""
    values = np.empty(found.shape)
    for start in range(0, len(asked), _BLOCK):
        part = slice(start, start + _BLOCK)
        near, own = rows[found[part]].astype(np.float64), asked[part, None].astype(np.float64)
        if measure == "euclidean":
            values[part] = -np.linalg.norm(near - own, axis=2)
            continue
        products = (near * own).sum(2)
        if measure == "cosine":
            lengths = np.linalg.norm(near, axis=2) * np.linalg.norm(own, axis=2)
            products /= np.where(lengths > 0, lengths, 1)
        values[part] = products
    order = np.lexsort((found, -values), axis=1)[:, :k]
    values = np.take_along_axis(values, order, axis=1)
    indices = np.take_along_axis(found, order, axis=1)
    return Neighbors(indices, -values if measure == "euclidean" else values)


# -- devices -------------------------------------------------------------------------------------


def _like(queries: Any, rows: Any) -> Any:
    import torch

    tensor = queries if is_torch(queries) else torch.as_tensor(in_memory(queries))
    return tensor.to(rows.device)


def _on_device(rows: Any, asked: Any, k: int, itself: bool, measure: Measure) -> Neighbors:
    """The same with torch, on the device of the rows."""
    import torch

    rows, asked = (
        t.detach().to(torch.promote_types(t.dtype, torch.float32)) for t in (rows, asked)
    )
    for name, t in (("X", rows), ("queries", asked)):
        raise_on_bad_row(t, 0, name=name)
    if measure == "cosine":
        rows, asked = (torch.nn.functional.normalize(t, dim=1) for t in (rows, asked))
    elif measure == "euclidean":
        mean = rows.mean(0)
        rows, asked = rows - mean, asked - mean
    halves = rows.square().sum(1) / 2 if measure == "euclidean" else None
    kept = min(k + _SPARE, len(rows) - itself)
    indices, values = [], []
    step = max(1, 2**28 // max(1, len(rows)))
    for start in range(0, len(asked), step):
        own = asked[start : start + step]
        products = own @ rows.T
        if halves is not None:
            products -= halves
        if itself:
            products.diagonal(start).fill_(-torch.inf)
        found = products.topk(kept, dim=1).indices
        near, own = rows[found].double(), own[:, None].double()
        exact = -(near - own).norm(dim=2) if halves is not None else (near * own).sum(2)
        exact, order = exact.sort(dim=1, descending=True, stable=True)
        indices.append(found.gather(1, order)[:, :k].cpu().numpy())
        values.append(exact[:, :k].cpu().numpy())
    found, value = np.concatenate(indices), np.concatenate(values)
    return Neighbors(found, -value if measure == "euclidean" else value)
