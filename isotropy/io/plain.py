"""Rows whose numbers stand in a file as they are, one behind the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from isotropy.io.ranges import Ranges
from isotropy.rows.source import Rows

__all__ = ["PlainRows"]


class PlainRows(Rows):
    """Rows of plain numbers, each block read from its place in the file.

    Parameters
    ----------
    file : Ranges
    name : str or None
        Of the tensor or archive member.
    shape : tuple of int
        (n, d); whoever makes this has checked that the file holds so many.
    dtype : numpy.dtype
        Of the numbers as they are stored, in any byte order.
    offset : int
        Where they begin.
    fortran : bool, default=False
        Whether columns stand one behind the other, in the place of rows.
    """

    def __init__(
        self,
        file: Ranges,
        name: str | None,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        offset: int,
        *,
        fortran: bool = False,
    ) -> None:
        super().__init__(file, name, (shape[0], shape[1]), dtype)
        self._stored, self._offset, self._fortran = dtype, offset, fortran

    def _blocks(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        n = self.shape[0]
        for first in range(start, n, block_rows):
            yield self._decoded(self._read(first, min(first + block_rows, n)), first)

    def _read(self, first: int, stop: int) -> np.ndarray:
        """The rows of these numbers as they are stored."""
        n, d = self.shape
        size = self._stored.itemsize
        if not self._fortran:
            out = np.empty((stop - first, d), self._stored)
            self.file.read_into(self._offset + first * d * size, out)
            return out
        columns = np.empty((d, stop - first), self._stored)
        for column in range(d):
            place = self._offset + (column * n + first) * size
            self.file.read_into(place, columns[column])
        return columns.T

    def _decoded(self, stored: np.ndarray, first: int) -> np.ndarray:
        """Rows as they are handed out; `first` is the number of their first one."""
        return stored.astype(self.dtype, copy=False)

    def in_memory(self) -> np.ndarray:
        """All rows as one array, read in one go."""
        with self._room():
            (rows,) = [*self.blocks(max(1, len(self)))] or [np.empty(self.shape, self.dtype)]
        return rows

    def take(self, numbers: Any) -> np.ndarray:
        """The rows of these numbers, in this order: only they are read, neighbours together."""
        rising, back = np.unique(np.asarray(numbers, np.intp), return_inverse=True)
        if self._fortran or not len(rising):
            return super().take(numbers)
        if rising[0] < 0 or rising[-1] >= len(self):
            raise IndexError(f"rows are numbered from 0 to {len(self) - 1}.")
        found = np.empty((len(rising), self.shape[1]), self.dtype)
        begins = np.r_[0, np.flatnonzero(np.diff(rising) > 1) + 1, len(rising)]
        for begin, end in zip(begins[:-1].tolist(), begins[1:].tolist(), strict=True):
            first = int(rising[begin])
            found[begin:end] = self._decoded(self._read(first, first + end - begin), first)
        self.check_unchanged()
        return found[back]
