"""`.npy`: one array of plain numbers."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Any

import numpy as np

from isotropy.io.checks import check_size, unusable
from isotropy.io.formats import Format
from isotropy.io.plain import PlainRows
from isotropy.io.ranges import Ranges
from isotropy.io.target import Target
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError, damage

__all__ = ["HEADER_LIMIT", "NPY", "NpyHeader", "read_header", "read_npy", "write_npy"]

# Twelve bytes of magic and lengths before the text, which numpy itself limits to 10,000.
HEADER_LIMIT = 12 + 10_000

_npy: Any = np.lib.format  # its functions have no types

_HEADER_ERRORS = (ValueError, SyntaxError, TypeError, tokenize.TokenError, RecursionError)


@dataclass(frozen=True)
class NpyHeader:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    size: int


def read_npy(file: Ranges, column: str | None) -> Rows:
    """The rows of a `.npy` file."""
    if column is not None:
        raise FileError(
            file, f"a .npy file holds one array and no names; leave out column={column!r}."
        )
    # A bounded piece: a damaged length cannot make numpy read a whole file into memory.
    header = read_header(file, file.read_at(0, min(HEADER_LIMIT, file.size)))
    if problem := unusable(header.shape, header.dtype):
        raise FileError(file, f"the array {problem}.")
    check_size(file, header.shape, header.dtype, file.size - header.size)
    return PlainRows(file, None, header.shape, header.dtype, header.size, fortran=header.fortran)


def read_header(file: Ranges, begin: bytes) -> NpyHeader:
    """What the first bytes of an array say of it."""
    width = 2 if begin[6:7] == b"\1" else 4
    length = int.from_bytes(begin[8 : 8 + width], "little")
    with damage(file, ".npy", *_HEADER_ERRORS):
        return _parsed(begin[: 8 + width + length])


@lru_cache(maxsize=16)
def _parsed(begin: bytes) -> NpyHeader:
    """The shards of a whole begin alike, and numpy takes its time."""
    head = io.BytesIO(begin)
    version = _npy.read_magic(head)
    if version == (1, 0):
        read = _npy.read_array_header_1_0
    elif version == (2, 0):
        read = _npy.read_array_header_2_0
    else:  # (3, 0) is written for the field names of structured arrays alone
        raise ValueError(f"npy format version {version} holds no plain array")
    shape, fortran, dtype = read(head)
    return NpyHeader(shape, dtype, fortran, head.tell())


@contextmanager
def write_npy(file: IO[bytes], target: Target) -> Iterator[Callable[[np.ndarray], object]]:
    """A function that appends blocks to a new `.npy` file."""
    header = {
        "descr": _npy.dtype_to_descr(target.dtype),
        "fortran_order": False,
        "shape": target.shape,
    }
    _npy.write_array_header_1_0(file, header)
    yield lambda block: file.write(block.data)


NPY = Format(read_npy, write_npy)
