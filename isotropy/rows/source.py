"""Rows of any kind under one interface: what `as_rows` returns and what readers of files give."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from isotropy.rows.arrays import is_torch, numpy_dtype, output_dtype, to_numpy
from isotropy.storage.errors import FileError
from isotropy.storage.secrets import Address

__all__ = ["ArrayRows", "MappedRows", "MemoryRows", "Rows", "digest_of_numbers"]


Mapping = Callable[[Any], Any]
Names = Callable[[], Sequence[str]]


class Rows(ABC):
    """n rows of d numbers, handed out in blocks: an array, a file, a table, a collection.

    `as_rows` makes one of anything, `isotropy.io.open_rows` of a file; a file must stay unchanged
    as long as its rows are in use. A source of one's own is a subclass that gives ``_blocks``.

    Parameters
    ----------
    path : Path, str, isotropy.io.ranges.Ranges or None
        The file: what a `Format` is given, or a mere name, of which no change is told. None for
        rows that are not in one.
    name : str or None
        The column, tensor or archive member; None where there are no names.
    shape : tuple of int
        (n, d); n may be 0, d is at least 1.
    dtype : numpy.dtype
        Of the blocks, in native byte order. bfloat16 files come as float32, exactly.

    Attributes
    ----------
    path, name, shape, dtype
        As given; of ranges their path.
    file
        What was given as path.
    array : array of shape (n, d) or None
        The rows as one array where they are in memory already; None where they must be read.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.rows import Rows
    >>> class Counted(Rows):
    ...     def _blocks(self, block_rows, start):
    ...         for first in range(start, len(self), block_rows):
    ...             last = min(first + block_rows, len(self))
    ...             yield np.arange(first, last)[:, None] + np.zeros(2)
    >>> Counted(None, None, (5, 2), np.dtype("float64")).take([4, 1]).tolist()
    [[4.0, 4.0], [1.0, 1.0]]
    """

    file: Any = None
    array: Any = None
    width_known = True
    """Whether `shape` costs nothing; that of a Dask dataframe or bag takes a pass over it."""
    device: Any = None
    """The torch device of rows that lie on another than the processor; else None."""

    def __init__(
        self, path: Any, name: str | None, shape: tuple[int, int], dtype: np.dtype[Any]
    ) -> None:
        self.file = path
        named = getattr(path, "path", path)
        # Whoever shows the path of rows shows no secret.
        self.path: Any = Address(named) if isinstance(named, str) and "://" in named else named
        self.name = name
        self.shape = shape
        self.dtype = dtype.newbyteorder("=")

    def __len__(self) -> int:
        return int(self.shape[0])

    def __repr__(self) -> str:
        said = [] if self.path is None else [f"{str(self.path)!r}"]
        said += [] if self.name is None else [f"column={self.name!r}"]
        said += [f"shape={self.shape}"] if self.width_known else []
        return f"{type(self).__name__.lstrip('_')}({', '.join([*said, f'dtype={self.dtype}'])})"

    def blocks(self, block_rows: int = 16384, *, start: int = 0) -> Iterator[Any]:
        """Iterate over the rows from the first to the last; every call starts anew.

        Parameters
        ----------
        block_rows : int, default=16384
            Rows in a block at most. Only the last one of a file, of a shard or of a stored chunk
            holds fewer.
        start : int, default=0
            The row to begin with.

        Returns
        -------
        iterator of arrays of shape (m, d)
            To be treated as read-only: they may be views into the array that came. numpy; torch
            tensors where the rows are one that numpy cannot hold.

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

    def _checked(self, block_rows: int, start: int) -> Iterator[Any]:
        if start < self.shape[0]:
            with self._room():
                yield from self._blocks(block_rows, start)
        self.check_unchanged()

    @contextmanager
    def _room(self) -> Iterator[None]:
        """What is read may be wider than memory: told in one line, with the file's name."""
        try:
            yield
        except MemoryError as error:
            n, d = self.shape
            raise FileError(
                str(self.path),
                f"holds {n} x {d} numbers of type {self.dtype.name}, more at a time than there is "
                f"memory for ({error}).",
            ) from error

    @abstractmethod
    def _blocks(self, block_rows: int, start: int) -> Iterator[Any]:
        """Yield blocks of at most `block_rows` rows, from row `start` on."""

    def in_memory(self) -> np.ndarray:
        """All rows as one numpy array; nothing is copied that is one already."""
        if self.array is not None:
            return to_numpy(self.array)
        with self._room():
            blocks = [to_numpy(block) for block in self.blocks()]
            return np.concatenate(blocks) if blocks else np.empty(self.shape, self.dtype)

    def whole(self) -> Any:
        """All rows as one array; a tensor that came stays that tensor, gradients and all.

        Returns
        -------
        array of shape (n, d), numpy or torch
        """
        return self.in_memory()

    def take(self, numbers: Any) -> np.ndarray:
        """The rows of these numbers, in this order.

        Parameters
        ----------
        numbers : int array of shape (m,)
            From 0; a number may come twice.

        Returns
        -------
        ndarray of shape (m, d)

        Notes
        -----
        Rows that come in blocks are read once from the first to the last.
        """
        numbers = np.asarray(numbers, dtype=np.intp)
        if self.array is not None:
            return to_numpy(self.array[numbers])
        order = np.argsort(numbers, kind="stable")
        rising, parts, first = numbers[order], [], 0
        for block in self.blocks():
            low, high = np.searchsorted(rising, [first, first + len(block)])
            parts.append(to_numpy(block)[rising[low:high] - first])
            first += len(block)
        found = np.concatenate([np.empty((0, self.shape[1]), self.dtype), *parts])
        out = np.empty_like(found)
        out[order] = found
        return out

    def map(
        self,
        function: Callable[[Any], Any],
        width: int,
        names: Callable[[], Sequence[str]] | None = None,
    ) -> Any:
        """``function`` of the rows, in the kind in which they came.

        Parameters
        ----------
        function : callable
            Takes an array of shape (m, d), gives one of shape (m, width); row by row.
        width : int
            Numbers in a row of the result.
        names : callable, optional
            Gives the names of the columns where they are needed, for collections of frames.

        Returns
        -------
        array, Rows or collection
            An array of an array. Rows of files stay where they are: the result is `Rows` whose
            blocks are mapped when they are read. Dask stays lazy.
        """
        return MappedRows(self, function, width)

    def reduce(
        self,
        summarize: Callable[..., Any],
        add: Callable[[list[Any]], Any],
        sample_weight: Any = None,
        *beside: Any,
    ) -> Any:
        """A summary of all rows, made where they lie.

        Parameters
        ----------
        summarize : callable
            ``summarize(rows, weights, n_rows, *beside)`` of some of the rows, n_rows being how many
            there are in all.
        add : callable
            Makes one summary of a list of them.
        sample_weight : array of shape (n,), optional
        *beside : arrays of shape (n, ...)
            What else belongs to the rows, cut as they are.

        Returns
        -------
        summary
        """
        return summarize(self, sample_weight, self.shape[0], *beside)

    def locate(self, row: int) -> str:
        """Where a row lies.

        Parameters
        ----------
        row : int

        Returns
        -------
        str
            Stands behind the row's number in an error; empty for rows in no file.
        """
        return "" if self.path is None else f" of {self.path}"

    def fingerprint(self) -> list[Any]:
        """What tells these rows from others of the same name: sizes and times, JSON-able."""
        of_file = getattr(self.file, "fingerprint", None)
        content = of_file() if of_file else None
        return [str(self.path), self.name, list(self.shape), self.dtype.name, content]

    def check_unchanged(self) -> None:
        """Look whether the file is still what it was when it was opened.

        Raises
        ------
        FileError
            If it has grown or changed.
        """
        if check := getattr(self.file, "check_unchanged", None):
            check()


