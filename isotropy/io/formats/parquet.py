"""`.parquet`: one column of lists, the others carried along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
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
from isotropy.io.target import Target
from isotropy.rows.source import Rows

__all__ = ["PARQUET", "read_parquet", "write_parquet"]


def read_parquet(path: Path, column: str | None) -> Rows:
    """The rows of one list column of a Parquet file."""
    parquet = require("pyarrow.parquet", extra="io")
    # Here and below: an absolute path cannot be mistaken for a URI.
    with table_damage(path, "Parquet"), parquet.ParquetFile(path.absolute()) as file:
        schema, n = file.schema_arrow, file.metadata.num_rows
    return table_rows(path, column, schema, n, _parquet_batches)


def _parquet_batches(path: Path, columns: list[str], size: int, start: int = 0) -> Iterator[Any]:
    parquet = require("pyarrow.parquet", extra="io")
    # Only so is a row group read page by page; by default, pyarrow reads it whole.
    options = {"memory_map": True, "pre_buffer": False}
    with table_damage(path, "Parquet"), parquet.ParquetFile(path.absolute(), **options) as file:
        groups, before = list(range(file.num_row_groups)), 0
        while groups and before + (rows := file.metadata.row_group(groups[0]).num_rows) <= start:
            before += rows
            groups.pop(0)
        # A batch of iter_batches may be a slice of a larger one, so its rows are counted.
        batches = file.iter_batches(size, row_groups=groups, columns=columns)
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
        writer = parquet.ParquetWriter(file, schema, use_dictionary=others)
    with writer:
        yield appender(writer, target, schema)


PARQUET = Format(read_parquet, write_parquet)
