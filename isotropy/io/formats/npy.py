"""`.npy`: one array, mapped in place."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from isotropy.io.checks import check_size, map_rows, unusable
from isotropy.io.formats import Format
from isotropy.io.target import Target
from isotropy.rows.source import ArrayRows, Rows
from isotropy.storage.errors import FileError, damage

__all__ = ["NPY", "NpyHeader", "read_header", "read_npy", "write_npy"]

# Twelve bytes of magic and lengths before the text, which numpy itself limits to 10,000.
_HEADER_LIMIT = 12 + 10_000

_npy: Any = np.lib.format  # its functions have no types

_HEADER_ERRORS = (ValueError, SyntaxError, TypeError, tokenize.TokenError, RecursionError)


@dataclass(frozen=True)
class NpyHeader:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    size: int


def read_npy(path: Path, column: str | None) -> Rows:
    """The rows of a `.npy` file, memory-mapped."""
    if column is not None:
        raise FileError(
            path, f"a .npy file holds one array and no names; leave out column={column!r}."
        )
    with open(path, "rb") as file:
        header = read_header(path, file)
    if problem := unusable(header.shape, header.dtype):
        raise FileError(path, f"the array {problem}.")
    check_size(path, header.shape, header.dtype, path.stat().st_size - header.size)
    array = map_rows(path, header.shape, header.dtype, header.size, fortran=header.fortran)
    return ArrayRows(path, None, array)


def read_header(path: Path, file: IO[bytes]) -> NpyHeader:
    # A bounded piece: a damaged length cannot make numpy read a whole file into memory.
    head = io.BytesIO(file.read(_HEADER_LIMIT))
    with damage(path, ".npy", *_HEADER_ERRORS):
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
