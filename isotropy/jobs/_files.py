"""Corrected rows into one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from isotropy.io import FileError, Rows, RowWriter
from isotropy.io.columns import TableRows
from isotropy.rows.lanes import prefetch, rows_at_a_time

__all__ = ["Apply", "check_not_read", "files_of", "shards_of", "write_file"]

Apply = Callable[[np.ndarray, int], np.ndarray]
"""Called with a block and the number of its first row, it gives the corrected block."""


def shards_of(rows: Rows) -> list[Rows]:
    """The parts that rows of many files are made of; those of one are their own."""
    parts: list[Rows] = getattr(rows, "shards", [rows])
    return parts


def files_of(rows: Rows) -> list[Path]:
    """The files that rows are read from; none where they are in memory or on a server."""
    paths = [Path(shard.path) for shard in shards_of(rows) if shard.path is not None]
    return [path for path in paths if path.exists()]


def check_not_read(rows: Rows, output: Path) -> None:
    """Raise a `FileError` if a file to be written is one of those that are read."""
    if output.exists() and any(output.samefile(path) for path in files_of(rows)):
        raise FileError(output, "is read too; choose another name for the output.")


def write_file(
    rows: Rows,
    output: Path,
    column: str | None,
    apply: Apply,
    k: int,
    dtype: np.dtype[Any],
    progress: Callable[[int], object] | None,
) -> None:
    """Write the corrected rows to a file, which appears whole or not at all."""
    like = rows if isinstance(rows, TableRows) else None
    shape, name = (rows.shape[0], k), column or rows.name
    with RowWriter(output, shape=shape, dtype=dtype, column=name, like=like) as writer:
        for start, block in _numbered(rows):
            writer.write(apply(block, start))
            if progress is not None:
                progress(start + len(block))


def _numbered(rows: Rows) -> Iterator[tuple[int, np.ndarray]]:
    start = 0
    for block in prefetch(rows.blocks(4 * rows_at_a_time(rows))):
        yield start, block
        start += len(block)
