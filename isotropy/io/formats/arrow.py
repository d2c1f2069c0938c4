"""`.arrow` and `.feather`: Arrow files and streams; other columns are carried along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from isotropy.io.messages import rows_of_file, rows_of_stream
from isotropy.io.ranges import Ranges
from isotropy.io.target import Target
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError

__all__ = ["ARROW", "read_arrow", "write_arrow"]

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def read_arrow(file: Ranges, column: str | None) -> Rows:
    """The rows of one list column of an Arrow file, Feather file (version 2) or Arrow stream."""
    batches, count = (
        (_stream_batches, rows_of_stream) if _is_stream(file) else (_file_batches, rows_of_file)
    )
    with _reader(file, batches is _stream_batches) as reader:
        schema = reader.schema
        n = count(file)
    return table_rows(file, column, schema, n, batches)


@contextmanager
def _reader(file: Ranges, stream: bool, columns: list[str] | None = None) -> Iterator[Any]:
    """Arrow's reader of some columns, or of all."""
    ipc = require("pyarrow", extra="io").ipc
    opened = ipc.open_stream if stream else ipc.open_file
    with table_damage(file, "Arrow"), file.open() as source:
        reader = opened(source)
        if columns is not None:
            fields = [reader.schema.get_field_index(name) for name in columns]
            source.seek(0)
            reader = opened(source, options=ipc.IpcReadOptions(included_fields=fields))
        yield reader


def _file_batches(file: Ranges, columns: list[str], size: int, start: int = 0) -> Iterator[Any]:
    with _reader(file, False, columns) as reader:
        found = (reader.get_batch(i) for i in range(reader.num_record_batches))
        for batch in batches_after(found, start):
            yield batch.select(columns)


def _stream_batches(file: Ranges, columns: list[str], size: int, start: int = 0) -> Iterator[Any]:
    with _reader(file, True, columns) as reader:
        for batch in batches_after(reader, start):
            yield batch.select(columns)


def _is_stream(file: Ranges) -> bool:
    """Whether an Arrow file has the streaming format (Hugging Face's caches do)."""
    if file.read_at(0, min(6, file.size)) == b"ARROW1":
        return False
    end = len(_END_OF_STREAM)
    # Cut between two batches, a stream looks complete but for this mark.
    if file.size >= end and file.read_at(file.size - end, end) == _END_OF_STREAM:
        return True
    raise FileError(
        file,
        "neither an Arrow file (no ARROW1 at its start) nor a complete Arrow stream (no mark at "
        "its end): truncated, or of another format, such as Feather version 1.",
    )


@contextmanager
def write_arrow(file: IO[bytes], target: Target) -> Iterator[Callable[[np.ndarray], object]]:
    """A function that appends blocks to a new, uncompressed Arrow (Feather version 2) file."""
    pa = require("pyarrow", extra="io")
    schema = schema_of(target)
    if not (isinstance(target.like, TableRows) and target.like.batches is _file_batches):
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
