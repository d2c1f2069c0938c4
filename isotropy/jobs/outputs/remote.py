"""Corrected rows into a store elsewhere: one object, or a folder of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from isotropy.io import FileError, Rows, open_rows
from isotropy.io.remote import mark_of
from isotropy.jobs.outputs import Output, Written
from isotropy.jobs.outputs.file import write_file
from isotropy.jobs.outputs.folder import names_of
from isotropy.jobs.places import shards_of
from isotropy.jobs.plan import Plan, digest_of
from isotropy.storage.remote import Place, is_remote, place_of
from isotropy.storage.whole import whole_file
from isotropy.tables import FORMATS

__all__ = ["RemoteFile", "RemoteFolder"]

_RECORD = "_isotropy.json"
_RECORD_SECONDS = 5.0
_WAY_OUT = "say --overwrite (overwrite=True) to replace it, or name another."


class RemoteFile(Output):
    """One object of a store, which appears whole or not at all.

    Stores know no locks: of two jobs that write the same object, the one that ends last wins.
    """

    @classmethod
    def recognizes(cls, rows: Rows, output: Any) -> bool:
        """Whether a URL is named that does not end in a slash."""
        return is_remote(output) and not str(output).endswith("/")

    def check(self) -> None:
        """Refuse an object that is read, or that is there."""
        self.place = place_of(self.plan.output)
        self.place.check_writable()
        _refuse_inputs(self.plan, self.place)
        self.there = self.place.exists()
        if self.there and not self.plan.overwrite:
            raise FileError(self.place.address, f"exists; {_WAY_OUT}")

    def write(self) -> None:
        """Write all rows into a temporary file here, and send it."""
        write_file(self.plan, self.place.address, whole_file)

    def verify(self) -> Written:
        """Count the rows of the object, and look whether the source is what it was."""
        _count_rows(self.plan, self.place)
        self.plan.rows.check_unchanged()
        return Written(
            self.plan.shape,
            str(self.place.address),
            replaced=int(self.there),
            verified=("rows counted", "source unchanged"),
        )


class RemoteFolder(Output):
    """An object for each file read; the same call goes on where it stopped.

    What is finished stands in a record in the folder, with the tag that the store gave it.
    """

    @classmethod
    def recognizes(cls, rows: Rows, output: Any) -> bool:
        """Whether a URL is named that ends in a slash."""
        return is_remote(output) and str(output).endswith("/")

    def check(self) -> None:
        """Refuse a folder that is read, that another job wrote, or that holds other files."""
        plan = self.plan
        self.folder = place_of(plan.output)
        self.folder.check_writable()
        self.base = self.folder.key.rstrip("/")
        shards = shards_of(plan.rows)
        self.parts = dict(zip(names_of(shards, self.folder.address), self._plans(), strict=True))
        for name in self.parts:
            _refuse_inputs(plan, self._place(name))
        self.job = digest_of([plan.map, plan.source, plan.column])
        self.record = self._read_record()
        there = self._there()
        strange = sorted(there - set(self.record))
        self.left = sorted((there & set(self.record)) - set(self.parts))
        self.replaced = len([name for name in strange if name in self.parts])
        for names, what in (
            (strange, "this job did not write"),
            (self.left, "are not among what is read now"),
        ):
            if names and not plan.overwrite:
                raise FileError(
                    self.folder.address,
                    f"holds files that {what} ({', '.join(names[:3])}); {_WAY_OUT}",
                )

    def write(self) -> None:
        """Write what is not finished."""
        self.found, saved = 0, time.monotonic()
        for name in self.left:  # of ours, and of no use any more: the user said so
            self.folder.tried(partial(self.folder.system.rm_file, self._place(name).key))
            del self.record[name]
        try:
            for name, part in self.parts.items():
                if self._is_finished(name, part):
                    self.found += part.shape[0]
                    part.report(part.shape[0])
                    continue
                place = self._place(name)
                write_file(part, place.address, whole_file)
                self.record[name] = {"plan": part.digest(), "mark": mark_of(place.info())}
                if time.monotonic() - saved >= _RECORD_SECONDS:
                    self._save_record()
                    saved = time.monotonic()
        finally:
            self._save_record()  # what is finished stays, whatever happened to the next

    def verify(self) -> Written:
        """Count the rows of all objects, and look whether the source is what it was."""
        for name, part in self.parts.items():
            _count_rows(part, self._place(name))
        self.plan.rows.check_unchanged()
        return Written(
            self.plan.shape,
            str(self.folder.address),
            found=self.found,
            replaced=self.replaced,
            verified=("rows counted", "source unchanged"),
        )

    def _plans(self) -> Iterator[Plan]:
        first = 0
        for shard in shards_of(self.plan.rows):
            yield self.plan.of(shard, first)
            first += shard.shape[0]

    def _place(self, name: str) -> Place:
        return self.folder.at(f"{self.base}/{name}")

    def _there(self) -> set[str]:
        """The files of embeddings that are in the folder, by their names in it."""
        found = self.folder.tried(lambda: self.folder.system.find(self.base))
        names = {key[len(self.base) :].lstrip("/") for key in found}
        return {name for name in names if _is_rows(name)}

    def _is_finished(self, name: str, part: Plan) -> bool:
        known = self.record.get(name)
        if known is None or known.get("plan") != part.digest():
            return False
        place = self._place(name)
        return place.exists() and mark_of(place.info()) == known.get("mark")

    def _read_record(self) -> dict[str, Any]:
        place = self._place(_RECORD)
        if not place.exists():
            return {}
        try:
            said = json.loads(place.content())
            job, files = said["job"], dict(said["files"])
        except (ValueError, KeyError, TypeError) as error:
            raise FileError(place.address, f"is damaged ({error}); delete it.") from error
        if job != self.job and not self.plan.overwrite:
            raise FileError(self.folder.address, f"holds what another job wrote; {_WAY_OUT}")
        return files

    def _save_record(self) -> None:
        said = {"job": self.job, "files": self.record}
        self._place(_RECORD).put_bytes(json.dumps(said, indent=1).encode())


def _is_rows(name: str) -> bool:
    form = FORMATS.get(PurePosixPath(name).suffix.lower())
    hidden = any(part.startswith((".", "_")) for part in name.split("/"))
    return form is not None and not form.guessed and not hidden


def _refuse_inputs(plan: Plan, place: Place) -> None:
    """Refuse an object that is read, or would be when the same is read again."""
    for shard in shards_of(plan.rows):
        read = getattr(shard._file, "place", None)
        if read is not None and read.is_same(place):
            raise FileError(place.address, "is an input too; choose another name for the output.")
    for source in (plan.rows.path, *plan.reads):
        if not is_remote(source):
            continue
        read = place_of(source)
        inside = f"{read.key.rstrip('/')}/*"
        if read.is_same(place) or (
            read.protocol == place.protocol
            and not getattr(plan.rows, "listed", False)
            and (fnmatch(place.key, read.key) or fnmatch(place.key, inside))
        ):
            raise FileError(
                place.address, f"is an input too, or would be read by {source}; name another place."
            )


def _count_rows(plan: Plan, place: Place) -> None:
    """Raise a `FileError` unless an object that was written opens as the rows that were to be."""
    name = plan.column or plan.rows.name or "embedding"
    try:
        found = open_rows(place.address, name)
    except FileError:  # formats without names
        found = open_rows(place.address)
    if found.shape != plan.shape:
        raise FileError(
            place.address,
            f"holds {found.shape[0]} x {found.shape[1]} numbers, but {plan.shape[0]} x "
            f"{plan.shape[1]} were written: something else writes there. Begin again.",
        )
