"""Folders of files: which of them are data, and whether one has changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isotropy.storage.errors import FileError
from isotropy.tables import FORMATS

__all__ = ["FolderState", "is_hidden", "is_rows"]


def is_hidden(name: str) -> bool:
    """Whether a file or folder is no data by its name: ``.name``, ``_name``.

    Frameworks mark and journal by such names, and so does this library, whose temporary files,
    records and checkpoints of outputs are all called so.
    """
    return name.startswith((".", "_"))


def is_rows(name: str) -> bool:
    """Whether a file of a folder holds rows by its name, which begins behind the folder's."""
    form = FORMATS.get(os.path.splitext(name)[1].lower())
    parts = name.replace(os.sep, "/").split("/")
    return form is not None and not form.guessed and not any(map(is_hidden, parts))


class FolderState:
    """A folder as it is now: the names, sizes and times of all files below it.

    Parameters
    ----------
    path : Path

    Notes
    -----
    Some 5 microseconds a file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state = self._now()

    def fingerprint(self) -> list[Any]:
        """A digest of what it was when this was made; an error if it has changed since."""
        self.check_unchanged()
        return [self._state]

    def check_unchanged(self) -> None:
        """Raise a `FileError` if a file has come, gone or changed since this was made."""
        if self._now() != self._state:
            raise FileError(
                self.path,
                "changed while it was in use: wait until it is complete, and begin again.",
            )

    def _now(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for line in sorted(self._files()):
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def _files(self) -> Iterator[str]:
        for place, _, names in os.walk(self.path):
            for name in names:
                file = os.path.join(place, name)
                try:
                    found = os.stat(file)
                except FileNotFoundError:  # a temporary file, gone meanwhile, or a dead link
                    continue
                yield f"{file}\0{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}\n"
