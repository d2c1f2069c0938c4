"""Columns of Arrow tables: one of lists is rows of embeddings, the others are carried along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from isotropy._optional import require
from isotropy.io.checks import choose
from isotropy.io.target import Target
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError, NoRowsError, damage

__all__ = [
    "Batches",
    "TableRows",
    "appender",
    "batches_after",
    "matrix_of",
    "no_rows",
    "refusal",
    "schema_of",
    "table_damage",
    "table_rows",
]

# Carried columns may hold long texts: batches of them are kept small.
_CARRIED_ROWS = 1024


class Batches(Protocol):
    """Record batches of some columns of a file, of about `size` rows where one can choose.

    They begin with the row `start`.
    """

    def __call__(
        self, file: Any, columns: list[str], size: int, start: int = 0
    ) -> Iterator[Any]: ...


class TableRows(Rows):
    """Rows of one list column of a table.

    Attributes
    ----------
    schema : pyarrow.Schema
        Of the whole table.
    batches : callable
        Called with the file, some columns, a size and a first row, it iterates over their record
        batches.
    mark : str, int or None
        What changes whenever the table does, where its path does not tell.
    """

    def __init__(
        self,
        path: Any,
        name: str,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        schema: Any,
        batches: Batches,
    ) -> None:
        super().__init__(path, name, shape, dtype)
        self.schema = schema
        self.batches = batches
        self.mark: str | int | None = None

    def fingerprint(self) -> list[Any]:
        """The file's and the mark."""
        return [*super().fingerprint(), self.mark]

    @property
    def carried(self) -> list[str]:
        """The names of all other columns."""
        return [name for name in self.schema.names if name != self.name]

    def _blocks(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        n, d = self.shape
        name = str(self.name)
        cursor = _Cursor(self.path, self.batches(self.file, [name], block_rows, start))
        for first in range(start, n, block_rows):
            lists = cursor.take(min(block_rows, n - first)).column(name)
            parts, row = [], first
            for chunk in lists.chunks:
                parts.append(matrix_of(self.path, name, chunk, d, row))
                row += len(chunk)
            yield parts[0] if len(parts) == 1 else np.concatenate(parts)


class _Cursor:
    """Hands out the rows of record batches in the numbers asked for, from first to last."""

    def __init__(self, path: Any, batches: Iterator[Any]) -> None:
        self._path = path
        self._batches = batches
        self._rest: Any = None

    def take(self, wanted: int) -> Any:
        """The next `wanted` rows as a table, without copying."""
        pieces, found = [], 0
        while found < wanted:
            batch = next(self._batches, None) if self._rest is None else self._rest
            if batch is None:
                raise FileError(self._path, "holds fewer rows than it declares; write it again.")
            piece = batch.slice(0, wanted - found)
            found += piece.num_rows
            self._rest = batch.slice(piece.num_rows) if piece.num_rows < batch.num_rows else None
            pieces.append(piece)
        return require("pyarrow", extra="io").Table.from_batches(pieces)


def table_damage(path: Any, kind: str) -> Any:
    pa = require("pyarrow", extra="io")
    # Ruined names in a header are found when Python wants them as text.
    return damage(path, kind, pa.ArrowException, OSError, UnicodeDecodeError)


def batches_after(batches: Iterator[Any], start: int) -> Iterator[Any]:
    """The batches without their first `start` rows."""
    for batch in batches:
        if start < batch.num_rows:
            yield batch.slice(start) if start else batch
        start = max(0, start - batch.num_rows)


def table_rows(
    path: Any,
    column: str | None,
    schema: Any,
    n: int,
    batches: Batches,
    kind_of_rows: type[TableRows] = TableRows,
) -> TableRows:
    """The rows of the list column, `column` or the only one, of a table of n rows."""
    with table_damage(path, "table"):
        names = schema.names
        problems = {field.name: no_rows(field.type) for field in schema}
    if n < 0:
        raise FileError(path, f"is damaged: it declares {n} rows.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise FileError(path, f"has several columns of the name {twice[0]!r}; rename them.")
    name = choose(path, column, "column", problems)
    kind = schema.field(name).type
    d = getattr(kind, "list_size", None) or _first_length(path, name, n, batches)
    dtype = np.dtype(kind.value_type.to_pandas_dtype())
    return kind_of_rows(path, name, (n, d), dtype, schema, batches)


def _first_length(path: Any, name: str, n: int, batches: Batches) -> int:
    """The length of the first list: what all rows of a column of free lists must have."""
    if n == 0:
        raise NoRowsError(
            path,
            f"column {name!r} has no rows, and lists of free length do not tell the dimension; "
            "save a fixed-size list.",
        )
    first = _Cursor(path, batches(path, [name], 1)).take(1).column(name)
    length = first.chunk(first.num_chunks - 1).value_lengths()[0].as_py()
    if length is None:
        raise FileError(path, _null_row(name, 0))
    if length < 1:
        raise FileError(path, f"column {name!r}: row 0 is a list without a single number.")
    return int(length)


def no_rows(kind: Any) -> str | None:
    """Why a column of this Arrow type cannot hold rows; None where it can."""
    types = require("pyarrow", extra="io").types
    if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
        return f"is of type {kind}, not lists of numbers"
    if not (types.is_floating(kind.value_type) or types.is_integer(kind.value_type)):
        return f"is of type {kind}; wanted lists of float or integer numbers"
    if types.is_fixed_size_list(kind) and kind.list_size == 0:
        return "has lists without a single number"
    return None


def matrix_of(path: Any, name: str, lists: Any, d: int, start: int) -> np.ndarray:
    """The lists as an array of shape (m, d), a view of their memory; `start` is their first row."""
    with table_damage(path, "table"):
        lists.validate()
    if lists.null_count:
        raise FileError(path, _null_row(name, start + _first(lists.is_null())))
    lengths = lists.value_lengths().to_numpy()
    if (ragged := lengths != d).any():
        row = int(ragged.argmax())
        raise FileError(
            path,
            f"column {name!r} is ragged: row {start + row} holds {lengths[row]} numbers, "
            f"the rows before hold {d}. Drop or repair such rows.",
        )
    numbers = _numbers(path, lists, d)
    if numbers.null_count:
        raise FileError(
            path,
            f"column {name!r}: row {start + _first(numbers.is_null()) // d} holds a null among its "
            "numbers. Drop or fill such rows.",
        )
    array: np.ndarray = numbers.to_numpy(zero_copy_only=True).reshape(-1, d)
    return array


def _numbers(path: Any, lists: Any, d: int) -> Any:
    """The numbers in lists of length d, one behind the other, without copying."""
    is_fixed = require("pyarrow", extra="io").types.is_fixed_size_list(lists.type)
    first = lists.offset * d if is_fixed else lists.offsets[0].as_py()
    # Arrow ends the process rather than raise when it slices beyond the end.
    if not 0 <= first <= len(lists.values) - len(lists) * d:
        raise FileError(path, "is damaged: its lists reach beyond the numbers it holds.")
    return lists.values.slice(first, len(lists) * d)


def _first(mask: Any) -> int:
    return int(mask.to_numpy(zero_copy_only=False).argmax())


def _null_row(name: str, row: int) -> str:
    return f"column {name!r}: row {row} is null. Drop or fill such rows."


def appender(writer: Any, target: Target, schema: Any) -> Callable[[np.ndarray], object]:
    """A function that writes a block, with the next rows of the carried columns beside it."""
    pa = require("pyarrow", extra="io")
    next_rows = _carrier(target.like)

    def write(block: np.ndarray) -> None:
        lists = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), block.shape[1])
        columns = {target.column: lists, **next_rows(len(block))}
        with refusal(target):
            arrays = [_as_type(columns[field.name], field.type) for field in schema]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))

    return write


