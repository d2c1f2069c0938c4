"""`.fvecs` and `.bvecs` (TEXMEX): before every row stands its number of dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from isotropy.io.formats import Format
from isotropy.io.plain import PlainRows
from isotropy.io.ranges import Ranges
from isotropy.io.target import Target
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError

__all__ = ["BVECS", "FVECS", "read_bvecs", "read_fvecs", "write_fvecs"]

_MOST_DIMENSIONS = 2**20


def read_fvecs(file: Ranges, column: str | None) -> Rows:
    """The rows of an `.fvecs` file: int32 dimension, then float32 numbers, little-endian."""
    return _read(file, column, np.dtype("<f4"))


def read_bvecs(file: Ranges, column: str | None) -> Rows:
    """The rows of a `.bvecs` file: int32 dimension, then uint8 numbers."""
    return _read(file, column, np.dtype("u1"))


def _read(file: Ranges, column: str | None, dtype: np.dtype[Any]) -> Rows:
    if column is not None:
        raise FileError(file, f"{file.suffix} files have no names; leave out column={column!r}.")
    d = int.from_bytes(file.read_at(0, min(4, file.size)), "little", signed=True)
    if not 1 <= d <= _MOST_DIMENSIONS:
        raise FileError(file, f"row 0 declares {d} dimensions; damaged, or of another format.")
    width = 4 + d * dtype.itemsize
    n, rest = divmod(file.size, width)
    if rest:
        raise FileError(
            file,
            f"row 0 declares {d} dimensions, {width} bytes a row, but {file.size} bytes are {n} "
            f"rows and {rest} bytes more: the file is truncated, or its rows differ in length.",
        )
    return _VectorRows(file, None, (n, d), dtype, 0)


class _VectorRows(PlainRows):
    """Rows with their number of dimensions before each of them."""

    def _read(self, first: int, stop: int) -> np.ndarray:
        numbers = (self._stored, (self.shape[1],))
        rows = np.empty(stop - first, np.dtype([("declared", "<i4"), ("numbers", *numbers)]))
        self.file.read_into(first * rows.itemsize, rows)
        return rows

    def _decoded(self, stored: np.ndarray, first: int) -> np.ndarray:
        declared, d = stored["declared"], self.shape[1]
        if (wrong := declared != d).any():
            row = int(wrong.argmax())
            raise FileError(
                self.path,
                f"row {first + row} declares {declared[row]} dimensions, the rows before "
                f"{d}: damaged, or of rows of several lengths.",
            )
        numbers: np.ndarray = stored["numbers"]
        return numbers.astype(self.dtype, copy=False)


@contextmanager
def write_fvecs(file: IO[bytes], target: Target) -> Iterator[Callable[[np.ndarray], object]]:
    """A function that appends blocks to a new `.fvecs` file, in float32."""
    d = target.shape[1]

    def write(block: np.ndarray) -> None:
        out = np.empty((len(block), 1 + d), "<f4")
        out[:, 0] = np.array([d], "<i4").view("<f4")[0]
        out[:, 1:] = block
        file.write(out.data)

    yield write


FVECS = Format(read_fvecs, write_fvecs)
BVECS = Format(read_bvecs)
