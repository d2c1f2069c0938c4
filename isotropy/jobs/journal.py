"""The record of a job that writes many files: one line a file, only ever added to."""

from __future__ import annotations

import json
import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from isotropy.io import FileError
from isotropy.storage.records import checksum
from isotropy.storage.whole import sync_folder

__all__ = ["JOURNAL", "Journal", "note_of"]

JOURNAL = "_isotropy.jsonl"
"""Its name in the folder that the files are in."""


class Journal:
    """Which files a job has written into a folder, and what is in them.

    A line is added and safe on the disk before the files that it speaks of take their places:
    whether a file is finished is known by its bytes, of which the line has the checksum. A line
    that is torn or damaged is as if it were not there.

    Parameters
    ----------
    folder : Path

    Attributes
    ----------
    job : str or None
        Digest of the last job that wrote there.
    entries : dict of str to dict
        By name in the folder, what was noted last of a file.

    Raises
    ------
    FileError
        If the file cannot be read, or is something else.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> journal = Journal(Path(folder.name))
    >>> journal.begin("job")
    >>> journal.add({"a.npy": {"plan": "p", "sum": "4-57bd"}})
    >>> Journal(Path(folder.name)).entries["a.npy"]["sum"]
    '4-57bd'
    >>> folder.cleanup()
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL
        self.job: str | None = None
        self.entries: dict[str, dict[str, Any]] = {}
        self._sums: dict[str, set[str]] = {}
        self._there: dict[str, str | None] = {}
        for number, line in enumerate(self._lines()):
            said = _said(line)
            if said is None and number == 0:
                raise FileError(self.path, "is damaged, or no journal of ours; delete it.")
            self._take(said or {})

    def _lines(self) -> list[bytes]:
        try:
            return self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise FileError(self.path, f"could not be read ({error.strerror}).") from error

    def _take(self, said: dict[str, Any]) -> None:
        self.job = said.get("job", self.job)
        self.entries.update(said.get("files", {}))
        for name, note in said.get("files", {}).items():
            self._sums.setdefault(name, set()).add(str(note.get("sum")))
            self._there.pop(name, None)
        for name in said.get("removed", ()):
            self.entries.pop(name, None)

    def is_finished(self, name: str, plan: str) -> bool:
        """Whether a file is what was noted of it for a plan: known by its bytes.

        Parameters
        ----------
        name : str
            In the folder.
        plan : str
            Digest of the plan.

        Returns
        -------
        bool
        """
        known = self.entries.get(name, {})
        return known.get("plan") == plan and known.get("sum") == self._sum(name)

    def is_ours(self, name: str) -> bool:
        """Whether a file is what was ever noted of it: nobody else changed it.

        A job may have been killed between a note and the change that it speaks of.

        Parameters
        ----------
        name : str
            In the folder.

        Returns
        -------
        bool
        """
        return self._sum(name) in self._sums.get(name, ())

    def _sum(self, name: str) -> str | None:
        """The checksum that a file has, read once; None where it is gone or not to be read."""
        if name not in self._there:
            self._there[name] = None
            with suppress(OSError), open(self.path.parent / name, "rb") as file:
                self._there[name] = checksum(file)
        return self._there[name]

    def begin(self, job: str) -> None:
        """Note that a job writes from now on.

        Parameters
        ----------
        job : str
            Its digest.
        """
        if job != self.job:
            self._append({"job": job})

    def add(self, files: dict[str, dict[str, Any]]) -> None:
        """Note what files are about to take their places.

        Parameters
        ----------
        files : dict of str to dict
            By name in the folder, what `note_of` gives.
        """
        self._append({"files": files})

    def remove(self, names: list[str]) -> None:
        """Note that files are no longer this job's.

        Parameters
        ----------
        names : list of str
        """
        self._append({"removed": names})

    def _append(self, said: dict[str, Any]) -> None:
        text = json.dumps(said, sort_keys=True).encode()
        new = not self.path.exists()
        try:
            with open(self.path, "ab") as file:
                # A line break first: what a killed process left of a line stays alone.
                start = b"\n" if file.tell() else b""
                file.write(start + b"%08x " % zlib.crc32(text) + text + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise FileError(self.path, f"could not be written ({error.strerror}).") from error
        if new:
            sync_folder(self.path.parent)
        self._take(said)


def note_of(file: IO[bytes], plan: str) -> dict[str, Any]:
    """What a journal notes of a file.

    Parameters
    ----------
    file : binary file
        Complete, and open for reading.
    plan : str
        Digest of the plan that it was written for.

    Returns
    -------
    dict
    """
    file.flush()
    return {"plan": plan, "sum": checksum(file)}


def _said(line: bytes) -> dict[str, Any] | None:
    """What a line says; None where it is torn or damaged, nothing where it is empty."""
    if not line:
        return {}
    try:
        if int(line[:8], 16) != zlib.crc32(line[9:]):
            return None
        said: dict[str, Any] = json.loads(line[9:])
    except ValueError:
        return None
    return said