def _carrier(like: Rows | None) -> Callable[[int], dict[str, Any]]:
    """A function that gives the next m rows of the columns to carry along, by their names."""
    if not isinstance(like, TableRows) or not like.carried:
        return lambda m: {}
    cursor = _Cursor(like.path, like.batches(like.file, like.carried, _CARRIED_ROWS))

    def next_rows(m: int) -> dict[str, Any]:
        table = cursor.take(m)
        with table_damage(like.path, "table"):
            table.validate(full=True)
        return dict(zip(like.carried, table.columns, strict=True))

    return next_rows


def schema_of(target: Target) -> Any:
    """Of the table to write: the source's with its column replaced, or the one column alone."""
    pa = require("pyarrow", extra="io")
    kind = pa.list_(pa.from_numpy_dtype(target.dtype), target.shape[1])
    field = pa.field(target.column, kind)
    like = target.like
    if not isinstance(like, TableRows):
        return pa.schema([field])
    if target.column in like.carried:
        raise FileError(
            target.path,
            f"column {target.column!r} is carried along from {like.path} already; "
            "give the rows another name with column.",
        )
    schema = like.schema.set(like.schema.get_field_index(like.name), field)
    # Hugging Face's note declares the old type of the column and would be believed.
    notes = {key: text for key, text in (schema.metadata or {}).items() if key != b"huggingface"}
    return schema.with_metadata(notes)


def _as_type(column: Any, kind: Any) -> Any:
    return column if column.type == kind else column.cast(kind)


@contextmanager
def refusal(target: Target) -> Iterator[None]:
    """Turn what Arrow says against a column it cannot write into a `FileError`."""
    try:
        yield
    except require("pyarrow", extra="io").ArrowException as error:
        raise FileError(target.path, f"could not be written ({error}).") from error
