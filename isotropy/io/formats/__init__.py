"""File formats, one file each; `isotropy.tables.FORMATS` has them by suffix."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from isotropy.io.ranges import LocalRanges, Ranges
from isotropy.io.target import Target
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError
from isotropy.storage.secrets import Address
from isotropy.tables import FORMATS

__all__ = ["ENCODE_FIRST", "Format", "format_of", "open_file", "read_ranges", "writable"]

ENCODE_FIRST = "If it holds texts, encode them first: `isotropy encode TEXTS -o EMBEDDINGS.npy`."
"""Way out for those who hand in texts where their embeddings are wanted."""

_TEXTS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".md", "")


class Format(NamedTuple):
    """How files of one suffix are read and written.

    Parameters
    ----------
    read : callable
        Called with the `isotropy.io.ranges.Ranges` of the file, which stand for its path too, and
        the column, or None, it returns the rows.
    write : callable, optional
        Called with a binary file and the `Target`, it gives a context whose value is a function
        that appends a block. None where files of this kind are only read.
    guessed : bool, default=False
        Whether the suffix says too little: such files are not looked for in folders.

    Examples
    --------
    A format of one's own, which `open_rows` and the command line know from then on:

    >>> from isotropy.io import open_rows
    >>> from isotropy.rows.source import ArrayRows
    >>> def read(file, column):
    ...     lines = file.read_at(0, file.size).decode().splitlines()
    ...     return ArrayRows(file, None, np.array([line.split(";") for line in lines], float))
    >>> FORMATS.add(".semicolons", Format(read))
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "rows.semicolons")
    >>> _ = path.write_text("1;2;3")
    >>> open_rows(path).in_memory().tolist()
    [[1.0, 2.0, 3.0]]
    >>> _ = FORMATS.pop(".semicolons"), folder.cleanup()
    """

    read: Callable[[Ranges, str | None], Rows]
    write: (
        Callable[[IO[bytes], Target], AbstractContextManager[Callable[[np.ndarray], object]]] | None
    ) = None
    guessed: bool = False


def format_of(path: Path | Address | Ranges) -> Format:
    """The format that the suffix of a path names.

    Parameters
    ----------
    path : Path
        Of a file that may not be there yet.

    Returns
    -------
    Format

    Raises
    ------
    FileError
        If no format has this suffix.

    Examples
    --------
    >>> format_of(Path("rows.bvecs")).write is None  # only read
    True
    """
    suffix = path.suffix.lower()
    if suffix in FORMATS:
        found: Format = FORMATS[suffix]
        return found
    texts = f" {ENCODE_FIRST}" if suffix in _TEXTS else ""
    raise FileError(
        path,
        f"the suffix {path.suffix!r} names no supported format; use one of "
        f"{', '.join(FORMATS)}.{texts}",
    )


def writable() -> list[str]:
    """The suffixes of files that are written as well as read.

    Returns
    -------
    list of str

    Examples
    --------
    >>> writable()[:3]
    ['.npy', '.npz', '.safetensors']
    """
    return [suffix for suffix, form in FORMATS.items() if form.write is not None]


def open_file(path: Path, column: str | None) -> Rows:
    """The rows of one file.

    Parameters
    ----------
    path : Path
    column : str or None
        Which column, tensor or member; None takes the only one that can be rows.

    Returns
    -------
    Rows

    Raises
    ------
    FileError
        As `isotropy.io.open_rows` does.

    Examples
    --------
    >>> open_file(Path("no-such-file.npy"), None)
    Traceback (most recent call last):
    isotropy.storage.errors.FileError: no-such-file.npy: no such file.
    """
    return read_ranges(LocalRanges(path), column)


def read_ranges(file: Ranges, column: str | None) -> Rows:
    """The rows of one file, wherever it lies.

    Parameters
    ----------
    file : Ranges
    column : str or None
        As in `open_file`.

    Returns
    -------
    Rows

    Raises
    ------
    FileError
        As `isotropy.io.open_rows` does.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> np.save(f"{folder.name}/rows.npy", np.eye(3))
    >>> read_ranges(LocalRanges(f"{folder.name}/rows.npy"), None).shape
    (3, 3)
    >>> folder.cleanup()
    """
    form = format_of(file)
    try:
        return form.read(file, column)
    except OSError as error:
        raise FileError(file, f"could not be read ({error.strerror or error}).") from error
    except MemoryError as error:
        raise FileError(file, "asks for more memory than there is; damaged?") from error
