"""`.arrow` and `.feather`: Arrow files and streams; other columns are carried along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from isotropy._optional import require
from isotropy.io.columns import (
    TableRows,
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
from isotropy.storage.errors import FileError

__all__ = ["ARROW", "read_arrow", "write_arrow"]

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def read_arrow(path: Path, column: str | None) -> Rows:
    """The rows of one list column of an Arrow file, Feather file (version 2) or Arrow stream."""
    pa = require("pyarrow", extra="io")
    if _is_stream(path):
        with table_damage(path, "Arrow"), pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_stream(source)
            schema, n = reader.schema, sum(batch.num_rows for batch in reader)
        return table_rows(path, column, schema, n, _stream_batches)
    dataset = require("pyarrow.dataset", extra="io")
    with table_damage(path, "Arrow"), pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        # Asked for some columns, the reader copies them, which only decompression makes needful.
        mapped = reader.num_record_batches == 0 or _lies_in_map(source, reader.get_batch(0))
        schema = reader.schema
        # From the metadata alone.
        n = dataset.dataset(path.absolute(), format="ipc").count_rows()
    batches = _mapped_batches if mapped else _compressed_batches
    return table_rows(path, column, schema, n, batches)


def _mapped_batches(path: Path, columns: list[str], size: int, start: int = 0) -> Iterator[Any]:
    pa = require("pyarrow", extra="io")
    with table_damage(path, "Arrow"), pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        found = (reader.get_batch(i) for i in range(reader.num_record_batches))
        for batch in batches_after(found, start):
            yield batch.select(columns)


def _compressed_batches(path: Path, columns: list[str], size: int, start: int = 0) -> Iterator[Any]:
    pa = require("pyarrow", extra="io")
    with table_damage(path, "Arrow"), pa.memory_map(str(path)) as source:
        options = _projection(pa.ipc.open_file(source).schema, columns)
        reader = pa.ipc.open_file(source, options=options)
        found = (reader.get_batch(i) for i in range(reader.num_record_batches))
        for batch in batches_after(found, start):
            yield batch.select(columns)


def _stream_batches(path: Path, columns: list[str], size: int, start: int = 0) -> Iterator[Any]:
    pa = require("pyarrow", extra="io")
    with table_damage(path, "Arrow"), pa.memory_map(str(path)) as source:
        options = _projection(pa.ipc.open_stream(source).schema, columns)
        source.seek(0)
        for batch in batches_after(pa.ipc.open_stream(source, options=options), start):
            yield batch.select(columns)


def _projection(schema: Any, columns: list[str]) -> Any:
    fields = [schema.get_field_index(name) for name in columns]
    return require("pyarrow", extra="io").ipc.IpcReadOptions(included_fields=fields)


def _lies_in_map(source: Any, batch: Any) -> bool:
    """Whether a record batch is a view of the map it was read from, not decompressed."""
    source.seek(0)
    start = source.read_buffer(1).address
    buffers = [buffer for column in batch.columns for buffer in column.buffers() if buffer]
    return all(start <= buffer.address < start + source.size() for buffer in buffers)


def _is_stream(path: Path) -> bool:
    """Whether an Arrow file has the streaming format (Hugging Face's caches do)."""
    with open(path, "rb") as file:
        if file.read(6) == b"ARROW1":
            return False
        file.seek(max(0, path.stat().st_size - len(_END_OF_STREAM)))
        # Cut between two batches, a stream looks complete but for this mark.
        if file.read() == _END_OF_STREAM:
            return True
    raise FileError(
        path,
        "neither an Arrow file (no ARROW1 at its start) nor a complete Arrow stream (no mark at "
        "its end): truncated, or of another format, such as Feather version 1.",
    )


@contextmanager
def write_arrow(file: IO[bytes], target: Target) -> Iterator[Callable[[np.ndarray], object]]:
    """A function that appends blocks to a new, uncompressed Arrow (Feather version 2) file."""
    pa = require("pyarrow", extra="io")
    schema = schema_of(target)
    files = (_mapped_batches, _compressed_batches)
    if not (isinstance(target.like, TableRows) and target.like.batches in files):
        # An Arrow file allows one dictionary a column, which only another such file promises.
        schema = pa.schema([_plain(field) for field in schema], schema.metadata)
    with refusal(target):
        writer = pa.ipc.new_file(file, schema)
    with writer:
        yield appender(writer, target, schema)


def _plain(field: Any) -> Any:
    types = require("pyarrow", extra="io").types
    return field.with_type(field.type.value_type) if types.is_dictionary(field.type) else field


ARROW = Format(read_arrow, write_arrow)
