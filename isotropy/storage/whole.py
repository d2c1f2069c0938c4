"""A file, or a folder, that appears whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from isotropy.storage.errors import FileError
from isotropy.storage.locks import STRAY_PREFIX, fcntl, hold, sweep
from isotropy.storage.records import mark, plan_for
from isotropy.storage.remote import is_remote, place_of

__all__ = ["Batch", "check_folder", "sync_folder", "whole_file", "whole_folder"]


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file to write to, which takes its place at `path` when the block ends well.

    Until then the bytes are in a temporary file of the same folder, which has the mode, owner and
    attributes of a file that is replaced from its first byte. After an exception it is removed,
    and a file that was at `path` stays as it was; what a killed process leaves is removed by the
    next one that writes there. Readers of that file, memory maps included, keep seeing the old
    content. A symbolic link is followed: the file that it names is written.

    What goes to a store elsewhere (``s3://bucket/rows.npy``) is written to a temporary file here,
    and sent whole.

    Parameters
    ----------
    path : str, path-like or Address

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
    if is_remote(path):
        with place_of(path).writing() as file:
            yield file
        return
    batch = Batch()
    with batch, batch.file(path) as file:
        yield file


class Batch:
    """Whole files that take their places together, after one wait for the disk.

    Used in a ``with`` statement, whose end commits what is pending; after an exception that is
    thrown away.

    Parameters
    ----------
    note : callable, optional
        Called with the paths of the files when their bytes are safe on the disk, right before they
        take their places.

    Examples
    --------
    >>> import os, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with Batch() as batch:
    ...     for name in "ab":
    ...         with batch.file(os.path.join(folder.name, name)) as file:
    ...             written = file.write(b"rows")
    ...     sum(name in os.listdir(folder.name) for name in "ab")
    0
    >>> sorted(os.listdir(folder.name))
    ['a', 'b']
    """

    def __init__(self, note: Callable[[list[Path]], object] | None = None) -> None:
        self._note = note
        self._pending: list[_Temporary] = []
        self._since, self._bytes = time.monotonic(), 0

    def due(self, files: int, seconds: float, size: int) -> bool:
        """Whether it is time to commit.

        Parameters
        ----------
        files : int
        seconds : float
        size : int
            So many pending files, seconds since the last commit, or pending bytes.

        Returns
        -------
        bool
        """
        return len(self._pending) >= files or (
            time.monotonic() - self._since >= seconds or self._bytes >= size
        )

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            for temporary in self._pending:
                temporary.discard()
            self._pending = []

    @contextmanager
    def file(self, path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
        """A binary file to write to, as in `whole_file`; its place is taken by `commit`.

        Parameters
        ----------
        path : str or path-like

        Yields
        ------
        binary file
        """
        temporary = _Temporary(Path(path))
        try:
            with io.BufferedRandom(temporary.raw, 2**20) as file:
                yield file
                if plan := plan_for(temporary.target):
                    mark(file, plan)
        except BaseException:
            temporary.discard()
            raise
        self._pending.append(temporary)
        self._bytes += os.fstat(temporary.descriptor).st_size

    def commit(self) -> None:
        """Wait until all bytes are on the disk, and let the files take their places.

        Raises
        ------
        FileError
            If the disk is full, or a file cannot be replaced.
        """
        if len(self._pending) > 1:
            with ThreadPoolExecutor(min(8, len(self._pending))) as pool:
                list(pool.map(_Temporary.sync, self._pending))
        elif self._pending:
            self._pending[0].sync()
        if self._note is not None and self._pending:
            self._note([temporary.path for temporary in self._pending])
        folders = {temporary.target.parent for temporary in self._pending}
        while self._pending:
            self._pending[-1].place()
            self._pending.pop()
        for folder in folders:
            sync_folder(folder)
        self._since, self._bytes = time.monotonic(), 0


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can say so.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    FileError
        If they cannot get there.

    Examples
    --------
    >>> sync_folder(Path("."))
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # a folder that is only written to; Windows opens none
        return
    try:
        os.fsync(descriptor)
    except OSError as error:  # others say only that this file system syncs no folders
        if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
            raise FileError(folder, f"could not be written ({error.strerror}).") from error
    finally:
        os.close(descriptor)


class _Temporary:
    """A file under a name that nobody looks for, locked until it has its place."""

    def __init__(self, path: Path) -> None:
        self.path, self.placed = path, False
        with _refusal(path):
            self.target = Path(os.path.realpath(path))
            _check_place(path, self.target)
            sweep(self.target.parent)
            self.name, self.descriptor = _new_file(self.target)
            self.raw = _Raw(os.dup(self.descriptor), path)

    def sync(self) -> None:
        """Wait until its bytes are on the disk."""
        if not self.placed:
            with _refusal(self.path):
                os.fsync(self.descriptor)

    def place(self) -> None:
        """Give it the name that it is for."""
        if self.placed:  # an interrupted commit is made again
            return
        with _refusal(self.path):
            if fcntl is None:  # an open file keeps its name there
                os.close(self.descriptor)
            os.replace(self.name, self.target)
            self.placed = True
            if fcntl is not None:
                os.close(self.descriptor)

    def discard(self) -> None:
        """Remove it."""
        self.name.unlink(missing_ok=True)
        with suppress(OSError):
            os.close(self.descriptor)


def _new_file(target: Path) -> tuple[Path, int]:
    """A locked temporary file that may be read by whom the target may be read by."""
    like = os.stat(target) if target.exists() else None
    mode = 0o666 if like is None else stat.S_IMODE(like.st_mode) & 0o777
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    while True:
        name = target.with_name(f"{STRAY_PREFIX}{uuid.uuid4().hex}.tmp")
        descriptor = os.open(name, flags | getattr(os, "O_BINARY", 0), mode)
        # In the moment before it is locked a sweeper may take it for a stray.
        if hold(descriptor) and name.exists():
            break
        os.close(descriptor)
    if like is not None:
        _take_after(target, like, descriptor)
    return name, descriptor


def _take_after(target: Path, like: os.stat_result, descriptor: int) -> None:
    """Give a file the owner, the attributes and the mode of the one that it will replace."""
    if not hasattr(os, "fchown"):
        return
    for who in ((like.st_uid, like.st_gid), (-1, like.st_gid)):
        with suppress(OSError):  # another's file stays replaceable where the folder allows it
            os.fchown(descriptor, *who)
            break
    for name in os.listxattr(target) if hasattr(os, "listxattr") else ():
        if not name.startswith("user.isotropy"):
            with suppress(OSError):
                os.setxattr(descriptor, name, os.getxattr(target, name))
    os.fchmod(descriptor, stat.S_IMODE(like.st_mode))


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
    temporary = target.with_name(f"{STRAY_PREFIX}{uuid.uuid4().hex}.tmp")
    sweep(target.parent)
    try:
        with _refusal(target):
            temporary.mkdir()
            with _held_folder(temporary):
                yield temporary
                if target.is_dir():
                    target.rmdir()
                os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _held_folder(folder: Path) -> Iterator[None]:
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        hold(descriptor)
        yield
    finally:
        os.close(descriptor)


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

    def __init__(self, descriptor: int, path: Path) -> None:
        super().__init__(descriptor, "r+")
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
