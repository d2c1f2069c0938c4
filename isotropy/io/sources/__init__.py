"""What rows are read from beside single files, one file each; see `isotropy.tables.SOURCES`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from isotropy.rows.source import Rows
from isotropy.tables import SOURCES

__all__ = ["Source", "as_folder", "source_of"]


class Source(NamedTuple):
    """A table, a server, a folder: what is no single file.

    Attributes
    ----------
    recognizes : callable
        Called with what `isotropy.io.open_rows` was given, it says whether that is one of these.
        It must not import a library for that.
    read : callable
        Called with the same and the column, or None, it returns the rows.
    """

    recognizes: Callable[[Any], bool]
    read: Callable[[Any, str | None], Rows]


def source_of(given: Any) -> Source | None:
    """The source that recognizes what was given, the one added last asked first; None if none."""
    found = (SOURCES[name] for name in reversed(list(SOURCES)))
    return next((source for source in found if source.recognizes(given)), None)


def as_folder(given: Any) -> Path | None:
    """The folder that a path names; None where it is no path, or no folder is there."""
    path = Path(given) if isinstance(given, str | os.PathLike) else None
    return path if path is not None and path.is_dir() else None
