"""Dask collections as rows: arrays, dataframes of columns, series and bags of vectors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from isotropy._optional import require
from isotropy.moments import Moments
from isotropy.rows.arrays import BadRowError, as_matrix
from isotropy.rows.source import Rows

__all__ = ["DaskRows", "from_rows", "moments", "transform"]

_FAN_IN = 8


def from_rows(source: Any, *, column: str | None = None, block_rows: int | None = None) -> Any:
    """A Dask array of the rows of files: every task opens them where it runs, and reads its block.

    Parameters
    ----------
    source : anything `isotropy.io.open_rows` opens by name
        Paths must be valid for every worker.
    column : str, optional
    block_rows : int, optional
        By default 65,536 for files that are mapped into memory and 16,384 for others: what a task
        reads it holds, and too small tasks spend their time on adding up d x d matrices.
    """
    da = require("dask.array", extra="dask")
    from isotropy.io import open_rows

    rows = open_rows(source, column=column)
    n, d = rows.shape
    block_rows = block_rows or (65_536 if rows.mapped else 16_384)
    chunks = (tuple(min(block_rows, n - first) for first in range(0, n, block_rows)), (d,))

    def read(block_info: Any = None) -> np.ndarray:
        (start, stop), _ = block_info[None]["array-location"]
        parts, found = [], 0
        for part in open_rows(source, column=column).blocks(stop - start, start=start):
            parts.append(part[: stop - start - found])
            found += len(parts[-1])
            if found == stop - start:
                break
        return np.asarray(parts[0]) if len(parts) == 1 else np.concatenate(parts)

    return da.map_blocks(read, chunks=chunks, dtype=rows.dtype, meta=np.empty((0, 0), rows.dtype))


def partitions(X: Any) -> list[Any]:
    """The delayed parts of a collection, each of which `as_part` makes a matrix."""
    if _kind(X) == "array":
        if X.ndim != 2:
            raise ValueError(f"X must be 2-D (rows x dimensions), got {X.ndim}-D.")
        parts = X.rechunk({1: -1}).to_delayed().ravel().tolist()
    else:
        parts = X.to_delayed()
    return list(parts)


def _kind(X: Any) -> str:
    for kind, mark in (("array", "rechunk"), ("frame", "dtypes"), ("bag", "fold")):
        if hasattr(X, mark):
            return kind
    raise ValueError(f"a Dask {type(X).__name__} is no collection of rows.")


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


def _part_moments(
    part: Any, weights: Any, index: int, n_rows: int, options: dict[str, Any]
) -> Moments:
    rows = as_matrix(as_part(part))
    if not len(rows):
        return Moments(**options)
    if weights is not None:
        weights = as_part(weights) if not isinstance(weights, np.ndarray) else weights
    try:
        return Moments(**options)._update_array(rows, weights, 0, n_rows - len(rows))
    except BadRowError as error:
        raise error.at(f" of partition {index}") from None


def _total(parts: list[Moments]) -> Moments:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def moments(X: Any, sample_weight: Any = None, **options: Any) -> Moments:
    """Moments of a Dask collection: of each part where it lies, added in a tree.

    Parameters
    ----------
    X : dask array (n, d), dataframe, series or bag of vectors
    sample_weight : dask or numpy array of shape (n,), optional
        With arrays only; cut as their rows are.
    **options
        Of `Moments`.

    Notes
    -----
    A task holds its part and O(d^2) numbers; what moves between workers is 8 d^2 bytes (16 with
    ``unit="gram"``) a part. Lost tasks are done again, by Dask.
    """
    dask = require("dask", extra="dask")
    if isinstance(X, DaskRows):
        X = X.source
    parts = partitions(X)
    weights: list[Any] = [None] * len(parts)
    if sample_weight is not None:
        if _kind(X) != "array":
            raise ValueError("sample_weight needs a Dask array of rows.")
        da = require("dask.array", extra="dask")
        given = sample_weight if hasattr(sample_weight, "rechunk") else da.asarray(sample_weight)
        if given.shape != (X.shape[0],):
            raise ValueError(
                f"sample_weight must have shape ({X.shape[0]},), got {tuple(given.shape)}."
            )
        weights = given.rechunk((X.chunks[0],)).to_delayed().ravel().tolist()
    # The size of the whole job decides how a part is multiplied; where Dask does not know it, each
    # part is a job of its own.
    n_rows = int(X.shape[0]) if _kind(X) == "array" and X.shape[0] == X.shape[0] else 0
    level = [
        dask.delayed(_part_moments, pure=False)(part, weight, index, n_rows, options)
        for index, (part, weight) in enumerate(zip(parts, weights, strict=True))
    ]
    add = dask.delayed(_total, pure=False)
    while len(level) > 1:
        level = [add(level[i : i + _FAN_IN]) for i in range(0, len(level), _FAN_IN)]
    if not level:
        return Moments(**options)
    (found,) = dask.compute(level[0])
    return found


def transform(corrector: Any, X: Any) -> Any:
    """The corrected rows as a lazy collection of the same kind."""
    dask = require("dask", extra="dask")
    kind = _kind(X)
    held = dask.delayed(corrector)
    k = corrector._n_features_out
    if kind == "array":
        from isotropy.rows.arrays import output_dtype

        if X.shape[1] != corrector.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(corrector).__name__} is expecting "
                f"{corrector.n_features_in_} features as input."
            )
        dtype = output_dtype(np.empty(0, X.dtype))
        return X.rechunk({1: -1}).map_blocks(
            _apply, held, dtype=dtype, chunks=(X.chunks[0], (k,)), meta=np.empty((0, k), dtype)
        )
    if kind == "bag":
        return X.map_partitions(_apply_list, held)
    names = [str(name) for name in corrector.get_feature_names_out()]
    pandas = require("pandas", extra="dask")
    meta = pandas.DataFrame({name: np.empty(0) for name in names})
    return X.map_partitions(_apply_frame, held, names, meta=meta)


def _apply(block: np.ndarray, corrector: Any) -> np.ndarray:
    out: np.ndarray = corrector.transform(block)
    return out


def _apply_list(part: Any, corrector: Any) -> list[np.ndarray]:
    rows = as_part(list(part))
    return list(corrector.transform(rows)) if len(rows) else []


def _apply_frame(part: Any, corrector: Any, names: list[str]) -> Any:
    pandas = require("pandas", extra="dask")
    rows = as_part(part)
    out = corrector.transform(rows) if len(rows) else np.empty((0, len(names)))
    return pandas.DataFrame(np.asarray(out, np.float64), columns=names, index=part.index)


class DaskRows(Rows):
    """A Dask collection whose parts come one by one, for what needs the rows themselves."""

    def __init__(self, source: Any) -> None:
        dask = require("dask", extra="dask")
        self.source = source
        self._parts = partitions(source)
        shapes = dask.compute(*[dask.delayed(_shape)(part) for part in self._parts])
        filled = [shape for shape in shapes if shape[0]]
        if not filled:
            raise ValueError("Found array with 0 sample(s): the Dask collection holds no rows.")
        if len({shape[1] for shape in filled}) > 1:
            raise ValueError(f"parts of several dimensions: {sorted({s[1] for s in filled})}.")
        self._sizes = [shape[0] for shape in shapes]
        dtype = np.result_type(*(np.dtype(shape[2]) for shape in filled))
        super().__init__(Path("dask"), None, (sum(self._sizes), filled[0][1]), dtype)

    def _blocks(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        dask = require("dask", extra="dask")
        begin = 0
        for part, size in zip(self._parts, self._sizes, strict=True):
            if begin + size > start:
                (rows,) = dask.compute(dask.delayed(as_part)(part))
                for first in range(max(0, start - begin), size, block_rows):
                    yield rows[first : first + block_rows].astype(self.dtype, copy=False)
            begin += size


def _shape(part: Any) -> tuple[int, int, str]:
    rows = as_part(part)
    return len(rows), rows.shape[1], rows.dtype.str
