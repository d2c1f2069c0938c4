"""Tables in memory, of pyarrow, polars and pandas; a pyarrow dataset is read as it comes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isotropy._optional import require
from isotropy.io.columns import TableRows, batches_after, table_damage, table_rows
from isotropy.io.ranges import LocalRanges
from isotropy.io.sources import Source
from isotropy.rows.door import as_rows
from isotropy.rows.source import Rows, digest_of_numbers
from isotropy.storage.errors import FileError

__all__ = ["FRAME", "is_frame", "read_frame"]

_TABLES = ("DataFrame", "Table", "RecordBatch")


def is_frame(given: Any) -> bool:
    """Whether this is a table of pyarrow, polars or pandas, without importing them."""
    root = type(given).__module__.partition(".")[0]
    return root in ("pyarrow", "polars", "pandas") and (
        type(given).__name__ in _TABLES or hasattr(given, "count_rows")
    )


def read_frame(given: Any, column: str | None) -> Rows:
    """The rows of one list column of a table, or of a table whose columns are all numbers."""
    name = Path(f"{type(given).__module__.partition('.')[0]} {type(given).__name__}")
    if hasattr(given, "count_rows"):
        return _read_dataset(name, given, column)
    table = _table(name, given)
    if column is None and not any("list" in str(field.type) for field in table.schema):
        return as_rows(given)

    def batches(file: Any, columns: list[str], size: int, start: int = 0) -> Iterator[Any]:
        yield from table.select(columns).slice(start).to_batches(max_chunksize=size)

    return table_rows(name, column, table.schema, table.num_rows, batches, _FrameRows)


class _FrameRows(TableRows):
    """Rows of a table in memory: no file's time tells whether they are the same."""

    def fingerprint(self) -> list[Any]:
        return [*super().fingerprint(), digest_of_numbers(self)]


def _table(name: Path, given: Any) -> Any:
    pa = require("pyarrow", extra="io")
    try:
        if isinstance(given, pa.Table):
            return given
        if isinstance(given, pa.RecordBatch):
            return pa.Table.from_batches([given])
        if hasattr(given, "to_arrow"):
            return given.to_arrow()
        return pa.Table.from_pandas(given, preserve_index=False)
    except pa.ArrowException as error:
        raise FileError(
            name,
            f"holds a column that Arrow cannot take ({error}); pass the column of vectors alone, "
            "as frame[[name]].",
        ) from error


def _read_dataset(name: Path, dataset: Any, column: str | None) -> Rows:
    files = _Files(name, getattr(dataset, "files", None) or [])
    with table_damage(name, "dataset"):
        n = dataset.count_rows()

    def batches(file: Any, columns: list[str], size: int, start: int = 0) -> Iterator[Any]:
        with table_damage(name, "dataset"):
            found = dataset.to_batches(
                columns=columns, batch_size=size, batch_readahead=1, fragment_readahead=1
            )
            for batch in batches_after(found, start):
                for first in range(0, batch.num_rows, size):
                    yield batch.slice(first, size).select(columns)

    kind = TableRows if files.parts else _FrameRows
    return table_rows(files, column, dataset.schema, n, batches, kind)


class _Files:
    """The local files of a dataset, as far as it has any."""

    def __init__(self, path: Path, names: list[str]) -> None:
        self.path = path
        self.parts = [LocalRanges(name) for name in names if Path(name).is_file()]

    def fingerprint(self) -> list[Any]:
        return [[str(part.path), *part.fingerprint()] for part in self.parts]

    def __fspath__(self) -> str:
        return str(self.path)

    def check_unchanged(self) -> None:
        for part in self.parts:
            part.check_unchanged()


FRAME = Source(is_frame, read_frame)
