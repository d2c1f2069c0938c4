"""What rows are read from beside single files, one file each; see `isotropy.tables.SOURCES`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from isotropy.rows.source import Rows
from isotropy.tables import SOURCES

__all__ = ["Source", "as_folder", "is_table", "source_of", "table_source"]


class Source(NamedTuple):
    """A table, a server, a folder: what is no single file.

    Parameters
    ----------
    recognizes : callable
        Called with what `isotropy.io.open_rows` was given, it says whether that is one of these.
        It must not import a library for that.
    read : callable
        Called with the same and the column, or None, it returns the rows.

    Examples
    --------
    A source of one's own, which `open_rows` and the command line know from then on:

    >>> import numpy as np
    >>> from isotropy.io import open_rows
    >>> from isotropy.rows.source import ArrayRows
    >>> zeros = Source(
    ...     lambda given: isinstance(given, str) and given.startswith("zeros:"),
    ...     lambda given, column: ArrayRows(None, None, np.zeros((int(given[6:]), 3))),
    ... )
    >>> SOURCES.add("zeros", zeros)
    >>> open_rows("zeros:5").shape
    (5, 3)
    >>> _ = SOURCES.pop("zeros")
    """

    recognizes: Callable[[Any], bool]
    read: Callable[[Any, str | None], Rows]


def source_of(given: Any) -> Source | None:
    """The source that recognizes what was given; the one added last is asked first.

    Parameters
    ----------
    given : object
        What `isotropy.io.open_rows` was given.

    Returns
    -------
    Source or None
        None where no source recognizes it.

    Examples
    --------
    >>> source_of("postgresql://host/base#items") is SOURCES["postgres"]
    True
    >>> source_of("rows.npy") is None
    True
    """
    found = (SOURCES[name] for name in reversed(list(SOURCES)))
    return next((source for source in found if source.recognizes(given)), None)


def as_folder(given: Any) -> Path | None:
    """The folder that a path names.

    Parameters
    ----------
    given : object
        A path, or anything else.

    Returns
    -------
    Path or None
        None where it is no path, or no folder is there.

    Examples
    --------
    >>> as_folder(".").is_dir(), as_folder(7)
    (True, None)
    """
    path = Path(given) if isinstance(given, str | os.PathLike) else None
    return path if path is not None and path.is_dir() else None


def table_source(path: Path) -> Source | None:
    """The source of a folder that is one table (Zarr, Lance, a saved dataset), not many files.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Source or None
        None for any other folder, and for what is none.

    Examples
    --------
    >>> table_source(Path("."))
    """
    found = source_of(path) if path.is_dir() else None
    return None if found is SOURCES["folder"] else found


def is_table(path: Path) -> bool:
    """Whether a folder is one table; see `table_source`.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool

    Examples
    --------
    >>> is_table(Path("."))
    False
    """
    return table_source(path) is not None
