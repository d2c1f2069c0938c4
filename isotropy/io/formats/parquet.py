"""`.parquet`: one column of lists, the others carried along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from isotropy._optional import require
from isotropy.io.columns import (
    appender,
    batches_after,
    refusal,
    schema_of,
    table_damage,
    table_rows,
)
from isotropy.io.formats import Format
from isotropy.io.ranges import Ranges
from isotropy.io.target import Target
from isotropy.rows.source import Rows

__all__ = ["PARQUET", "read_parquet", "write_parquet"]

_BUFFER = 2**18


def read_parquet(file: Ranges, column: str | None) -> Rows:
    """The rows of one list column of a Parquet file."""
    with _opened(file) as table:
        schema, n = table.schema_arrow, table.metadata.num_rows
    return table_rows(file, column, schema, n, _parquet_batches)


@contextmanager
def _opened(file: Ranges) -> Iterator[Any]:
    parquet = require("pyarrow.parquet", extra="io")
    # A row group is read page by page only so; by default, pyarrow reads it whole.
    options = {"pre_buffer": False, "buffer_size": _BUFFER, "page_checksum_verification": True}
    with (
        table_damage(file, "Parquet"),
        file.open() as source,
        parquet.ParquetFile(source, **options) as table,
    ):
        yield table


def _parquet_batches(file: Ranges, columns: list[str], size: int, start: int = 0) -> Iterator[Any]:
    with _opened(file) as table:
        groups, before = list(range(table.num_row_groups)), 0
        while groups and before + (rows := table.metadata.row_group(groups[0]).num_rows) <= start:
            before += rows
            groups.pop(0)
        # A batch of iter_batches may be a slice of a larger one, so its rows are counted.
        batches = table.iter_batches(size, row_groups=groups, columns=columns)
        for batch in batches_after(batches, start - before):
            yield batch.select(columns)


@contextmanager
def write_parquet(file: IO[bytes], target: Target) -> Iterator[Callable[[np.ndarray], object]]:
    """A function that appends blocks to a new Parquet file, each as a row group."""
    parquet = require("pyarrow.parquet", extra="io")
    schema = schema_of(target)
    # No two coordinates are alike: a dictionary of them costs time and saves nothing.
    others = [name for name in schema.names if name != target.column]
    with refusal(target):
        writer = parquet.ParquetWriter(
            file, schema, use_dictionary=others, write_page_checksum=True
        )
    with writer:
        yield appender(writer, target, schema)


PARQUET = Format(read_parquet, write_parquet)
