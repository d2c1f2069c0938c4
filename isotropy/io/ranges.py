"""The one door to bytes: every reader gets ranges of a file through it, never a memory map.

A map of a file that somebody cuts short ends the process (SIGBUS); a short read is an error that
names the file. Files are opened when they are first read, and the one that was read longest ago is
closed again, so that any number of them can be in use.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, BinaryIO
from weakref import WeakValueDictionary

from isotropy.storage.errors import FileError

__all__ = ["LocalRanges", "Ranges"]

_MOST_OPEN = 64
_MOST_AT_ONCE = 2**30  # the system reads at most 2 GiB a call
_SAMPLE = 4096
_BUFFER = 2**16


class Ranges(ABC):
    """The bytes of a file, wherever it lies: what a `Format` reads from.

    It stands for its path wherever one is wanted (``os.fspath``), in errors above all. A kind of
    place of one's own is a subclass that sets ``size`` and gives the four abstract methods.

    Parameters
    ----------
    path : Path or str
        How errors name the file: its path, or its address without secrets.

    Attributes
    ----------
    path : Path or str
        As given.
    size : int
        Bytes in the file when it was opened.

    Examples
    --------
    >>> class Text(Ranges):
    ...     size = 11
    ...     def read_into(self, offset, buffer):
    ...         buffer[:] = b"hello world"[offset : offset + len(buffer)]
    ...     def fingerprint(self):
    ...         return [11]
    ...     def check_unchanged(self):
    ...         pass
    >>> file = Text("hello.txt")
    >>> file.read_at(6, 5), file.suffix
    (b'world', '.txt')
    >>> with file.open() as opened:
    ...     opened.seek(-5, 2), opened.read()
    (6, b'world')
    """

    size: int

    def __init__(self, path: Path | str) -> None:
        self.path = path

    @abstractmethod
    def read_into(self, offset: int, buffer: Any) -> None:
        """Fill a buffer with the bytes from `offset` on.

        Parameters
        ----------
        offset : int
        buffer : writable buffer, contiguous
            Of bytes or numbers; all of it is filled.

        Raises
        ------
        FileError
            If there are fewer bytes, or they cannot be read.
        """

    @abstractmethod
    def fingerprint(self) -> list[Any]:
        """What tells this content from another under the same name.

        Returns
        -------
        list
            JSON-able.
        """

    @abstractmethod
    def check_unchanged(self) -> None:
        """Look whether the file is still what it was when it was opened.

        Raises
        ------
        FileError
            If it is gone, or has changed.
        """

    def read_at(self, offset: int, n: int) -> bytes:
        """The `n` bytes from `offset` on.

        Parameters
        ----------
        offset : int
        n : int
            Nothing is allocated where the file was too short for them when it was opened.

        Returns
        -------
        bytes

        Raises
        ------
        FileError
            If there are fewer, or they cannot be read.
        """
        if not 0 <= offset <= offset + n <= self.size:
            raise FileError(
                self.path,
                f"{n} bytes are wanted from byte {offset} on, of {self.size}: it is truncated or "
                "damaged; write or fetch it again.",
            )
        buffer = bytearray(n)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def open(self) -> BinaryIO:
        """The bytes as a file that can be read and sought in, for other libraries.

        Returns
        -------
        binary file
            Closing it leaves this object usable. It is not to be shared among threads.
        """
        return io.BufferedReader(_Opened(self), _BUFFER)

    @property
    def suffix(self) -> str:
        """The end of the name, which tells the format: in lower case, from its last dot on.

        Returns
        -------
        str
        """
        return Path(self.path).suffix.lower()

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {os.fspath(self)!r}, {self.size} bytes>"


class LocalRanges(Ranges):
    """The bytes of a file of this machine.

    Parameters
    ----------
    path : str or path-like
        Of a regular file that is not empty.

    Raises
    ------
    FileError
        If there is no such file.

    Notes
    -----
    At most 64 files are open at a time in a process, whatever the number of these objects. What was
    opened again is checked to be the same file, of the same size and time. Safe to use from many
    threads, and after a fork; pickled, it is the same file, as it was when this one was made.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "rows.bin")
    >>> _ = path.write_bytes(b"0123456789")
    >>> file = LocalRanges(path)
    >>> file.size, file.read_at(7, 3)
    (10, b'789')
    >>> os.truncate(path, 5)
    >>> file.read_at(7, 3)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    isotropy.storage.errors.FileError: ...rows.bin: was cut short while being read...
    >>> folder.cleanup()
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(Path(path))
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise FileError(path, "no such file.") from None
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        if stat.S_ISDIR(found.st_mode):
            raise FileError(path, "is a folder; name one file in it.")
        if not stat.S_ISREG(found.st_mode):
            raise FileError(path, "is not a regular file; save its content to one first.")
        if found.st_size == 0:
            raise FileError(path, "is empty (0 bytes); write or fetch it again.")
        self.size = found.st_size
        self._identity = _identity(found)
        self._held: _Descriptor | None = None

    def read_into(self, offset: int, buffer: Any) -> None:
        """Fill a buffer with the bytes from `offset` on; see `Ranges.read_into`."""
        view = memoryview(buffer).cast("B") if memoryview(buffer).nbytes else memoryview(b"")
        descriptor, done = self._descriptor(), 0
        try:
            while done < len(view):
                got = _read(descriptor.number, view[done : done + _MOST_AT_ONCE], offset + done)
                if not got:
                    raise FileError(
                        self.path,
                        f"was cut short while being read: {self.size} bytes when it was opened, "
                        f"nothing behind byte {offset + done} now. Wait until it is complete, and "
                        "begin again.",
                    )
                done += got
        except OSError as error:
            raise self._unreadable(error) from error

    def fingerprint(self) -> list[Any]:
        """Size, times of change of content and of state, and a digest of some of the bytes.

        Those of the file that was opened: for one that has changed since there is an error.
        """
        found = self._checked()
        places = sorted({0, max(0, (self.size - _SAMPLE) // 2), max(0, self.size - _SAMPLE)})
        digest = hashlib.blake2b(digest_size=16)
        for place in places:
            digest.update(self.read_at(place, min(_SAMPLE, self.size - place)))
        return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, digest.hexdigest()]

    def check_unchanged(self) -> None:
        """Raise a `FileError` if the file is gone, was replaced, or its size or time changed."""
        self._checked()

    def _checked(self) -> os.stat_result:
        """The file's state, which is that of the file that was opened."""
        found = self._stat()
        if _identity(found) != self._identity:
            raise self._changed(found)
        return found

    def _stat(self) -> os.stat_result:
        try:
            return os.stat(self.path)
        except OSError as error:
            raise FileError(
                self.path, f"changed while it was in use: it is gone ({error.strerror})."
            ) from error

    def _descriptor(self) -> _Descriptor:
        """The open file; the one that was read longest ago is closed when there are too many."""
        with _lock:
            if self._held is None:
                self._held = self._opened()
            _recent.pop(id(self), None)
            _recent[id(self)] = self
            while len(_recent) > _MOST_OPEN:
                oldest = next(iter(_recent.values()))
                _recent.pop(id(oldest), None)
                oldest._held = None
            return self._held

    def _opened(self) -> _Descriptor:
        try:
            descriptor = _Descriptor(self.path)
        except OSError as error:
            raise self._unreadable(error) from error
        found = os.fstat(descriptor.number)
        if _identity(found) != self._identity:
            raise self._changed(found)
        return descriptor

    def _changed(self, found: os.stat_result) -> FileError:
        then = self._identity[2]
        what = f"{then} bytes then, {found.st_size} now" if then != found.st_size else "replaced"
        return FileError(
            self.path,
            f"changed while it was in use ({what}): wait until it is complete, and begin again.",
        )

    def _unreadable(self, error: Exception) -> FileError:
        said = getattr(error, "strerror", None) or error
        return FileError(self.path, f"could not be opened or read ({said}).")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": None}


class _Descriptor:
    """An open file, closed when the last thread that reads from it lets go of it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


_recent: WeakValueDictionary[int, LocalRanges] = WeakValueDictionary()
"""Those that have their file open, the one read last at the end."""

_lock = threading.Lock()


def _new_lock() -> None:
    global _lock
    _lock = threading.Lock()  # the old one may be held by a thread that this process lacks


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


def _identity(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _read(descriptor: int, buffer: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [buffer], offset)
    with _lock:  # elsewhere the place to read is the descriptor's own
        os.lseek(descriptor, offset, os.SEEK_SET)
        data = os.read(descriptor, len(buffer))
    buffer[: len(data)] = data
    return len(data)


class _Opened(io.RawIOBase):
    """A file object over ranges: no descriptor of its own, so thousands may be open."""

    def __init__(self, ranges: Ranges) -> None:
        self._ranges, self._at = ranges, 0
        self.name = os.fspath(ranges)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        place = offset + {0: 0, 1: self._at, 2: self._ranges.size}[whence]
        if place < 0:
            raise OSError(f"no place {place} in a file")
        self._at = place
        return place

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        n = max(0, min(len(view), self._ranges.size - self._at))
        if n:
            self._ranges.read_into(self._at, view[:n])
        self._at += n
        return n
