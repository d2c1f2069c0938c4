"""The search for nearest rows: upper bounds from fast products, then float64 by differences.

The score of a query q and a row x is ``-|q - x|^2 / 2``, or for dot products ``q . x - |m|^2``.
With a and b the two about the mean m of the rows it is ``a . b + c_a + c_b``: one product of
matrices with two columns more. Rounding can lower that sum by at most
``gamma (|a| |b| + |c_a| + |c_b|)``, which is a product of columns too, and is added. So each entry
of the product is an upper bound of the score, and a row whose bound is below the scores of k other
rows is none of the k nearest.
"""

from __future__ import annotations

import threading
from itertools import count
from typing import Any

import numpy as np

from isotropy.rows.arrays import spread, workers_for
from isotropy.rows.passes import _full_float32

__all__ = ["Points", "search"]

_BLOCK = 1024
_SPARE = 8  # rows kept beside the k of largest bound; a query that needs more is searched again
_AGAIN = 512  # queries searched again at a time
_RIGHT_ANGLE = float(np.sqrt(2.0))


class Points:
    """Rows as points in float64: over a power of two, or each scaled to length one.

    Every number depends on its own row alone: equal rows are equal points, in any block.
    """

    def __init__(self, rows: np.ndarray, unit: bool, exponent: int = 0) -> None:
        self.rows, self.unit = np.ascontiguousarray(rows), unit
        self.factor = np.full((len(rows), 1), np.ldexp(1.0, -exponent))
        self.length = np.ones((len(rows), 1))
        self.zero = np.zeros(len(rows), dtype=bool)
        if not unit:
            return
        for part in _parts(len(rows)):
            block = self.rows[part].astype(np.float64)
            largest = np.abs(block).max(axis=1, keepdims=True, initial=0)
            self.zero[part] = largest[:, 0] == 0
            self.factor[part] = np.ldexp(1.0, np.minimum(-np.frexp(largest)[1], 1000))
            block *= self.factor[part]
            self.length[part] = np.where(largest > 0, np.sqrt(_products(block, block)), 1)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, where: Any) -> np.ndarray:
        points = self.rows[where].astype(np.float64)
        points *= self.factor[where]
        if self.unit:
            points /= self.length[where]  # rows of one dimension become exactly 1 or -1
        return points


