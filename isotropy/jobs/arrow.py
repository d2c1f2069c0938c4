"""Moments and maps of Arrow batches: plain functions for Spark's mapInArrow and Ray's map_batches.

Spark and Ray Data move rows as Arrow. Each function made here takes what either of them gives, an
iterator of record batches or one table, and gives the same kind back; neither is imported.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from isotropy._optional import require
from isotropy.affine import AffineMap
from isotropy.moments import Moments
from isotropy.rows.door import as_rows, column_of

__all__ = ["BatchCorrection", "BatchMoments", "merged"]


class BatchMoments:
    """Moments of the vectors of a column: one row of one column, `moments`, for all batches given.

    Parameters
    ----------
    column : str
        A column of lists of numbers, all of one length; a null is refused.
    weights : str, optional
        A column of weights.
    **options
        Of `Moments`: `unit`, `order`, `weight_type`, `normalize`.

    Notes
    -----
    What moves are O(d^2) bytes a partition, as safetensors; nothing is pickled. Spark may do a
    partition again when a worker is lost; only the result that it keeps is merged, so each row
    counts once. Partitions that are merged in another order differ in the last digits only.

    Examples
    --------
    With Spark, whose `mapInArrow` calls it with the batches of a partition::

        found = frame.mapInArrow(BatchMoments("embedding"), "moments binary")
        corrector = Whitening().fit_moments(merged(found.toLocalIterator()))

    With Ray Data, whose `map_batches` calls it with one table at a time::

        found = dataset.map_batches(BatchMoments("embedding"), batch_format="pyarrow")
        corrector = Whitening().fit_moments(merged(found.iter_rows()))

    By hand:

    >>> import pyarrow as pa
    >>> from isotropy.jobs.arrow import BatchMoments, merged
    >>> batch = pa.record_batch({"v": [[0.0, 1.0], [2.0, 1.0]]})
    >>> merged(BatchMoments("v")(iter([batch, batch]))).mean.tolist()
    [1.0, 1.0]
    """

    def __init__(self, column: str, *, weights: str | None = None, **options: Any) -> None:
        Moments(**options)  # what does not fit is refused here, not by a worker
        self.column, self.weights, self.options = column, weights, options

    def __call__(self, batches: Any) -> Any:
        """One row for a table or record batch, or an iterator of one batch of a row for several.

        Parameters
        ----------
        batches : pyarrow.Table or RecordBatch, or iterator of RecordBatch

        Returns
        -------
        of the same kind

        Raises
        ------
        ValueError
            If the column is missing, or holds what is no vector of finite numbers; the row is
            named by its number in the partition.
        """
        arrow = require("pyarrow", extra="io")
        if isinstance(batches, arrow.Table | arrow.RecordBatch):
            return type(batches).from_pydict({"moments": [self._packed([batches])]})
        return iter([arrow.record_batch({"moments": [self._packed(batches)]})])

    def _packed(self, batches: Iterable[Any]) -> bytes:
        moments, first = Moments(**self.options), 0
        for batch in batches:
            if batch.num_rows:
                moments.update(batch, self.weights, column=self.column, first_row=first)
            first += batch.num_rows
        return packed(moments)


class BatchCorrection:
    """The vectors of a column corrected, in a new column beside the others.

    Parameters
    ----------
    corrector : fitted corrector or AffineMap
    column : str
        A column of lists of numbers. A null stays null.
    new_column : str
        What the corrected vectors are called; `column` itself replaces the vectors.

    Notes
    -----
    float64 vectors give float64, all others float32 lists. For Spark's `mapInArrow` the schema of
    the result is that of the frame and the new column: ``frame.schema.add(new, "array<float>")``.

    Examples
    --------
    With Spark::

        schema = frame.schema.add("corrected", "array<float>")
        frame.mapInArrow(BatchCorrection(corrector, "embedding", "corrected"), schema)

    With Ray Data::

        dataset.map_batches(
            BatchCorrection(corrector, "embedding", "corrected"), batch_format="pyarrow"
        )

    By hand:

    >>> import numpy as np
    >>> import pyarrow as pa
    >>> from isotropy import MeanRemoval
    >>> from isotropy.jobs.arrow import BatchCorrection
    >>> corrector = MeanRemoval().fit(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> batch = pa.record_batch({"id": [7, 8], "v": [[4.0, 4.0], None]})
    >>> BatchCorrection(corrector, "v", "corrected")(batch)["corrected"].to_pylist()
    [[2.0, -1.0], None]
    """

    def __init__(self, corrector: Any, column: str, new_column: str) -> None:
        self.corrector, self.column, self.new_column = corrector, column, new_column

    def __call__(self, batches: Any) -> Any:
        """The same with the new column: a table or record batch, or an iterator of them.

        Parameters
        ----------
        batches : pyarrow.Table or RecordBatch, or iterator of RecordBatch

        Returns
        -------
        of the same kind

        Raises
        ------
        ValueError
            If the column is missing or holds what is no vector of finite numbers, or the new
            column is there already.
        """
        arrow = require("pyarrow", extra="io")
        if isinstance(batches, arrow.Table | arrow.RecordBatch):
            return self._corrected(batches)
        return map(self._corrected, batches)

    def _corrected(self, batch: Any) -> Any:
        arrow = require("pyarrow", extra="io")
        names = list(batch.schema.names)
        if self.new_column in names and self.new_column != self.column:
            raise ValueError(
                f"the batch has a column {self.new_column!r} already: name another new_column."
            )
        given = _whole_column(batch, self.column)
        kept = given.is_valid()
        vectors = self._map(given.filter(kept)) if given.null_count < len(given) else None
        filled = arrow.array([None] * len(given), arrow.list_(arrow.float32()))
        if vectors is not None:
            filled = _lists(arrow, vectors, kept.to_numpy(zero_copy_only=False))
        columns = {name: batch.column(name) for name in names} | {self.new_column: filled}
        made = type(batch).from_arrays(list(columns.values()), names=list(columns))
        return made

    def _map(self, vectors: Any) -> np.ndarray:
        rows = as_rows(vectors, name=self.column).in_memory()
        if isinstance(self.corrector, AffineMap):
            return np.asarray(self.corrector.apply(rows))
        return np.asarray(self.corrector.transform(rows))


def merged(parts: Any) -> Moments:
    """The sum of what `BatchMoments` gave.

    Parameters
    ----------
    parts : pyarrow.Table, RecordBatch, or iterable of those, of rows with `moments`, or of bytes
        A row is a dict (Ray Data) or anything else that takes ``row["moments"]`` (Spark).

    Returns
    -------
    Moments
        Equal to those of all rows at once, up to the last digits.

    Raises
    ------
    ValueError
        If there is no part, or one is no moments or of other options or dimensions.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from isotropy.jobs.arrow import BatchMoments, merged
    >>> table = BatchMoments("v", order=2)(pa.table({"v": [[0.0], [2.0]]}))
    >>> merged([table, table]).n_rows
    4
    """
    found = [unpacked(part) for part in _bytes_of(parts)]
    if not found:
        raise ValueError("there are no moments to merge: the source had no partition.")
    filled = [moments for moments in found if moments.n_features] or found
    return sum(filled[1:], filled[0])


def packed(moments: Moments) -> bytes:
    """Moments as the bytes of a safetensors file, for another process; `unpacked` reads them."""
    info, arrays = moments.pack()
    return bytes(save(arrays, {"moments": json.dumps(info)}))


def unpacked(data: bytes) -> Moments:
    """What `packed` gave."""
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        info = json.loads(header["__metadata__"]["moments"])
        arrays = load(data)
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(f"a part holds no moments, or damaged ones ({error!r}).") from error
    return Moments.unpack(info, arrays, path="a part")


def _bytes_of(parts: Any) -> Iterator[bytes]:
    if hasattr(parts, "schema") and hasattr(parts, "column"):
        yield from parts.column("moments").to_pylist()
        return
    for part in parts:
        if isinstance(part, bytes | bytearray | memoryview):
            yield bytes(part)
        elif hasattr(part, "column"):
            yield from _bytes_of(part)
        else:
            yield bytes(part["moments"])


def _whole_column(batch: Any, name: str) -> Any:
    column = column_of(batch, name)
    return column.combine_chunks() if hasattr(column, "chunks") else column


def _lists(arrow: Any, vectors: np.ndarray, valid: np.ndarray) -> Any:
    """Rows as lists of numbers, null where a row is not valid."""
    if vectors.dtype not in (np.float32, np.float64):
        vectors = vectors.astype(np.float32)
    ends = np.append(0, np.cumsum(valid) * vectors.shape[1])
    if ends[-1] > np.iinfo(np.int32).max:
        raise ValueError("more than 2^31 numbers in a batch: make the batches smaller.")
    return arrow.ListArray.from_arrays(
        arrow.array(ends, arrow.int32()),
        arrow.array(np.ascontiguousarray(vectors).ravel()),
        mask=None if valid.all() else arrow.array(~valid),
    )
