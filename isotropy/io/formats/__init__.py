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

    Attributes
    ----------
    read : callable
        Called with the path and the column, or None, it returns the rows.
    write : callable
        Called with a binary file and the `Target`, it gives a context whose value is a function
        that appends a block. None where files of this kind are only read.
    guessed : bool
        Whether the suffix says too little: such files are not looked for in folders.
    """

    read: Callable[[Path, str | None], Rows]
    write: (
        Callable[[IO[bytes], Target], AbstractContextManager[Callable[[np.ndarray], object]]] | None
    ) = None
    guessed: bool = False


def format_of(path: Path) -> Format:
    """The format that the suffix of `path` names.

    Raises
    ------
    FileError
        If no format has this suffix.
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
    """The suffixes of files that are written as well as read."""
    return [suffix for suffix, form in FORMATS.items() if form.write is not None]


def open_file(path: Path, column: str | None) -> Rows:
    """The rows of one file.

    Raises
    ------
    FileError
        As `isotropy.io.open_rows` does.
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