def _parts(n: int, step: int = _BLOCK) -> list[slice]:
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Dot products along the last axis, which stays with length one."""
    return np.asarray(np.einsum("...d,...d->...", a, b))[..., None]


class _Frame:
    """Centre and scale of the products, and what scores are in it."""

    def __init__(self, rows: Points, asked: Points, dot: bool) -> None:
        self.dot, d = dot, rows.rows.shape[1]
        self.centre = sum(rows[part].sum(0) for part in _parts(len(rows))) / max(1, len(rows))
        radius = max(
            float(np.abs(points[part] - self.centre).max(initial=0))
            for points in (rows, asked)
            for part in _parts(len(points))
        )
        self.scale = float(np.ldexp(1.0, -np.frexp(radius)[1])) if radius > 0 else 1.0
        self.length = float(np.linalg.norm(self.centre)) * self.scale
        # Largest relative errors of d + 4 products summed, with those of the numbers themselves:
        # (d + 10) / 2 of the spacing, and as much again (of float64 twice) to spare.
        self.error = {np.float32: 0.6 * (d + 12) * 2.0**-23, np.float64: 2 * (d + 12) * 2.0**-52}

    def columns(self, points: Points, part: Any, kind: Any, *, query: bool) -> np.ndarray:
        """Columns of queries and of rows whose products are the upper bounds of scores."""
        about = (points[part] - self.centre) * self.scale
        squares = _products(about, about)
        lengths = np.sqrt(squares)
        if self.dot:
            own = (about @ (self.centre * self.scale))[:, None]
            reach = lengths + self.length
        else:
            own, reach = -squares / 2, lengths
            own[points.zero[part]] -= self.scale**2 / 2  # at right angles to every query
        own += self.error[kind] * np.abs(own) + self.error[np.float64] * reach**2 + 1e-30
        ones = np.ones_like(own)
        if query:
            return np.hstack([about, own, ones, self.error[kind] * lengths]).astype(kind)
        return np.hstack([about, ones, own, lengths]).astype(kind)

    def all_columns(self, points: Points, *, query: bool) -> np.ndarray:
        """The same of all points, in float32."""
        found = np.empty((len(points), len(self.centre) + 3), dtype=np.float32)
        for part in _parts(len(points)):
            found[part] = self.columns(points, part, np.float32, query=query)
        return found

    def scores(self, keys: np.ndarray) -> np.ndarray:
        """The scores of keys: a key is a distance, or minus a dot product."""
        if self.dot:
            return -keys * self.scale**2 - self.length**2
        return -((keys * self.scale) ** 2) / 2

    def keys(self, rows: Points, found: np.ndarray, own: np.ndarray) -> np.ndarray:
        """The keys of the rows `found` to the query points `own`, smallest nearest."""
        near = rows[found]
        if self.dot:
            return -_products(near, own)[..., 0]
        near -= own
        keys = np.sqrt(_products(near, near)[..., 0])
        keys[rows.zero[found]] = _RIGHT_ANGLE
        return keys


def search(
    rows: Points, asked: Points | None, k: int, *, dot: bool, device: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Indices and keys (m, k) of the nearest rows: distances, or minus the dot products."""
    itself, asked = asked is None, rows if asked is None else asked
    frame, most = _Frame(rows, asked, dot), len(rows) - itself
    kept = min(k + _SPARE, most)
    A, B = (frame.all_columns(p, query=q) for p, q in ((asked, True), (rows, False)))
    if device is not None:
        found, least = _largest_on_device(A, B, kept, itself, device)
    else:
        found, least = _largest(A, B, kept, itself)
    del A, B
    indices, keys = _measured(frame, rows, asked, found, k)
    if kept < most:
        # Rows that were left out have no larger bound than the least that was kept.
        again = np.flatnonzero((least >= frame.scores(keys[:, -1])) & ~asked.zero)
        _search_again(frame, rows, asked, again, itself, indices, keys)
    for query in np.flatnonzero(asked.zero):  # at right angles to all: the first rows of all
        first = np.arange(k + itself)
        indices[query] = first[first != query][:k] if itself else first
        keys[query] = _RIGHT_ANGLE
    return indices, keys


