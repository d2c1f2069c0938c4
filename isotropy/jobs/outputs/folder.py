"""Corrected rows into a folder: a file for each file read, those that are finished left alone."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from isotropy.io import FileError, Rows
from isotropy.io.formats import writable
from isotropy.io.sources import is_table
from isotropy.io.sources.shards import in_folder
from isotropy.jobs.journal import JOURNAL, Journal, note_of
from isotropy.jobs.outputs import Output, Written
from isotropy.jobs.outputs.file import count_rows, write_file
from isotropy.jobs.places import Inputs, files_of, parts_of
from isotropy.jobs.plan import Plan, digest_of
from isotropy.storage.locks import owned
from isotropy.storage.whole import Batch

__all__ = ["FolderOutput", "ManyFiles", "names_of"]

_BATCH_FILES, _BATCH_SECONDS, _BATCH_BYTES = 64, 1.0, 2**26


class ManyFiles(Output):
    """A file for each file read; the same call goes on where it stopped.

    A subclass says what is there, what is noted of it, and how one file is written.

    Attributes
    ----------
    shown : Path or Address
        The folder.
    parts : dict of str to Plan
        By the name in the folder, the plan of each file.
    job : str
        What tells this job from others on the same folder: the map, what is read, the column.
    """

    shown: Any
    parts: dict[str, Plan]
    found = 0

    def _name_parts(self) -> None:
        plan = self.plan
        names = names_of(parts_of(plan.rows), self.shown)
        self.parts = dict(zip(names, plan.parts(), strict=True))
        source = plan.source if "://" in plan.source else os.path.realpath(plan.source)
        self.job = digest_of([plan.map, source, plan.column])

    def _check_files(self, there: set[str], known: set[str], job: str | None) -> None:
        """Refuse what another job wrote, and what this one did not; or note what is replaced.

        Parameters
        ----------
        there : set of str
            The files of rows in the folder, by name.
        known : set of str
            Those that a job noted to have written.
        job : str or None
            That job.
        """
        strange = sorted(there - known)
        changed = sorted(name for name in known & there if not self._is_ours(name))
        # What is of no use any more is removed, but not what others made of it.
        self.left = sorted((known & there) - set(self.parts) - set(changed))
        self.replaced = len([name for name in (*strange, *changed) if name in self.parts])
        if self.plan.overwrite:
            return
        if known and job != self.job:
            raise FileError(
                self.shown,
                "holds what another job wrote: with another corrector (or one fitted anew), from "
                f"another source or pattern, or with another --as; {_WAY_OUT}",
            )
        for names, what in (
            (strange, "this job did not write"),
            (changed, "changed since this job wrote them"),
            (self.left, "are not among what is read now"),
        ):
            if names:
                raise FileError(self.shown, f"holds files that {what} ({_some(names)}); {_WAY_OUT}")

    def _write_parts(self) -> None:
        self.found = 0
        for name, part in self.parts.items():
            plan = part.digest()
            if self._is_finished(name, plan):
                self.found += part.shape[0]
                part.report(part.shape[0])
            else:
                self._write_part(name, part, plan)

    @abstractmethod
    def _is_ours(self, name: str) -> bool:
        """Whether a file that was noted is as it was written."""

    @abstractmethod
    def _is_finished(self, name: str, plan: str) -> bool:
        """Whether a file is what was noted of it for the plan of this digest."""

    @abstractmethod
    def _write_part(self, name: str, part: Plan, plan: str) -> None:
        """Write a file, and note its plan."""

    @abstractmethod
    def _at(self, name: str) -> Any:
        """The path or the address of a file."""

    def verify(self) -> Written:
        """Count the rows of all files, and look whether the source is what it was."""
        for name, part in self.parts.items():
            count_rows(part, self._at(name))
        self.plan.rows.check_unchanged()
        seen = ["rows counted", "source unchanged"]
        if self.found:
            seen.append("checksums of what was found")
        return Written(
            self.plan.shape,
            str(self.shown),
            found=self.found,
            replaced=self.replaced,
            verified=tuple(seen),
        )


class FolderOutput(ManyFiles):
    """A folder of this machine, with a journal in it and a checksum of each file."""

    @classmethod
    def recognizes(cls, rows: Rows, output: Any) -> bool:
        """Whether the name ends in a slash, or a folder is there."""
        if output is None:
            return False
        return os.fspath(output).endswith(("/", os.sep)) or Path(output).is_dir()

    @contextmanager
    def owned(self) -> Iterator[None]:
        """A context in which no other job writes into the folder."""
        self.shown = folder = self.plan.place
        self._check_places()
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise FileError(folder, f"could not be made ({error.strerror}).") from error
        with owned(folder / JOURNAL):
            yield

    def check(self) -> None:
        """Refuse a folder that is read, that another job wrote, or that holds other files."""
        folder = self.shown
        self.journal = Journal(folder)
        there = {str(path.relative_to(folder)) for path in in_folder(folder)}
        there |= {name for name in self.parts if (folder / name).exists()}
        self._check_files(there, set(self.journal.entries), self.journal.job)

    def _check_places(self) -> None:
        plan, folder = self.plan, self.shown
        if not folder.exists() and not folder.parent.is_dir():
            raise FileError(folder, f"the folder {folder.parent} does not exist; make it first.")
        if folder.exists() and not folder.is_dir():
            raise FileError(folder, "is a file, not a folder; name another.")
        inputs = Inputs(plan.rows, *plan.reads)
        if files_of(plan.rows):
            inputs.refuse_folder(folder)
        if is_table(folder) or folder.suffix == ".lance":
            raise FileError(
                folder,
                "is a table or dataset, not a folder of files; name another folder, or, for a new "
                "column of the table that is read, no output but --as (new_column=).",
            )
        self._name_parts()
        for name in self.parts:
            inputs.refuse(folder / name)

    def write(self) -> None:
        """Write what is not finished."""
        self._remove(self.left)
        self.journal.begin(self.job)
        self._notes: dict[str, dict[str, Any]] = {}
        with Batch(self._note) as self._batch:
            try:
                self._write_parts()
            finally:
                self._batch.commit()  # what is finished stays, whatever happened to the next

    def _remove(self, names: list[str]) -> None:
        """Remove files of ours that are of no use any more: the user said so."""
        if names:
            self.journal.remove(names)
        for name in names:
            self._at(name).unlink(missing_ok=True)

    def _write_part(self, name: str, part: Plan, plan: str) -> None:
        @contextmanager
        def noted(path: Path) -> Iterator[IO[bytes]]:
            with self._batch.file(path) as file:
                yield file
                self._notes[name] = note_of(file, plan)

        target = self._at(name)
        if target.parent != self.shown:
            target.parent.mkdir(parents=True, exist_ok=True)
        write_file(part, target, noted)
        if self._batch.due(_BATCH_FILES, _BATCH_SECONDS, _BATCH_BYTES):
            self._batch.commit()

    def _note(self, paths: list[Path]) -> None:
        names = [str(path.relative_to(self.shown)) for path in paths]
        self.journal.add({name: self._notes[name] for name in names})

    def _is_ours(self, name: str) -> bool:
        return self.journal.is_ours(name)

    def _is_finished(self, name: str, plan: str) -> bool:
        return self.journal.is_finished(name, plan)

    def _at(self, name: str) -> Path:
        return self.plan.place / name


_WAY_OUT = "say --overwrite (overwrite=True) to replace it, or name another folder."


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def names_of(shards: list[Rows], folder: Any) -> list[str]:
    """The name of each shard's file in the folder: the tree that is read, again."""
    named = [path for shard in shards if (path := _named(shard)) is not None]
    if len(named) < len(shards):
        named = [Path.cwd() / "rows"] * len(shards)  # a server's table, a dataset in memory
    base = os.path.commonpath([path.parent for path in named])
    suffixes, names = writable(), []
    for place in named:
        relative = place.relative_to(base)
        if relative.suffix.lower() not in suffixes:
            relative = relative.with_name(relative.name + ".npy")
        names.append(str(relative))
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise FileError(
            folder, f"{name} would be written for two files that are read; rename one of them."
        )
    return names


def _named(shard: Rows) -> Path | None:
    """The file of a shard, wherever it lies; None where it is in none."""
    place = getattr(shard.file, "place", None)
    if place is not None:
        return Path("/", place.protocol, place.path.strip("/"))
    if shard.path is None or not Path(shard.path).exists():
        return None
    return Path(os.path.abspath(shard.path))  # without "..", which would lead out of the folder
