"""Write rows, block after block, to a file that appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from isotropy.io.formats import writable
from isotropy.io.target import Target
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError
from isotropy.storage.remote import located
from isotropy.storage.whole import whole_file
from isotropy.tables import FORMATS

__all__ = ["RowWriter"]


def _writer_of(path: Any) -> Any:
    """What writes files of this suffix."""
    form = FORMATS.get(path.suffix.lower())
    if form is not None and form.write is not None:
        return form.write
    if not path.suffix:
        problem = "has no suffix, which names the format; end it with a slash if it is a folder"
    elif form is None:
        problem = f"the suffix {path.suffix!r} names no format that is written"
    else:
        problem = f"{path.suffix} files are only read here"
    raise FileError(path, f"{problem}; write one of {', '.join(writable())}.")


class RowWriter:
    """Writes n rows of k numbers to a file, in the format that its suffix names.

    Used in a ``with`` statement. The file takes its place when the block has ended well and n
    rows have come; after any exception nothing is left, and an older file stays as it was. An
    older file is replaced without asking, even one that is being read.

    Parameters
    ----------
    path : str or path-like
        `.npy`, `.npz`, `.safetensors`, `.fvecs`; with the extra ``io`` `.parquet`, `.arrow`,
        `.feather`; with the extra ``hdf5`` `.h5`.
    shape : tuple of int
        (n, k), known in advance because headers come first.
    dtype : {"float16", "float32", "float64"}, default="float32"
        Type in the file; blocks are converted.
    column : str, optional
        Name of the column, tensor or array of the archive; by default the name of `like`, else
        "embedding". `.npy` files have none.
    like : Rows, optional
        The rows that these were made from, in the same order. If both files are Parquet or Arrow,
        the other columns of the source (ids, texts) are carried along, and the new column takes
        the place of the old.
    opened : callable, optional
        Called with the path, it gives the context in which the file is written; by default
        `isotropy.storage.whole.whole_file`.

    Raises
    ------
    FileError
        If nothing can be written at `path`, or `like` turns out to be damaged.
    ValueError
        If the shape, type or number of rows is not what was promised.

    Examples
    --------
    >>> import tempfile
    >>> from isotropy.io import open_rows
    >>> folder = tempfile.TemporaryDirectory()
    >>> with RowWriter(f"{folder.name}/rows.npy", shape=(4, 2)) as out:
    ...     out.write([[1, 2], [3, 4]])
    ...     out.write([[5, 6], [7, 8]])
    >>> open_rows(f"{folder.name}/rows.npy").in_memory().sum(axis=0).tolist()
    [16.0, 20.0]
    >>> folder.cleanup()
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        shape: tuple[int, int],
        dtype: DTypeLike = "float32",
        column: str | None = None,
        like: Rows | None = None,
        opened: Callable[[Any], AbstractContextManager[IO[bytes]]] = whole_file,
    ) -> None:
        if len(shape) != 2 or shape[0] < 0 or shape[1] < 1:
            raise ValueError(f"shape must be (n, k) with n >= 0 and k >= 1, got {tuple(shape)}.")
        n, k = int(shape[0]), int(shape[1])
        kind = np.dtype(dtype)
        if kind.name not in ("float16", "float32", "float64"):
            raise ValueError(f"dtype must be float16, float32 or float64, got {kind.name}.")
        if like is not None and like.shape[0] != n:
            raise ValueError(f"like has {like.shape[0]} rows, but shape promises {n}.")
        column = column or (like.name if like is not None else None) or "embedding"
        self._target = Target(located(path), (n, k), kind.newbyteorder("<"), column, like)
        self._begin = _writer_of(self._target.path)
        self._append: Callable[[np.ndarray], object] | None = None
        self._opened = opened
        self._written = 0

    def write(self, block: ArrayLike) -> None:
        """Append rows.

        Parameters
        ----------
        block : array-like of shape (m, k)
            The next rows; m may be 0.

        Raises
        ------
        FileError
            If the disk is full, or the columns to carry along cannot be read or written.
        ValueError
            If the block does not fit what was promised, or its numbers the type of the file.

        Examples
        --------
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> with RowWriter(f"{folder.name}/rows.npy", shape=(2, 2), dtype="float16") as out:
        ...     out.write([[1e9, 1], [0, 0]])
        Traceback (most recent call last):
        ValueError: block holds numbers beyond the range of float16 (65504); write a wider dtype.
        >>> folder.cleanup()
        """
        if self._append is None:
            raise ValueError("RowWriter writes only inside its with statement.")
        block = self._converted(np.asarray(block))
        self._written += len(block)
        if self._written > self._target.shape[0]:
            raise ValueError(
                f"{self._target.shape[0]} rows were promised, this block makes {self._written}."
            )
        if len(block):
            self._append(block)

    def _converted(self, block: np.ndarray) -> np.ndarray:
        k, dtype = self._target.shape[1], self._target.dtype
        if block.ndim != 2 or block.shape[1] != k:
            raise ValueError(f"block must have shape (m, {k}), got {block.shape}.")
        if block.dtype.kind not in "fiub":
            raise ValueError(f"block must hold real numbers, got dtype {block.dtype}.")
        try:
            with np.errstate(over="raise"):
                return np.ascontiguousarray(block, dtype)
        except FloatingPointError:
            raise ValueError(
                f"block holds numbers beyond the range of {dtype.name} "
                f"({np.finfo(dtype).max:.6g}); write a wider dtype."
            ) from None

    @contextmanager
    def _session(self) -> Iterator[Callable[[np.ndarray], object]]:
        path, n = self._target.path, self._target.shape[0]
        with self._opened(path) as file, self._begin(file, self._target) as append:
            yield append
            if self._written < n:
                raise ValueError(
                    f"{n} rows were promised, {self._written} came; {path} was not written."
                )

    def __enter__(self) -> RowWriter:
        self._written = 0
        self._open = self._session()
        self._append = self._open.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._append = None
        self._open.__exit__(kind, error, traceback)