def _measured(
    frame: _Frame, rows: Points, asked: Points, found: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of the rows found for each query, measured in float64."""
    indices = np.empty((len(asked), k), dtype=np.int64)
    keys = np.empty((len(asked), k))
    d = rows.rows.shape[1]
    parts = _parts(len(asked), max(1, 2**18 // (found.shape[1] * max(1, d))))
    turn = count()

    def work(worker: int) -> None:
        while (index := next(turn)) < len(parts):
            part = parts[index]
            measured = frame.keys(rows, found[part], asked[part][:, None])
            order = np.lexsort((found[part], measured), axis=1)[:, :k]
            indices[part] = np.take_along_axis(found[part], order, axis=1)
            keys[part] = np.take_along_axis(measured, order, axis=1)

    spread(work, workers_for(-(-len(asked) // _BLOCK)))
    return indices, keys


def _first(k: int, n: int, owner: np.ndarray, *sort_keys: np.ndarray) -> np.ndarray:
    """The places (n, k) of the k first entries of each owner, by the last sort key first."""
    order = np.lexsort((*sort_keys, owner))
    begins = np.searchsorted(owner[order], np.arange(n))
    return np.asarray(order[begins[:, None] + np.arange(k)])


# -- upper bounds in float32 ---------------------------------------------------------------------


class _Best:
    """The largest products so far of each row, and the least of them, which others must pass."""

    def __init__(self, n: int, k: int) -> None:
        self.values = np.full((n, k), -np.inf, dtype=np.float32)
        self.indices = np.full((n, k), -1, dtype=np.int64)
        self.least = np.full(n, -np.inf, dtype=np.float32)
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
        kept = _first(k, len(touched), owner, -everything)
        values[touched], indices[touched] = everything[kept], candidates[kept]
        self.least[rows][touched] = everything[kept[:, -1]]


def _largest(A: np.ndarray, B: np.ndarray, k: int, itself: bool) -> tuple[np.ndarray, np.ndarray]:
    """Indices (m, k) of the rows of B of largest product with each row of A, and the least."""
    best = _Best(len(A), k)
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
    return best.indices, best.least


def _largest_on_device(
    A: np.ndarray, B: np.ndarray, k: int, itself: bool, device: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The same with torch, on that device."""
    import torch

    asked, rows = (torch.from_numpy(columns).to(device) for columns in (A, B))
    indices, least, step = [], [], max(1, 2**28 // len(B))
    with _full_float32(True):
        for start in range(0, len(A), step):
            products = asked[start : start + step] @ rows.T
            if itself:
                products.diagonal(start).fill_(-torch.inf)
            found = products.topk(k, dim=1)
            indices.append(found.indices.cpu().numpy())
            least.append(found.values[:, -1].cpu().numpy())
    return np.concatenate(indices), np.concatenate(least)


# -- once more in float64 ------------------------------------------------------------------------


def _search_again(
    frame: _Frame,
    rows: Points,
    asked: Points,
    again: np.ndarray,
    itself: bool,
    indices: np.ndarray,
    keys: np.ndarray,
) -> None:
    """Put the nearest rows of the queries `again` into `indices` and `keys`."""
    if not len(again):
        return
    parts = [again[part] for part in _parts(len(again), _AGAIN)]
    # Of more equal rows than that, those of higher index are nobody's neighbours.
    places = _first_of_equals(rows.rows, keys.shape[1] + itself)
    turn = count()

    def work(worker: int) -> None:
        while (index := next(turn)) < len(parts):
            part = parts[index]
            nearest = _Nearest(frame, rows, asked, part, keys[part])
            for block in _parts(len(places)):
                nearest.take(places[block], itself)
            indices[part], keys[part] = nearest.indices, nearest.keys

    spread(work, workers_for(len(parts)))


def _first_of_equals(rows: np.ndarray, most: int) -> np.ndarray:
    """Places of the rows, rising, without those that as many as `most` before are equal to."""
    whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))
    kinds = np.unique(whole.ravel(), return_inverse=True)[1].ravel()
    order = np.argsort(kinds, kind="stable")
    sorted_kinds = kinds[order]
    before = np.arange(len(kinds)) - np.searchsorted(sorted_kinds, sorted_kinds)
    return np.sort(order[before < most])


class _Nearest:
    """The nearest rows so far of some queries, of all rows whose bound is not too low."""

    def __init__(
        self, frame: _Frame, rows: Points, asked: Points, part: np.ndarray, keys: np.ndarray
    ) -> None:
        self.frame, self.rows, self.part = frame, rows, part
        self.own, n, k = asked[part], *keys.shape
        self.columns = frame.columns(asked, part, np.float64, query=True)
        self.limit = keys[:, -1].copy()  # k rows at least are known to be as near
        self.indices = np.full((n, k), -1, dtype=np.int64)
        self.keys = np.full((n, k), np.inf)

    def take(self, places: np.ndarray, itself: bool) -> None:
        """Look through the rows at these places."""
        bounds = self.columns @ self.frame.columns(self.rows, places, np.float64, query=False).T
        open_ = bounds >= self.frame.scores(self.limit)[:, None]
        if itself:
            open_ &= places != self.part[:, None]
        which, found = np.nonzero(open_)
        while len(which):
            # The first few of each query: what they are may leave the others out.
            now = np.arange(len(which)) - np.searchsorted(which, which) < 4 * self.keys.shape[1]
            self._merge(which[now], places[found[now]])
            rest = ~now & (bounds[which, found] >= self.frame.scores(self.limit)[which])
            which, found = which[rest], found[rest]

    def _merge(self, which: np.ndarray, found: np.ndarray) -> None:
        step = max(1, 2**18 // max(1, self.own.shape[1]))
        new = [
            self.frame.keys(self.rows, found[part], self.own[which[part]])
            for part in _parts(len(found), step)
        ]
        touched, position = np.unique(which, return_inverse=True)
        k = self.keys.shape[1]
        keys = np.concatenate([self.keys[touched].ravel(), *new])
        indices = np.concatenate([self.indices[touched].ravel(), found])
        owner = np.concatenate([np.repeat(np.arange(len(touched)), k), position])
        kept = _first(k, len(touched), owner, indices, keys)
        self.keys[touched], self.indices[touched] = keys[kept], indices[kept]
        self.limit[touched] = np.minimum(self.limit[touched], keys[kept[:, -1]])
