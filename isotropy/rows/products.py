"""Products of a pass that stay on the thread that asks for them, whatever BLAS is set to.

A BLAS library on several threads wakes them for every product, and waits until the last is done.
Beside other work, on cores that are taken, that wait is most of the time; and one setting, for the
whole process, is all that OpenBLAS has. So our threads ask for pieces so small that it computes
them at once and alone: nothing is set, and jobs side by side share the cores as others do.
"""

from __future__ import annotations

import numpy as np

from isotropy.rows.arrays import blas_threads

__all__ = ["gram", "times", "weighted_sum"]

_ALONE = 2**18
"""Multiplications up to which OpenBLAS computes a product on the calling thread."""
_ALONE_WITH_A_VECTOR = 9 * 2**10
_SIDE = 64
_CHUNK_BYTES = 2**21


def gram(Y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """``Y' Y``.

    Parameters
    ----------
    Y : ndarray of shape (m, d)
    out : ndarray of shape (d, d), optional
        Where it may be written.

    Returns
    -------
    ndarray of shape (d, d)
        Exactly symmetric where it is made of pieces.

    Examples
    --------
    >>> gram(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[10.0, 14.0], [14.0, 20.0]]
    """
    m, d = Y.shape
    if m * d * d <= _ALONE or blas_threads() == 1:
        return np.asarray(np.matmul(Y.T, Y, out=out))
    return _in_tiles(Y)


def _in_tiles(Y: np.ndarray) -> np.ndarray:
    """The upper half of the tiles of ``Y' Y``, each a sum of small products."""
    m, d = Y.shape
    n_tiles = -(-d // _SIDE)
    side = -(-d // n_tiles)
    height = _ALONE // side**2
    n_heights = max(1, min(-(-m // height), _CHUNK_BYTES // (height * d * Y.itemsize)))
    chunk = np.zeros((n_heights * height, n_tiles * side), Y.dtype)
    tiles = chunk.reshape(n_heights, height, n_tiles, side).transpose(2, 0, 1, 3)
    packed = np.empty(tiles.shape, Y.dtype)
    total = np.zeros((n_tiles, n_tiles, side, side), Y.dtype)
    for start in range(0, m, len(chunk)):
        rows = Y[start : start + len(chunk)]
        chunk[: len(rows), :d] = rows
        chunk[len(rows) :] = 0
        packed[...] = tiles
        for i in range(n_tiles):
            total[i, i:] += np.matmul(packed[i].swapaxes(1, 2), packed[i:]).sum(1)
    whole = total.transpose(0, 2, 1, 3).reshape(n_tiles * side, -1)[:d, :d]
    upper = np.triu(whole)
    return np.asarray(upper + np.triu(upper, 1).T)


def weighted_sum(weights: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """``weights @ Y``.

    Parameters
    ----------
    weights : ndarray of shape (m,)
    Y : ndarray of shape (m, d)

    Returns
    -------
    ndarray of shape (d,)

    Examples
    --------
    >>> weighted_sum(np.ones(3), np.arange(6.0).reshape(3, 2)).tolist()
    [6.0, 9.0]
    """
    m, d = Y.shape
    height = max(1, _ALONE_WITH_A_VECTOR // d)
    if m <= height or blas_threads() == 1:
        return np.asarray(weights @ Y)
    whole = m // height * height
    pieces = weights[:whole].reshape(-1, 1, height), Y[:whole].reshape(-1, height, d)
    found = np.matmul(*pieces).sum((0, 1))
    return np.asarray(found + weights[whole:] @ Y[whole:])


def times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """``matrix @ vector``.

    Parameters
    ----------
    matrix : ndarray of shape (n, d)
    vector : ndarray of shape (d,)

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> times(np.eye(2), np.array([3.0, 4.0])).tolist()
    [3.0, 4.0]
    """
    return np.asarray(np.einsum("ij,j->i", matrix, vector))
