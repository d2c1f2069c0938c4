"""What a job reads, so that nothing of it is written to."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from isotropy.io import FileError, Rows
from isotropy.io.folders import is_rows
from isotropy.io.sources import is_table
from isotropy.storage.remote import Place, is_remote, place_of

__all__ = ["Inputs", "files_of", "parts_of"]


class Inputs:
    """The files, folders and patterns that a job reads, here and elsewhere.

    Parameters
    ----------
    *sources : Rows, str, path, Address, list of them, or None
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
        self._keys: set[tuple[str, str]] = set()
        self._places: list[Place] = []
        for source in sources:
            self._add(source)

    def _add(self, source: Any) -> None:
        if isinstance(source, Rows):
            for path in files_of(source):
                self._add_path(path)
            for part in parts_of(source):
                if isinstance(read := getattr(part.file, "place", None), Place):
                    self._add_place(read)
            if not getattr(source, "listed", False):
                self._add(source.path)
        elif isinstance(source, list | tuple):
            for item in source:
                self._add(item)
        elif is_remote(source):
            self._places.append(place := place_of(source))
            self._add_place(place)
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

    def _add_place(self, place: Place) -> None:
        self._keys.add((place.protocol, place.key))

    def refuse(self, output: Path | Place) -> None:
        """Refuse to write a file that is read, or would be when the same is read again.

        Parameters
        ----------
        output : Path or Place
            Need not be there yet.

        Raises
        ------
        FileError
            Which says what it is or where it lies.
        """
        if isinstance(output, Place):
            self._refuse_elsewhere(output)
            return
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

    def _refuse_elsewhere(self, output: Place) -> None:
        if (output.protocol, output.key) in self._keys:
            raise FileError(output.address, "is an input too; choose another name for the output.")
        for read in self._places:
            inside = f"{read.key.rstrip('/')}/*"
            if read.protocol == output.protocol and (
                fnmatch(output.key, read.key) or fnmatch(output.key, inside)
            ):
                raise FileError(
                    output.address,
                    f"is an input too, or would be read by {read.address}; name another place.",
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


def parts_of(rows: Rows) -> list[Rows]:
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
    >>> parts_of(rows) == [rows]
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
    paths = [Path(shard.path) for shard in parts_of(rows) if shard.path is not None]
    return [path for path in paths if path.exists()]


def _would_be_read(path: Path, folder: Path) -> bool:
    """Whether a folder's readers would take this file for one of embeddings."""
    return is_table(folder) or is_rows(str(path.relative_to(folder)))


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
