"""The one error that a file can cause."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from isotropy.storage.secrets import masked, safe_url

__all__ = ["FileError", "NoRowsError", "damage"]


class FileError(ValueError):
    r"""A file cannot be read or written; the message is one line, the path first.

    Parameters
    ----------
    path : str or path-like
        The file, or the URL; the secrets of a URL are neither kept nor shown.
    problem : str
        What is wrong with it and what to do; other libraries' line breaks are taken out, and any
        secret of the URL.

    Examples
    --------
    >>> print(FileError("rows.npy", "is empty (0 bytes);\n write it again."))
    rows.npy: is empty (0 bytes); write it again.
    >>> print(FileError("https://host/rows.npy?token=hidden", "no token 'hidden' is known."))
    https://host/rows.npy?token=***: no token '***' is known.
    """

    def __init__(self, path: str | os.PathLike[str], problem: str) -> None:
        self.problem = masked(" ".join(problem.split()), path)
        shown = safe_url(path)
        self.path = path if os.fspath(path) == shown else shown
        super().__init__(self.path, self.problem)

    def __str__(self) -> str:
        return f"{os.fspath(self.path)}: {self.problem}"


class NoRowsError(FileError):
    """A file that holds no rows: empty without a dimension, or no embeddings at all.

    Examples
    --------
    >>> issubclass(NoRowsError, FileError)
    True
    """


@contextmanager
def damage(path: str | os.PathLike[str], kind: str, *errors: type[BaseException]) -> Iterator[None]:
    """Turn what a parser raises on broken bytes into a `FileError`.

    Parameters
    ----------
    path : str or path-like
    kind : str
        What such a file is called, for the message.
    *errors : type
        The exceptions of the parser.

    Yields
    ------
    None

    Raises
    ------
    FileError
        In the place of one of `errors`.

    Examples
    --------
    >>> with damage("rows.json", "JSON", KeyError):  # doctest: +ELLIPSIS
    ...     {}["rows"]
    Traceback (most recent call last):
    isotropy.storage.errors.FileError: rows.json: not a readable JSON file, ...
    """
    try:
        yield
    except FileError:  # a ValueError, as many a parser's
        raise
    except errors as error:
        raise FileError(
            path, f"not a readable {kind} file, damaged, truncated or of another format ({error})."
        ) from error
