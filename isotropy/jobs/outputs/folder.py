"""Corrected rows into a folder: a file for each file read, those that are finished left alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from isotropy.io import FileError, Rows
from isotropy.io.formats import writable
from isotropy.io.sources.shards import in_folder
from isotropy.jobs.journal import JOURNAL, Journal
from isotropy.jobs.outputs import Output, Written
from isotropy.jobs.outputs.file import count_rows, write_file
from isotropy.jobs.places import Inputs, shards_of
from isotropy.jobs.plan import Plan, digest_of
from isotropy.storage.locks import owned
from isotropy.storage.records import checksum
from isotropy.storage.whole import Batch

__all__ = ["FolderOutput", "names_of"]

_BATCH_FILES, _BATCH_SECONDS, _BATCH_BYTES = 64, 1.0, 2**26


class FolderOutput(Output):
    """A file for each file read; the same call goes on where it stopped.

    What is finished stands in a journal in the folder, with a checksum of each file.
    """

    @classmethod
    def recognizes(cls, rows: Rows, output: Any) -> bool:
        """Whether the name ends in a slash, or a folder is there."""
        if output is None:
            return False
        return os.fspath(output).endswith(("/", os.sep)) or Path(output).is_dir()

    @contextmanager
    def owned(self) -> Iterator[None]:
        """A context in which no other job writes into the folder."""
        self._check_places()
        folder = self.plan.place
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise FileError(folder, f"could not be made ({error.strerror}).") from error
        with owned(folder / JOURNAL):
            yield

    def check(self) -> None:
        """Refuse a folder that is read, that another job wrote, or that holds other files."""
        plan, folder = self.plan, self.plan.place
        self.job = digest_of([plan.map, os.path.realpath(plan.source), plan.column])
        self.journal = Journal(folder)
        known = self.journal.entries
        there = {str(path.relative_to(folder)) for path in in_folder(folder)}
        there |= {name for name in self.parts if (folder / name).exists()}
        strange = sorted(there - set(known))
        self.left = sorted((set(known) & there) - set(self.parts))
        self.replaced = len([name for name in strange if name in self.parts])
        if plan.overwrite:
            return
        if known and self.journal.job != self.job:
            raise FileError(folder, f"holds what another job wrote; {_WAY_OUT}")
        for names, what in (
            (strange, "this job did not write"),
            (self.left, "are not among what is read now"),
        ):
            if names:
                raise FileError(folder, f"holds files that {what} ({_some(names)}); {_WAY_OUT}")

    def _check_places(self) -> None:
        plan = self.plan
        if not plan.place.exists() and not plan.place.parent.is_dir():
            raise FileError(
                plan.place, f"the folder {plan.place.parent} does not exist; make it first."
            )
        if plan.place.exists() and not plan.place.is_dir():
            raise FileError(plan.place, "is a file, not a folder; name another.")
        self.inputs = Inputs(plan.rows, *plan.reads)
        shards = shards_of(plan.rows)
        if any(shard.path is not None and Path(shard.path).exists() for shard in shards):
            self.inputs.refuse_folder(plan.place)
        self.parts = dict(zip(names_of(shards, plan.place), self._plans(shards), strict=True))
        for name in self.parts:
            self.inputs.refuse(plan.place / name)

    def _plans(self, shards: list[Rows]) -> Iterator[Plan]:
        first = 0
        for shard in shards:
            yield self.plan.of(shard, first)
            first += shard.shape[0]

    def write(self) -> None:
        """Write what is not finished."""
        folder, self.found = self.plan.place, 0
        self._remove(self.left)
        self.journal.begin(self.job)
        self._sums: dict[str, dict[str, Any]] = {}
        with Batch(self._note) as batch:
            try:
                for name, part in self.parts.items():
                    if self._is_finished(name, part):
                        self.found += part.shape[0]
                        part.report(part.shape[0])
                    else:
                        self._write(batch, folder / name, name, part)
            finally:
                batch.commit()  # what is finished stays, whatever happened to the next

    def _remove(self, names: list[str]) -> None:
        """Remove files of ours that are of no use any more: the user said so."""
        if names:
            self.journal.remove(names)
        for name in names:
            (self.plan.place / name).unlink(missing_ok=True)

    def _write(self, batch: Batch, target: Path, name: str, part: Plan) -> None:
        plan = part.digest()

        @contextmanager
        def noted(path: Path) -> Iterator[IO[bytes]]:
            with batch.file(path) as file:
                yield file
                file.flush()
                self._sums[name] = {"plan": plan, "sum": checksum(file)}

        if target.parent != self.plan.place:
            target.parent.mkdir(parents=True, exist_ok=True)
        write_file(part, target, noted)
        if batch.due(_BATCH_FILES, _BATCH_SECONDS, _BATCH_BYTES):
            batch.commit()

    def _note(self, paths: list[Path]) -> None:
        names = [str(path.relative_to(self.plan.place)) for path in paths]
        self.journal.add({name: self._sums[name] for name in names})

    def _is_finished(self, name: str, part: Plan) -> bool:
        """Whether a file is what this plan wrote: known by its bytes."""
        known = self.journal.entries.get(name)
        if known is None or known.get("plan") != part.digest():
            return False
        try:
            with open(self.plan.place / name, "rb") as file:
                return checksum(file) == known.get("sum")
        except OSError:
            return False

    def verify(self) -> Written:
        """Count the rows of all files, and look whether the source is what it was."""
        plan = self.plan
        for name, part in self.parts.items():
            count_rows(part, plan.place / name)
        plan.rows.check_unchanged()
        seen = ["rows counted", "source unchanged"]
        if self.found:
            seen.append("checksums of what was found")
        return Written(
            plan.shape,
            str(plan.output),
            found=self.found,
            replaced=self.replaced,
            verified=tuple(seen),
        )


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
    place = getattr(shard._file, "place", None)
    if place is not None:
        return Path("/", place.protocol, place.path.strip("/"))
    path = None if shard.path is None else Path(shard.path).absolute()
    return path if path is not None and path.exists() else None
