"""Some rows of many, drawn by what they hold: order is nothing, and parts add up."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from isotropy.rows.arrays import is_torch

__all__ = ["Sample"]

_COLUMNS = 16  # of each row decide its key; rows that agree in them are told apart by all
_LARGEST = np.uint64(2**64 - 1)
_GOLDEN = 0x9E3779B97F4A7C15


class _Keyed(NamedTuple):
    """Rows with what they are ordered by: a hash of some of their columns, then of all."""

    first: np.ndarray
    second: np.ndarray
    rows: np.ndarray


class Sample:
    """The different rows of least key, the key being a hash of the numbers in the row.

    That is a uniform draw among the different rows, whatever their order, repetitions, blocks,
    threads and number types.

    Parameters
    ----------
    size : int
        Rows to keep at most; 0 keeps none.
    d : int
        Numbers in a row.

    Attributes
    ----------
    rows : ndarray of shape (m, d)
        In float64, of least key first; m is `size`, or less where fewer different rows came.

    Examples
    --------
    >>> X = np.arange(12.0).reshape(6, 2)
    >>> one, other, both = Sample(3, 2), Sample(3, 2), Sample(3, 2)
    >>> one.add(X[:4]); other.add(X[2:]); both.add(X[::-1])
    >>> (one + other).rows.tolist() == both.rows.tolist()
    True
    """

    def __init__(self, size: int, d: int) -> None:
        self.size = size
        self._limit = _LARGEST
        self._waiting: list[_Keyed] = [_keyed(np.zeros((0, d)))]

    @classmethod
    def of(cls, size: int, *rows: np.ndarray) -> Sample:
        """A sample of some rows together.

        Parameters
        ----------
        size : int
        *rows : ndarrays of shape (m, d)

        Returns
        -------
        Sample
        """
        found = cls(size, rows[0].shape[1])
        for some in rows:
            found.add(some)
        return found

    def add(self, block: Any, weights: np.ndarray | None = None) -> None:
        """Look at more rows; those of no weight are none.

        Parameters
        ----------
        block : array of shape (m, d), numpy or torch
            Finite.
        weights : array of shape (m,), optional
        """
        if not self.size:
            return
        keys = _hashed(_numbers(block, _columns(block.shape[1])))
        low = keys <= self._limit
        if weights is not None:
            low &= weights > 0
        different = np.unique(keys[low])
        if len(different) > self.size:
            low &= keys <= different[self.size - 1]
        if low.any():
            self._wait(_keyed(_numbers(block, np.flatnonzero(low), axis=0)))

    def __add__(self, other: Sample) -> Sample:
        if not other._n_waiting:
            return self
        both = Sample(max(self.size, other.size), self.rows.shape[1])
        for part in (*self._waiting, *other._waiting):
            both._wait(part)
        return both

    def _wait(self, part: _Keyed) -> None:
        """Rows are put in order once as many wait as are kept."""
        self._waiting.append(part)
        if self._n_waiting >= 2 * self.size:
            self._settle()

    @property
    def _n_waiting(self) -> int:
        return sum(len(some.rows) for some in self._waiting)

    def _settle(self) -> None:
        if len(self._waiting) == 1:
            return
        all_ = _Keyed(*(np.concatenate(some) for some in zip(*self._waiting, strict=True)))
        order = np.lexsort((all_.second, all_.first))
        rows = all_.rows[order]
        new = np.ones(len(rows), dtype=bool)
        new[1:] = (rows[1:] != rows[:-1]).any(1)
        order = order[new][: self.size]
        self._waiting = [_Keyed(*(some[order] for some in all_))]
        if len(order) == self.size:
            self._limit = self._waiting[0].first[-1]

    @property
    def rows(self) -> np.ndarray:
        self._settle()
        return self._waiting[0].rows

    @property
    def n_different(self) -> float:
        """About how many different rows came: exact below `size`, else within some 3 % at 1,000.

        Examples
        --------
        >>> sample = Sample(100, 1)
        >>> sample.add(np.arange(5000.0)[:, None])
        >>> 4000 < sample.n_different < 6000
        True
        """
        if len(self.rows) < self.size:
            return float(len(self.rows))
        return (self.size - 1) / ((float(self._limit) + 1) / 2.0**64)


def _keyed(rows: np.ndarray) -> _Keyed:
    return _Keyed(_hashed(rows[:, _columns(rows.shape[1])]), _hashed(rows), rows)


def _columns(d: int) -> np.ndarray:
    return np.unique(np.linspace(0, d - 1, min(d, _COLUMNS)).astype(int))


def _numbers(block: Any, some: np.ndarray, axis: int = 1) -> np.ndarray:
    """Some columns, or rows, in float64 on the processor."""
    if is_torch(block):
        import torch

        place = torch.as_tensor(some, device=block.device)
        found: np.ndarray = block.index_select(axis, place).double().cpu().numpy()
        return found
    return np.take(block, some, axis=axis).astype(np.float64)


def _hashed(rows: np.ndarray) -> np.ndarray:
    """A number from 0 to 2^64 - 1 for each row of float64."""
    bits = np.ascontiguousarray(rows + 0.0).view(np.uint64)  # one zero, where there are two
    bits ^= bits >> np.uint64(32)  # low bits of what was narrower are zero
    places = np.arange(1, bits.shape[1] + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    return _mixed((bits * (_mixed(places) | np.uint64(1))).sum(1, dtype=np.uint64))


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """The finalizer of splitmix64 (Steele, Lea & Flood 2014)."""
    z = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
