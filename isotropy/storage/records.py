"""Which job wrote a file: a note that the file carries as an extended attribute."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

__all__ = ["checksum", "mark", "plan_for", "planned", "written_by"]

_NAME = "user.isotropy.plan"


def checksum(file: IO[bytes]) -> str:
    """Size and SHA-256 of all that an open file holds.

    Parameters
    ----------
    file : binary file

    Returns
    -------
    str

    Examples
    --------
    >>> checksum(io.BytesIO(b"rows"))[:10]
    '4-bc51e9e6'
    """
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    return f"{file.seek(0, io.SEEK_END)}-{digest}"


def mark(file: IO[bytes], plan: str) -> None:
    """Note on a file that is complete which plan it was written for.

    On a file system without extended attributes the note is lost, and with it only that the same
    job may write the file again without being told to.

    Parameters
    ----------
    file : binary file
        Open for reading.
    plan : str
        Digest of the plan.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(b"rows")
    ...     mark(file, "plan")
    ...     written_by(file.name) in ("plan", None)
    True
    """
    if hasattr(os, "setxattr"):
        file.flush()
        with suppress(OSError):  # a file system without attributes
            os.setxattr(file.fileno(), _NAME, f"{plan} {checksum(file)}".encode())


@contextmanager
def planned(path: str | os.PathLike[str], plan: str) -> Iterator[None]:
    """A context in which the file that is written to a place gets the mark of a plan.

    It has the mark before it has its place, so nobody ever sees the one without the other.

    Parameters
    ----------
    path : str or path-like
    plan : str
        Digest of the plan.

    Yields
    ------
    None

    Examples
    --------
    >>> with planned("rows.npy", "plan"):
    ...     plan_for("rows.npy"), plan_for("other.npy")
    ('plan', None)
    """
    token = _planned.set((os.path.realpath(path), plan))
    try:
        yield
    finally:
        _planned.reset(token)


def plan_for(path: str | os.PathLike[str]) -> str | None:
    """The plan that a file is being written for.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    str or None
        None outside of `planned`.
    """
    place, plan = _planned.get()
    return plan if place and place == os.path.realpath(path) else None


_planned: ContextVar[tuple[str, str]] = ContextVar("planned", default=("", ""))


def written_by(path: str | os.PathLike[str]) -> str | None:
    """The plan that a file was written for, if it is still as it was written.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    str or None
        Digest of the plan; None where the file was changed since, or nobody noted it.

    Examples
    --------
    >>> written_by("no-such-file") is None
    True
    """
    get: Any = getattr(os, "getxattr", None)
    try:
        plan, found = get(path, _NAME).decode().split() if get else (None, None)
        with Path(path).open("rb") as file:
            return plan if plan and checksum(file) == found else None
    except (OSError, ValueError):
        return None
