"""Rows of a file of embeddings: what every format is read as."""

from __future__ import annotations

import os
import stat
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isotropy.storage.errors import FileError

__all__ = ["ArrayRows", "Rows", "check_size", "choose", "map_rows", "unusable"]


class Rows(ABC):
    """The n rows of d numbers that a file holds, handed out in blocks.

    Made by `open_rows`; the file must stay unchanged as long as its rows are in use.

    Attributes
    ----------
    path : Path
    name : str or None
        The column, tensor or archive member; None where the format has no names.
    shape : tuple of int
        (n, d); n may be 0, d is at least 1.
    dtype : numpy.dtype
        Of the blocks, in native byte order. bfloat16 files come as float32, exactly.
    array : ndarray of shape (n, d) or None
        The rows as one read-only array, mostly a memory map, in the byte order of the file;
        None where blocks are the only way (Parquet, Arrow, bfloat16, compressed `.npz`).
    """

    array: np.ndarray | None = None
    mapped = False
    """Whether blocks are views of a memory map, which cost no memory of their own."""

    def __init__(
        self, path: Path, name: str | None, shape: tuple[int, int], dtype: np.dtype[Any]
    ) -> None:
        self.path = path
        self.name = name
        self.shape = shape
        self.dtype = dtype.newbyteorder("=")
        self._stamp = _stamp(path)

    def blocks(self, block_rows: int = 16384, *, start: int = 0) -> Iterator[np.ndarray]:
        """Iterate over the rows from the first to the last; every call starts anew.

        Parameters
        ----------
        block_rows : int, default=16384
            Rows in a block at most. Only the last one of a file, of a shard or of a stored chunk
            holds fewer.
        start : int, default=0
            The row to begin with.

        Yields
        ------
        block : ndarray of shape (m, d)
            To be treated as read-only: it may be a view into the file.

        Raises
        ------
        FileError
            If the file turns out to be damaged, ragged or to hold nulls at this place, or has
            changed since it was opened.
        """
        if block_rows < 1:
            raise ValueError(f"block_rows must be at least 1, got {block_rows}.")
        if not 0 <= start <= self.shape[0]:
            raise ValueError(f"start must be from 0 to {self.shape[0]}, got {start}.")
        return self._checked(block_rows, start)

    def _checked(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        if start < self.shape[0]:
            yield from self._blocks(block_rows, start)
        self.check_unchanged()

    @abstractmethod
    def _blocks(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        """Yield blocks of at most `block_rows` rows, from row `start` on."""

    def locate(self, row: int) -> str:
        """Where a row lies, as text behind its number in an error; empty if the path says it."""
        return ""

    def fingerprint(self) -> list[Any]:
        """What tells these rows from others of the same name: sizes and times, JSON-able."""
        return [str(self.path), self.name, list(self.shape), self.dtype.name, self._stamp]

    def check_unchanged(self) -> None:
        """Raise a `FileError` if the file has grown or changed since it was opened."""
        now = _stamp(self.path)
        if now != self._stamp:
            raise FileError(
                self.path,
                f"changed while it was in use ({_bytes(self._stamp)} then, {_bytes(now)} now): "
                "wait until it is complete, and begin again.",
            )


class ArrayRows(Rows):
    """Rows that are one array already, in a memory map or in memory."""

    mapped = True

    def __init__(self, path: Path, name: str | None, array: np.ndarray) -> None:
        super().__init__(path, name, (array.shape[0], array.shape[1]), array.dtype)
        self.array: np.ndarray = array

    def _blocks(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        for first in range(start, self.shape[0], block_rows):
            block = np.asarray(self.array[first : first + block_rows])
            yield block.astype(self.dtype, copy=False)


def _stamp(path: Path) -> list[int] | None:
    """Size and time of change of a file; None where there is no file of that name."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns] if stat.S_ISREG(found.st_mode) else None


def _bytes(stamp: list[int] | None) -> str:
    return "gone" if stamp is None else f"{stamp[0]} bytes"


def map_rows(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int, *, fortran: bool = False
) -> np.ndarray:
    """Memory map of the rows that start `offset` bytes into the file; sizes are checked before."""
    if 0 in shape:  # nothing to map, which the operating system would refuse
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def check_size(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], found: int) -> None:
    """Raise unless `found` bytes are exactly what rows of that shape and type take."""
    wanted = shape[0] * shape[1] * dtype.itemsize
    if found == wanted:
        return
    cause = (
        "the file is truncated; write or fetch it again"
        if found < wanted
        else "it holds more than one array or was damaged; save the array alone"
    )
    raise FileError(
        path,
        f"its header declares {shape[0]} x {shape[1]} numbers of type {dtype.name}, "
        f"{wanted} bytes, but {found} bytes follow: {cause}.",
    )


def unusable(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str | None:
    """Why an array of this shape and type holds no rows of embeddings; None if it does."""
    if dtype.hasobject:
        return (
            "holds pickled Python objects, which are never loaded because a pickle can run any "
            "code; save a plain numeric array, e.g. np.stack(list_of_vectors)"
        )
    if dtype.kind not in "fiub":
        return f"has dtype {dtype}; embeddings are real numbers, save e.g. float32"
    if len(shape) != 2:
        return (
            f"is {len(shape)}-D of shape {shape}; wanted 2-D, rows x dimensions: save a single "
            "vector as x.reshape(1, -1), and more axes as X.reshape(len(X), -1)"
        )
    n, d = shape
    if n < 0 or d < 1 or max(n, d) * dtype.itemsize > sys.maxsize:
        return f"has shape {shape}; wanted n x d with d of at least 1"
    return None


def choose(path: Path, column: str | None, kind: str, problems: Mapping[str, str | None]) -> str:
    """The name of the rows wanted among those a file holds.

    Parameters
    ----------
    path : Path
    column : str or None
        The name asked for; None takes the only usable one.
    kind : str
        What the format calls its parts: "column", "tensor", "array".
    problems : mapping of str to str or None
        Why each part cannot be used, None where it can.
    """
    if not problems:
        raise FileError(path, f"holds no {kind} at all.")
    usable = [name for name, problem in problems.items() if problem is None]
    if column is None:
        if len(usable) == 1:
            return usable[0]
        if usable:
            raise FileError(
                path, f"has several {kind}s of rows; choose one with column: {_listed(usable)}."
            )
        described = "; ".join(f"{kind} {name!r} {text}" for name, text in problems.items())
        raise FileError(path, f"holds no rows of numbers: {described}.")
    if column not in problems:
        raise FileError(path, f"has no {kind} {column!r}; it has {_listed(problems)}.")
    if problem := problems[column]:
        raise FileError(path, f"{kind} {column!r} {problem}.")
    return column


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names))
