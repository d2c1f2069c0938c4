"""A file, or a folder, that appears whole or not at all."""

from __future__ import annotations

import io
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from isotropy.storage.errors import FileError

__all__ = ["check_folder", "whole_file", "whole_folder"]


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file to write to, which takes its place at `path` when the block ends well.

    Until then the bytes are in a temporary file of the same folder; after an exception it is
    removed, and a file that was at `path` stays as it was. Readers of that file, memory maps
    included, keep seeing the old content. A symbolic link is followed.

    Parameters
    ----------
    path : str or path-like

    Yields
    ------
    binary file

    Raises
    ------
    FileError
        If the folder is missing, the place is taken by something other than a file, nothing can
        be written there, or the disk is full.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "rows.bin")
    >>> with whole_file(path) as file:
    ...     written = file.write(b"rows")
    ...     os.path.exists(path)
    False
    >>> os.path.exists(path)
    True
    """
    path = Path(path)
    with _refusal(path):
        target = Path(os.path.realpath(path))
        _check_place(path, target)
        temporary = target.with_name(f".isotropy-{uuid.uuid4().hex}.tmp")
        raw = _Raw(temporary, path)
    try:
        with io.BufferedRandom(raw, 2**20) as file:
            yield file
            file.flush()
            with _refusal(path):
                os.fsync(file.fileno())
        with _refusal(path):
            if target.exists():
                temporary.chmod(target.stat().st_mode)
            os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder to fill, which takes its place at `path` when the block ends well.

    Parameters
    ----------
    path : str or path-like

    Yields
    ------
    Path
        A temporary folder beside it.

    Raises
    ------
    FileError
        If something is at `path` but an empty folder, or nothing can be written there.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "rows")
    >>> with whole_folder(path) as folder:
    ...     written = (folder / "a.txt").write_text("a")
    >>> os.listdir(path)
    ['a.txt']
    """
    target = check_folder(path)
    temporary = target.with_name(f".isotropy-{uuid.uuid4().hex}.tmp")
    try:
        with _refusal(target):
            temporary.mkdir()
            yield temporary
            if target.is_dir():
                target.rmdir()
            os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_folder(path: str | os.PathLike[str]) -> Path:
    """The path, if a folder can come into being there.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    Path
        Absolute.

    Raises
    ------
    FileError
        If something is in the way; the message says what.

    Examples
    --------
    >>> import os, tempfile
    >>> check_folder(os.path.join(tempfile.mkdtemp(), "new")).name
    'new'
    """
    target = Path(path).absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileError(Path(path), "exists and is not an empty folder; choose another name.")
    if not target.parent.is_dir():
        raise FileError(Path(path), f"the folder {target.parent} does not exist; make it first.")
    return target


class _Raw(io.FileIO):
    """The temporary file; only what goes wrong in writing it is reported as such."""

    def __init__(self, temporary: Path, path: Path) -> None:
        super().__init__(temporary, "x+")
        self._path = path

    def write(self, data: Any) -> int:
        with _refusal(self._path):
            return super().write(data)


@contextmanager
def _refusal(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(path, f"could not be written ({error.strerror or error}).") from error


def _check_place(path: Path, target: Path) -> None:
    if not target.parent.is_dir():
        raise FileError(path, f"the folder {target.parent} does not exist; make it first.")
    if target.is_dir():
        raise FileError(path, "is a folder; name a file in it.")
    if not target.exists():
        return
    if not target.is_file():
        raise FileError(path, "exists and is not a regular file; choose another name.")
    if not os.access(target, os.W_OK):
        raise FileError(path, "exists and is write-protected; choose another name.")
