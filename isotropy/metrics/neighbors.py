"""Exact nearest neighbours, in blocks."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from .._rows import raise_on_bad_row
from ._inputs import in_memory

__all__ = ["Neighbors", "nearest_neighbors"]

Measure = Literal["cosine", "dot", "euclidean"]
_MEASURES = ("cosine", "dot", "euclidean")
_BLOCK = 1024


class Neighbors(NamedTuple):
    """Indices (n, k) of the nearest rows, nearest first, and their similarity or distance."""

    indices: np.ndarray
    values: np.ndarray


def nearest_neighbors(
    X: Any, k: int = 10, *, queries: Any = None, measure: Measure = "cosine"
) -> Neighbors:
    X = _float_rows(X, "X")
    Q = X if queries is None else _float_rows(queries, "queries")
    itself = queries is None
    most = len(X) - itself
    if isinstance(k, bool) or k != int(k) or not 1 <= k <= most:
        raise ValueError(
            f"k must be an integer from 1 to {most}, the number of rows"
            f"{' less one' * itself}, got {k!r}."
        )
    if measure not in _MEASURES:
        raise ValueError(f"measure must be one of {_MEASURES}, got {measure!r}.")
    if measure == "cosine":
        X, Q = _unit(X), _unit(Q)
    squares = np.einsum("ij,ij->i", X, X) if measure == "euclidean" else None
    indices = np.empty((len(Q), k), dtype=np.int64)
    for start in range(0, len(Q), _BLOCK):
        products = Q[start : start + _BLOCK] @ X.T
        if squares is not None:
            products -= squares / 2
        if itself:
            np.fill_diagonal(products[:, start:], -np.inf)
        indices[start : start + _BLOCK] = np.argpartition(-products, k - 1, axis=1)[:, :k]
    values = np.empty((len(Q), k))
    for start in range(0, len(Q), _BLOCK):
        rows = slice(start, start + _BLOCK)
        near = X[indices[rows]].astype(np.float64)
        if measure == "euclidean":
            values[rows] = -np.linalg.norm(near - Q[rows, None], axis=2)
        else:
            values[rows] = np.einsum("nkd,nd->nk", near, Q[rows].astype(np.float64))
    order = np.argsort(-values, axis=1, kind="stable")
    values = np.take_along_axis(values, order, axis=1)
    return Neighbors(
        np.take_along_axis(indices, order, axis=1), -values if measure == "euclidean" else values
    )


def _float_rows(X: Any, name: str) -> np.ndarray:
    X = in_memory(X)
    if X.dtype != np.float64:
        X = X.astype(np.float32, copy=False)
    raise_on_bad_row(X, 0, name=name)
    return X


def _unit(X: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(lengths > 0, lengths, 1)