class ArrayRows(Rows):
    """Rows of a file that are one array in memory already."""

    def __init__(self, path: Any, name: str | None, array: np.ndarray) -> None:
        super().__init__(path, name, (array.shape[0], array.shape[1]), array.dtype)
        self.array = array

    def _blocks(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        for first in range(start, self.shape[0], block_rows):
            block = np.asarray(self.array[first : first + block_rows])
            yield block.astype(self.dtype, copy=False)


class MemoryRows(Rows):
    """Rows of an array that the caller holds: numpy, or torch on any device.

    A tensor on the processor whose type numpy knows is seen as a numpy view, so one code path
    serves both; `map` gets the tensor itself.
    """

    def __init__(self, given: Any) -> None:
        super().__init__(None, None, tuple(given.shape), numpy_dtype(given))
        self.given = given
        held = given.detach() if is_torch(given) else given
        at_home = not is_torch(held) or held.device.type == "cpu"
        self.device = None if at_home else held.device
        shared = is_torch(held) and at_home and "bfloat16" not in str(held.dtype)
        self.array = held.numpy() if shared else held

    def _blocks(self, block_rows: int, start: int) -> Iterator[Any]:
        for first in range(start, self.shape[0], block_rows):
            yield self.array[first : first + block_rows]

    def whole(self) -> Any:
        """The array that came."""
        return self.given

    def fingerprint(self) -> list[Any]:
        """A digest of the numbers: there is no file whose time would tell."""
        return [*super().fingerprint(), digest_of_numbers(self)]

    def map(
        self,
        function: Callable[[Any], Any],
        width: int,
        names: Callable[[], Sequence[str]] | None = None,
    ) -> Any:
        """``function`` of the array."""
        return function(self.given)


def digest_of_numbers(rows: Rows) -> str:
    """What tells rows from others, of all their numbers.

    Parameters
    ----------
    rows : Rows

    Returns
    -------
    str

    Examples
    --------
    >>> zeros, ones = MemoryRows(np.zeros((3, 2))), MemoryRows(np.ones((3, 2)))
    >>> digest_of_numbers(zeros) == digest_of_numbers(ones)
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    for block in rows.blocks():
        digest.update(to_numpy(block).tobytes())
    return digest.hexdigest()


class MappedRows(Rows):
    """Rows as a function gives them back, computed block by block as they are read."""

    def __init__(self, rows: Rows, function: Callable[[Any], Any], width: int) -> None:
        super().__init__(
            None, rows.name, (rows.shape[0], width), output_dtype(np.empty(0, rows.dtype))
        )
        self.rows, self.function = rows, function
        self.path = rows.path

    def _blocks(self, block_rows: int, start: int) -> Iterator[Any]:
        for block in self.rows.blocks(block_rows, start=start):
            yield self.function(block)

    def locate(self, row: int) -> str:
        """Where the row lies that this one was made of."""
        return self.rows.locate(row)

    def check_unchanged(self) -> None:
        """Raise a `FileError` if the source has changed since it was opened."""
        self.rows.check_unchanged()
