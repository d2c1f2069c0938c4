"""`.fvecs` and `.bvecs` (TEXMEX): before every row stands its number of dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from isotropy.io.checks import map_rows
from isotropy.io.formats import Format
from isotropy.io.target import Target
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError

__all__ = ["BVECS", "FVECS", "read_bvecs", "read_fvecs", "write_fvecs"]

_MOST_DIMENSIONS = 2**20


def read_fvecs(path: Path, column: str | None) -> Rows:
    """The rows of an `.fvecs` file: int32 dimension, then float32 numbers, little-endian."""
    return _read(path, column, np.dtype("<f4"))


def read_bvecs(path: Path, column: str | None) -> Rows:
    """The rows of a `.bvecs` file: int32 dimension, then uint8 numbers."""
    return _read(path, column, np.dtype("u1"))


def _read(path: Path, column: str | None, dtype: np.dtype[Any]) -> Rows:
    if column is not None:
        raise FileError(path, f"{path.suffix} files have no names; leave out column={column!r}.")
    with open(path, "rb") as file:
        d = int.from_bytes(file.read(4), "little", signed=True)
    if not 1 <= d <= _MOST_DIMENSIONS:
        raise FileError(path, f"row 0 declares {d} dimensions; damaged, or of another format.")
    width, size = 4 + d * dtype.itemsize, path.stat().st_size
    n, rest = divmod(size, width)
    if rest:
        raise FileError(
            path,
            f"row 0 declares {d} dimensions, {width} bytes a row, but {size} bytes are {n} rows "
            f"and {rest} bytes more: the file is truncated, or its rows differ in length.",
        )
    return _VectorRows(path, (n, d), dtype)


class _VectorRows(Rows):
    mapped = True

    def __init__(self, path: Path, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        super().__init__(path, None, shape, dtype)
        self._item = dtype
        self._bytes = map_rows(path, (shape[0], 4 + shape[1] * dtype.itemsize), np.dtype("u1"), 0)

    def _blocks(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        d = self.shape[1]
        for first in range(start, self.shape[0], block_rows):
            block = np.asarray(self._bytes[first : first + block_rows])
            declared = np.ascontiguousarray(block[:, :4]).view("<i4")[:, 0]
            if (wrong := declared != d).any():
                row = int(wrong.argmax())
                raise FileError(
                    self.path,
                    f"row {first + row} declares {declared[row]} dimensions, the rows before "
                    f"{d}: damaged, or of rows of several lengths.",
                )
            # Every row is contiguous, so its bytes can be read as numbers in place.
            yield block[:, 4:].view(self._item).astype(self.dtype, copy=False)


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
