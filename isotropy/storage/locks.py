"""Who is writing a file: locks that the operating system drops when their process dies."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from isotropy.storage.errors import FileError

try:
    import fcntl
except ImportError:  # Windows: files are locked by being open, there is nothing to ask
    fcntl = None  # type: ignore[assignment]

__all__ = ["STRAY_PREFIX", "hold", "owned", "sweep"]

STRAY_PREFIX = ".isotropy-"
"""How the names of all files begin that live no longer than their process."""

_LONGEST = 200
"""Bytes of a name; file systems allow 255."""

_SWEEP_SECONDS = 60.0
_swept: dict[str, float] = {}


def hold(descriptor: int) -> bool:
    """Lock an open file for as long as it is open; the lock ends with the process at the latest.

    Parameters
    ----------
    descriptor : int
        Of an open file or folder.

    Returns
    -------
    bool
        False where another one holds it. True too where the file system knows no locks.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as one, open(one.name) as other:
    ...     hold(one.fileno()), hold(other.fileno())
    (True, False)
    """
    return _locked(descriptor, unknown=True)


def _locked(descriptor: int, *, unknown: bool) -> bool:
    if fcntl is None:
        return unknown
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return unknown
    return True


@contextmanager
def owned(path: str | os.PathLike[str]) -> Iterator[None]:
    """A context in which no other job writes to a place.

    A lock file lies beside it meanwhile. What killed processes left there is removed.

    Parameters
    ----------
    path : str or path-like
        A file or folder, which need not be there yet.

    Yields
    ------
    None

    Raises
    ------
    FileError
        If another job, of this process or another, has it; the message says which. If the folder
        is missing, or nothing can be written there.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = os.path.join(folder.name, "rows.npy")
    >>> with owned(path), owned(path):  # doctest: +ELLIPSIS
    ...     pass
    Traceback (most recent call last):
    isotropy.storage.errors.FileError: ...rows.npy: another job writes it (process ...
    >>> os.listdir(folder.name)
    []
    """
    target = Path(os.path.realpath(path))
    lock = target.with_name(f"{STRAY_PREFIX}{_short(target.name)}.lock")
    descriptor = _take(Path(path), target, lock)
    try:
        sweep(target.parent)
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _short(name: str) -> str:
    """A name that leaves room for what a lock's name has beside it."""
    coded = os.fsencode(name)
    return name if len(coded) <= _LONGEST else hashlib.sha256(coded).hexdigest()


def _take(path: Path, target: Path, lock: Path) -> int:
    if not target.parent.is_dir():
        raise FileError(path, f"the folder {target.parent} does not exist; make it first.")
    for _ in range(5):
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | _NOFOLLOW, 0o666)
        except OSError as error:
            raise FileError(path, f"could not be written ({error.strerror}).") from error
        if hold(descriptor) and _is_at(descriptor, lock):
            me = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
            with suppress(OSError):  # on a full disk the lock holds, only its owner is not told
                os.truncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(me).encode(), 0)
            return descriptor
        owner = _told(os.pread(descriptor, 4096, 0))
        os.close(descriptor)
        time.sleep(0.02)  # a lock that is just being swept, or given back
    raise FileError(path, f"another job writes it{owner}; wait for it, or name another output.")


_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file still has this name: nobody took it away meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _told(note: bytes) -> str:
    try:
        owner = json.loads(note)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(owner["since"]))
        return f" (process {owner['pid']} on {owner['host']}, since {since})"
    except (ValueError, KeyError, TypeError, OverflowError):
        return ""


def sweep(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files and locks of dead processes from a folder.

    A stray is a file of our names that nobody has locked. A folder is looked through once a minute
    at most.

    Parameters
    ----------
    folder : str or path-like

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> stray = Path(folder.name, ".isotropy-1.tmp")
    >>> stray.touch()
    >>> sweep(folder.name)
    >>> stray.exists()
    False
    """
    folder, now = os.fspath(folder), time.monotonic()
    if now - _swept.get(folder, -_SWEEP_SECONDS) < _SWEEP_SECONDS:
        return
    _swept[folder] = now
    # Whoever may not list the folder leaves the strays to who may.
    with suppress(OSError), os.scandir(folder) as entries:
        names = [
            entry.path
            for entry in entries
            if entry.name.startswith(STRAY_PREFIX) and entry.name.endswith((".tmp", ".lock"))
        ]
        for name in names:
            _remove_stray(name)


def _remove_stray(name: str) -> None:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | _NOFOLLOW)
    except OSError:  # gone, not ours, or a link
        return
    try:
        if _locked(descriptor, unknown=False) and _is_at(descriptor, Path(name)):
            if os.path.isdir(name):
                shutil.rmtree(name, ignore_errors=True)
            else:
                with suppress(OSError):
                    os.unlink(name)
    finally:
        os.close(descriptor)
