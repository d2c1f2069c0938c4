"""What a job reads, so that nothing of it is written to."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from isotropy.io import FileError, Rows
from isotropy.tables import FORMATS

__all__ = ["Inputs", "files_of", "shards_of"]


class Inputs:
    """The files, folders and patterns that a job reads.

    Parameters
    ----------
    *sources : Rows, str, path, list of them, or None
        Rows that are open, and what else is read by name.

    Examples
    --------
    >>> inputs = Inputs("shards/*.npy", "weights.npy")
    >>> inputs.refuse(Path("shards/new.npy"))
    Traceback (most recent call last):
    isotropy.storage.errors.FileError: shards/new.npy: would be read too, by shards/*.npy; ...
    >>> inputs.refuse(Path("corrected.npy"))
    """

    def __init__(self, *sources: Any) -> None:
        self._names: set[str] = set()
        self._files: set[tuple[int, int]] = set()
        self._folders: list[Path] = []
        self._patterns: list[Path] = []
        for source in sources:
            self._add(source)

    def _add(self, source: Any) -> None:
        if isinstance(source, Rows):
            for path in files_of(source):
                self._add_path(path)
            if not getattr(source, "listed", False):
                self._add(source.path)
        elif isinstance(source, list | tuple):
            for item in source:
                self._add(item)
        elif isinstance(source, str | os.PathLike) and "://" not in os.fspath(source):
            self._add_path(Path(source))

    def _add_path(self, path: Path) -> None:
        self._names.add(os.path.realpath(path))
        try:
            found = os.stat(path)
        except OSError:
            if glob.has_magic(str(path)):
                self._patterns.append(path)
            return
        self._files.add((found.st_dev, found.st_ino))
        if path.is_dir():
            self._folders.append(Path(os.path.realpath(path)))

    def refuse(self, output: Path) -> None:
        """Refuse to write a file that is read, or would be when the same is read again.

        Parameters
        ----------
        output : Path
            Need not be there yet.

        Raises
        ------
        FileError
            Which says what it is or where it lies.
        """
        real = Path(os.path.realpath(output))
        if str(real) in self._names or self._is_read(real):
            raise FileError(output, "is an input too; choose another name for the output.")
        for folder in self._folders:
            if real.is_relative_to(folder) and _would_be_read(real, folder):
                raise FileError(output, f"lies in the folder that is read, {folder}; name another.")
        for pattern in self._patterns:
            if _matches(real, pattern):
                raise FileError(
                    output, f"would be read too, by {pattern}; choose another name or folder."
                )

    def refuse_folder(self, output: Path) -> None:
        """Refuse to write a folder that is read, or lies in one that is.

        Parameters
        ----------
        output : Path
            Need not be there yet.

        Raises
        ------
        FileError
            Which says where it lies.
        """
        real = Path(os.path.realpath(output))
        for folder in self._folders:
            if real.is_relative_to(folder):
                raise FileError(output, f"lies in the folder that is read, {folder}; name another.")
        if str(real) in {os.path.dirname(name) for name in self._names} and self._files:
            raise FileError(output, "is the folder that is read; name another.")

    def _is_read(self, path: Path) -> bool:
        try:
            found = os.stat(path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) in self._files


def shards_of(rows: Rows) -> list[Rows]:
    """The parts that rows of many files are made of.

    Parameters
    ----------
    rows : Rows

    Returns
    -------
    list of Rows
        Rows of one file are their own.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.rows.source import ArrayRows
    >>> rows = ArrayRows(None, None, np.eye(3))
    >>> shards_of(rows) == [rows]
    True
    """
    parts: list[Rows] = getattr(rows, "shards", [rows])
    return parts


def files_of(rows: Rows) -> list[Path]:
    """The files and folders that rows are read from.

    Parameters
    ----------
    rows : Rows

    Returns
    -------
    list of Path
        Empty where they are in memory or on a server.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.rows.source import ArrayRows
    >>> files_of(ArrayRows(None, None, np.eye(3)))
    []
    """
    paths = [Path(shard.path) for shard in shards_of(rows) if shard.path is not None]
    return [path for path in paths if path.exists()]


def _would_be_read(path: Path, folder: Path) -> bool:
    """Whether a folder's readers would take this file for one of embeddings."""
    form = FORMATS.get(path.suffix.lower())
    hidden = any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    whole = any((folder / name).exists() for name in ("zarr.json", ".zarray", ".zgroup"))
    whole = whole or folder.suffix in (".zarr", ".lance") or (folder / "_versions").is_dir()
    return whole or (form is not None and not form.guessed and not hidden)


def _matches(path: Path, pattern: Path) -> bool:
    """Whether a pattern names a path, which need not be there."""
    fixed = _fixed(pattern)
    base = os.path.realpath(Path(*fixed))
    return path.is_relative_to(base) and any(
        _alike(path.relative_to(base).parts, way) for way in _ways(pattern.parts[len(fixed) :])
    )


def _fixed(pattern: Path) -> tuple[str, ...]:
    """The parts of a pattern before the first one with a wildcard."""
    count = next((i for i, part in enumerate(pattern.parts) if glob.has_magic(part)), 0)
    return pattern.parts[:count]


def _ways(rest: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The pattern with each ``**`` standing for zero to eight folders."""
    if "**" not in rest:
        yield rest
        return
    at = rest.index("**")
    for tail in _ways(rest[at + 1 :]):
        for depth in range(9):
            yield (*rest[:at], *("*",) * depth, *tail)


def _alike(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    return len(parts) == len(pattern) and all(map(fnmatch, parts, pattern))
