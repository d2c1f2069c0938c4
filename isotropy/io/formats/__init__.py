"""File formats, one file each; `isotropy.tables.FORMATS` has them by suffix."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from isotropy.io.target import Target
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError
from isotropy.tables import FORMATS

__all__ = ["ENCODE_FIRST", "Format", "format_of", "open_file", "writable"]

ENCODE_FIRST = "If it holds texts, encode them first: `isotropy encode TEXTS -o EMBEDDINGS.npy`."
"""Way out for those who hand in texts where their embeddings are wanted."""

_TEXTS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".md", "")


class Format(NamedTuple):
    """How files of one suffix are read and written.

    Parameters
    ----------
    read : callable
        Called with the path and the column, or None, it returns the rows.
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
    >>> def read(path, column):
    ...     lines = Path(path).read_text().splitlines()
    ...     return ArrayRows(path, None, np.array([line.split(";") for line in lines], float))
    >>> FORMATS.add(".semicolons", Format(read))
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "rows.semicolons")
    >>> _ = path.write_text("1;2;3")
    >>> open_rows(path).in_memory().tolist()
    [[1.0, 2.0, 3.0]]
    >>> _ = FORMATS.pop(".semicolons"), folder.cleanup()
    """

    read: Callable[[Path, str | None], Rows]
    write: (
        Callable[[IO[bytes], Target], AbstractContextManager[Callable[[np.ndarray], object]]] | None
    ) = None
    guessed: bool = False


def format_of(path: Path) -> Format:
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
    try:
        _check_file(path)
        return format_of(path).read(path, column)
    except OSError as error:
        raise FileError(path, f"could not be opened ({error.strerror or error}).") from error


def _check_file(path: Path) -> None:
    if not path.exists():
        raise FileError(path, "no such file.")
    if path.is_dir():
        raise FileError(path, "is a folder; name one file in it.")
    if not path.is_file():
        raise FileError(path, "is not a regular file; save its content to one first.")
    if path.stat().st_size == 0:
        raise FileError(path, "is empty (0 bytes); write or fetch it again.")
