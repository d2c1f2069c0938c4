"""Dask collections as rows: arrays, dataframes of columns, series and bags of vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from isotropy._optional import require
from isotropy.rows.arrays import BadRowError, output_dtype
from isotropy.rows.source import MemoryRows, Rows

__all__ = ["DaskRows"]

_FAN_IN = 8


class DaskRows(Rows):
    """The rows of a Dask collection: summarized where they lie, mapped lazily.

    Attributes
    ----------
    source : Dask array, dataframe, series or bag
    shape, dtype
        Computed on first use where Dask does not know them.
    """

    def __init__(self, source: Any) -> None:
        self.path = self.name = None
        self.source = source
        self.kind = _kind(source)
        self.width_known = self.kind == "array"
        self._parts = _partitions(source, self.kind)

    @cached_property
    def _found(self) -> tuple[list[int], int, np.dtype[Any]]:
        """Rows of each part, their width and type."""
        if self.kind == "array" and self.source.shape[0] == self.source.shape[0]:
            sizes = [int(size) for size in self.source.chunks[0]]
            return sizes, int(self.source.shape[1]), np.dtype(self.source.dtype)
        dask = require("dask", extra="dask")
        shapes = dask.compute(*[dask.delayed(_shape)(part) for part in self._parts])
        filled = [shape for shape in shapes if shape[0]]
        if not filled:
            raise ValueError("Found array with 0 sample(s): the Dask collection holds no rows.")
        if len({shape[1] for shape in filled}) > 1:
            raise ValueError(f"parts of several dimensions: {sorted({s[1] for s in filled})}.")
        dtype = np.result_type(*(np.dtype(shape[2]) for shape in filled))
        return [shape[0] for shape in shapes], filled[0][1], dtype

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        """(n, d)."""
        sizes, width, _ = self._found
        return sum(sizes), width

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """Of the blocks."""
        return self._found[2].newbyteorder("=")

    def _blocks(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        dask = require("dask", extra="dask")
        begin = 0
        for part, size in zip(self._parts, self._found[0], strict=True):
            if begin + size > start:
                (rows,) = dask.compute(dask.delayed(as_part)(part))
                for first in range(max(0, start - begin), size, block_rows):
                    yield rows[first : first + block_rows].astype(self.dtype, copy=False)
            begin += size

    def reduce(
        self,
        summarize: Callable[..., Any],
        add: Callable[[list[Any]], Any],
        sample_weight: Any = None,
        *beside: Any,
    ) -> Any:
        """A summary of each part where it lies, added in a tree.

        A task holds its part; what moves between workers are summaries. Lost tasks are done again,
        by Dask.
        """
        dask = require("dask", extra="dask")
        # The size of the whole job decides how a part is multiplied; where Dask does not know it,
        # each part is a job of its own.
        known = self.kind == "array" and self.source.shape[0] == self.source.shape[0]
        n_rows = int(self.source.shape[0]) if known else 0
        task = dask.delayed(_summary, pure=False)
        aligned = [self._cut(values) for values in (sample_weight, *beside)]
        level = [
            task(summarize, part, index, n_rows, *with_it)
            for index, (part, *with_it) in enumerate(zip(self._parts, *aligned, strict=True))
        ]
        merge = dask.delayed(add, pure=False)
        while len(level) > 1:
            level = [merge(level[i : i + _FAN_IN]) for i in range(0, len(level), _FAN_IN)]
        if not level:
            empty = [None if values is None else np.asarray(values)[:0] for values in beside]
            return summarize(MemoryRows(np.empty((0, 0))), None, 0, *empty)
        (found,) = dask.compute(level[0])
        return found

    def _cut(self, values: Any) -> list[Any]:
        """What belongs to the rows, cut as they are: weights, or a table of labels."""
        if values is None:
            return [None] * len(self._parts)
        if self.kind != "array":
            raise ValueError("sample_weight and labels need a Dask array of rows.")
        da = require("dask.array", extra="dask")
        given = values if hasattr(values, "rechunk") else da.asarray(values)
        n = self.source.shape[0]
        if given.shape[:1] != (n,):
            raise ValueError(f"sample_weight must have shape ({n},), got {tuple(given.shape)}.")
        chunks = (self.source.chunks[0], *given.shape[1:])
        return list(given.rechunk(chunks).to_delayed().ravel())

    def map(
        self,
        function: Callable[[Any], Any],
        width: int,
        names: Callable[[], Sequence[str]] | None = None,
    ) -> Any:
        """A lazy collection of the same kind; series become dataframes."""
        X, held = self.source, require("dask", extra="dask").delayed(function)
        if self.kind == "array":
            dtype = output_dtype(np.empty(0, X.dtype))
            return X.rechunk({1: -1}).map_blocks(
                _mapped,
                held,
                dtype=dtype,
                chunks=(X.chunks[0], (width,)),
                meta=np.empty((0, width), dtype),
            )
        if self.kind == "bag":
            return X.map_partitions(_mapped_list, held)
        labels = [str(name) for name in (names() if names else range(width))]
        pandas = require("pandas", extra="dask")
        meta = pandas.DataFrame({label: np.empty(0) for label in labels})
        return X.map_partitions(_mapped_frame, held, labels, meta=meta)


def _kind(X: Any) -> str:
    for kind, mark in (("array", "rechunk"), ("frame", "dtypes"), ("bag", "fold")):
        if hasattr(X, mark):
            return kind
    raise ValueError(f"a Dask {type(X).__name__} is no collection of rows.")


def _partitions(X: Any, kind: str) -> list[Any]:
    """The delayed parts of a collection, each of which `as_part` makes a matrix."""
    if kind != "array":
        return list(X.to_delayed())
    if X.ndim != 2:
        raise ValueError(f"X must be 2-D (rows x dimensions), got {X.ndim}-D.")
    return list(X.rechunk({1: -1}).to_delayed().ravel())


def as_part(part: Any) -> np.ndarray:
    """One part as a matrix: an array, a frame of columns, a series or a list of vectors."""
    if isinstance(part, np.ndarray):
        return part
    if hasattr(part, "to_numpy"):
        part = part.to_numpy()
        if part.ndim == 2 and part.dtype != object:
            return np.asarray(part)
        part = part.ravel()
    vectors = [np.asarray(vector) for vector in part]
    if not vectors:
        return np.empty((0, 0))
    if vectors[0].dtype.kind not in "fiub":
        raise ValueError(
            "a part holds no vectors of numbers. Dask turns objects of dataframes into text unless "
            "told before: dask.config.set({'dataframe.convert-string': False})."
        )
    if len(widths := {vector.shape for vector in vectors}) > 1:
        raise ValueError(f"a part holds vectors of several shapes: {sorted(widths)[:3]}.")
    return np.stack(vectors)


def _summary(
    summarize: Callable[..., Any], part: Any, index: int, n_rows: int, weights: Any, *beside: Any
) -> Any:
    rows = MemoryRows(as_part(part))
    if weights is not None and not isinstance(weights, np.ndarray):
        weights = as_part(weights)
    try:
        return summarize(rows, weights, n_rows, *beside)
    except BadRowError as error:
        raise error.at(f" of partition {index}") from None


def _shape(part: Any) -> tuple[int, int, str]:
    rows = as_part(part)
    return len(rows), rows.shape[1], rows.dtype.str


def _mapped(block: np.ndarray, function: Callable[[Any], Any]) -> np.ndarray:
    return np.asarray(function(block))


def _mapped_list(part: Any, function: Callable[[Any], Any]) -> list[np.ndarray]:
    rows = as_part(list(part))
    return list(function(rows)) if len(rows) else []


def _mapped_frame(part: Any, function: Callable[[Any], Any], labels: list[str]) -> Any:
    pandas = require("pandas", extra="dask")
    rows = as_part(part)
    out = function(rows) if len(rows) else np.empty((0, len(labels)))
    return pandas.DataFrame(np.asarray(out, np.float64), columns=labels, index=part.index)
